"""A konserve file store: blobs, file names, and how one is written."""

import fcntl
import hashlib
import os
import subprocess
import time
import uuid
from pathlib import Path

import fress
from fress import Inst, Kw, Malformed, Map, PList
from hasch import coerce, hasch

HEADER = bytes((1, 1, 0, 0))
KEYWORD_FILES = {}


def file_name(key):
    """The file of a key: a keyword, uuid or anything else hasch knows."""
    name = KEYWORD_FILES.get(key) if type(key) is Kw else None
    if name is None:
        name = str(hasch(key)) + ".ksv"
        if type(key) is Kw:
            KEYWORD_FILES[key] = name
    return name


def lz4_frame(data):
    """An LZ4 frame; one without its end mark ends where the bytes end."""
    if data[:4] != b"\x04\x22\x4d\x18":
        raise Malformed("no LZ4 frame")
    flags, at = data[4], 6
    at += 8 * (flags >> 3 & 1) + 4 * (flags & 1) + 1
    out = bytearray()
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if size == 0:
            break
        stored, size = size >> 31, size & 0x7FFFFFFF
        block = data[at : at + size]
        at += size + 4 * (flags >> 4 & 1)
        if stored:
            out += block
        else:
            lz4_block(block, out)
    return bytes(out)


def lz4_block(block, out):
    i = 0

    def length(n):
        nonlocal i
        if n == 15:
            while True:
                n += block[i]
                i += 1
                if block[i - 1] != 255:
                    break
        return n

    while i < len(block):
        token = block[i]
        i += 1
        n = length(token >> 4)
        out += block[i : i + n]
        i += n
        if i >= len(block):
            return
        distance = block[i] | block[i + 1] << 8
        i += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-distance])


def tool(arguments, data):
    """What is not in the standard library: by the tools of the system."""
    return subprocess.run(arguments, input=data, capture_output=True, check=True).stdout


def opened(block, compressor, encryptor, secret):
    """Decrypts, then decompresses."""
    if encryptor == 1:
        salt = PList(b - 256 if b > 127 else b for b in block[:64])
        key = hashlib.sha512(coerce(["key", salt, secret])).hexdigest()[:64]
        iv = hashlib.sha512(coerce(["initial-value", salt, secret])).hexdigest()[:32]
        block = tool(["openssl", "enc", "-d", "-aes-256-cbc", "-K", key, "-iv", iv], block[64:])
    elif encryptor:
        raise Malformed(f"encryptor {encryptor}")
    if compressor == 1:
        return lz4_frame(block)
    if compressor == 2:
        return tool(["zstd", "-dc"], block)
    if compressor:
        raise Malformed(f"compressor {compressor}")
    return block


def decode_blob(data, secret=None):
    """`(metadata, value)` of a blob."""
    if len(data) < 20 or data[0] != 1 or data[1] != 1:
        raise Malformed(f"header {data[:4].hex()}")
    meta_size = int.from_bytes(data[4:8], "big")
    at = 20 if not any(data[8:20]) else 8
    if at + meta_size > len(data):
        raise Malformed("metadata beyond the end")
    meta = fress.decode(opened(data[at : at + meta_size], data[2], data[3], secret))
    value = opened(data[at + meta_size :], data[2], data[3], secret)
    return meta, value if meta.get(Kw("type")) == Kw("binary") else fress.decode(value)


def encode_blob(key, value, immutable=False, now=None):
    """A blob of a value that is encoded already."""
    entries = [(Kw("immutable?"), True)] if immutable else []
    entries += [(Kw("key"), key), (Kw("type"), Kw("edn")), (Kw("last-write"), Inst(now or time.time_ns() // 1_000_000))]
    meta = fress.encode(Map(entries))
    return HEADER + len(meta).to_bytes(4, "big") + bytes(12) + meta + value


class Absent(Exception):
    """No such blob, or an empty file of its name."""


class Reader:
    """Reads a store as an outsider: no locks, nothing created. What was read is kept while its file stays the same."""

    def __init__(self, path, secret=None):
        self.path, self.secret = Path(path), secret
        self.kept, self.newest, self.last_write = {}, 0, 0

    def load(self, key):
        name = file_name(key)
        try:
            fd = os.open(self.path / name, os.O_RDONLY)
        except FileNotFoundError:
            raise Absent(f"{key!r} ({name}) is absent") from None
        try:
            stat = os.fstat(fd)
            stamp = stat.st_mtime_ns, stat.st_ino, stat.st_size
            kept = self.kept.get(name)
            if kept is None or kept[0] != stamp:
                kept = stamp, *self.decoded(key, name, os.read(fd, stat.st_size))
                self.kept[name] = kept
        finally:
            os.close(fd)
        self.last_write = kept[1]
        self.newest = max(self.newest, self.last_write)
        return kept[2]

    def decoded(self, key, name, data):
        if not data:
            raise Absent(f"{key!r} ({name}) is empty")
        try:
            meta, value = decode_blob(data, self.secret)
        except Malformed as e:
            raise Malformed(f"{key!r} ({name}): {e}") from None
        stored = meta.get(Kw("key"))
        if type(stored) is not type(key) or stored != key:
            raise Malformed(f"{name} holds the key {stored!r}, not {key!r}")
        return meta.get(Kw("last-write")) or 0, value


class Disk:
    """Writes blobs as konserve does: final name created empty, `.new` written, fsync, rename, fsync of the directory."""

    def __init__(self, path, sync=False, lock=False):
        self.path, self.sync, self.lock = str(path), sync, lock
        os.makedirs(self.path, exist_ok=True)
        self.directory = os.open(self.path, os.O_RDONLY)
        self.uuid_meta = self.template()
        self.written = self.bytes = 0

    def template(self):
        """A node's metadata with a hole for its uuid and time, as most blobs differ in nothing else."""
        key, now = uuid.UUID(int=0x1234 << 100), 1_700_000_000_000
        blob = encode_blob(key, b"", True, now)
        a = blob.index(key.bytes)
        b = blob.index(fress.integer(now))
        return blob[:a], blob[a + 16 : b], blob[b + len(fress.integer(now)) :]

    def put_node(self, name, address, value, now):
        head, middle, tail = self.uuid_meta
        self.put(name, b"".join((head, address.bytes, middle, fress.integer(now), tail, value)))

    def put(self, name, blob):
        path = f"{self.path}/{name}"
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if self.lock:
                fcntl.lockf(held, fcntl.LOCK_EX)
            fd = os.open(path + ".new", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                # header, metadata and value in writes of their own, so that a `.new` is seen half-written
                os.write(fd, blob[:20])
                os.write(fd, blob[20:])
                if self.sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(path + ".new", path)
            if self.sync:
                os.fsync(self.directory)
        finally:
            os.close(held)
        self.written += 1
        self.bytes += len(blob)

    def remove(self, name):
        try:
            os.unlink(f"{self.path}/{name}")
        except FileNotFoundError:
            pass
