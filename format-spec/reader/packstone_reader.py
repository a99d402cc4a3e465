#!/usr/bin/env python3
"""Reads packstone repositories: a second implementation, written from format-spec/ alone. It checks every seal, hash
and id on the way, and never writes. Names in brackets, such as [pack], are chapters of the specification."""
import argparse, contextlib, hmac, itertools, json, pathlib, re, struct, sys
from collections import defaultdict, namedtuple
import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt
import files
from datoms import attribute, datom_columns, value
from encoding import ERRORS, MAX_BYTES, Bytes, Damaged, ascending, leb, require

CONFIG, SLOT, SESSION, HEARTBEAT, SNAPSHOT, INDEX, GC = range(1, 8)
OPENING, SEGMENT, CHUNK, NODE, DATOM, ENTRY, EXTENT, RAW, ZSTD, DELTA = 14, 15, 0, 1, 1, 3, 4, 0, 1, 2
COLUMNS = {DATOM: lambda data: [(key, b"") for key in datom_columns(data)],
           ENTRY: files.entry_columns, EXTENT: files.extent_columns}
Frame = namedtuple("Frame", "offset sealed raw codec epoch base blobs")
Blob = namedtuple("Blob", "id kind stored content")
Root = namedtuple("Root", "name kind id level records row_bytes summary digest")
Snapshot = namedtuple("Snapshot", "id time host user label tags program sources status roots rest")

# Keys, seals and small objects: [sealing and keys], [objects], [pack], [blob and frame], [snapshot]
def derive(name, material): return blake3(material, derive_key_context="packstone 2026-11 v1 " + name).digest()
def unseal(key, sealed, associated): return decrypt(sealed[24:], associated, sealed[:24], key)
def head(data, kind): require(data[:6] == b"PSTN" + bytes([kind, 1]), "another kind of object, or a newer format")
def body(data):
    require(data[:1] == b"\2", "a newer format")
    return Bytes(data[1:])
def padded(plain):
    length = 4 + Bytes(plain).u32()
    require(length <= len(plain) and not any(plain[length:]), "padding")
    return body(plain[4:length])

class Keys:  # the keyring of one repository, and what opens with it
    def __init__(self, repository, keyring):
        self.repository, self.masters = repository, dict(struct.iter_unpack("<I32s", keyring))
        ascending([epoch for epoch, _ in struct.iter_unpack("<I32s", keyring)], "epochs")
        require(0 in self.masters and len(self.masters) <= 1000, "epochs of the keyring")
        self.ids, self.long_key = [self.key("chunk id"), self.key("node id")], self.key("tree long key")
    def key(self, name, epoch=0):
        require(epoch in self.masters, f"epoch {epoch} is not in the keyring")
        return derive(name, self.repository + self.masters[epoch])
    def id(self, kind, canonical): return blake3(canonical, key=self.ids[kind]).digest()
    def config(self, data):
        require(blake3(data[:-64], key=self.key("config")).digest() == data[-64:-32], "config is not authentic")
        require(config_id(data) == self.repository, "config of another repository")
    def object(self, data, kind, path):  # the body in an envelope
        head(data, kind)
        key = self.key({INDEX: "index", OPENING: "sync", SEGMENT: "sync"}.get(kind, "metadata"), Bytes(data[6:10]).u32())
        return padded(unseal(key, data[10:], data[:10] + self.repository + path.encode()))
    def directory(self, pack):  # the frames in the directory of a whole pack
        require(len(pack) >= 92 and pack[:8] == b"PSPACK\1\0", "pack")
        length, epoch = struct.unpack_from("<II", pack, len(pack) - 40)
        start = len(pack) - 40 - length
        require(length >= 44 and start >= 8 and blake3(pack[:-32]).digest() == pack[-32:], "end of a pack")
        associated = pack[:8] + b"directory" + struct.pack("<IQ", epoch, start)
        c = padded(unseal(self.key("metadata", epoch), pack[start:-40], associated))
        frames, end = c.end(read_directory(c))
        require(end == start, "frames do not end at the directory")
        return frames
    def frame(self, frame, sealed, base=None):  # the raw bytes of a frame
        kind = frame.blobs[0].kind
        names = b"".join(b.id + struct.pack("<II", b.stored, b.content) for b in frame.blobs) + (frame.base or b"")
        associated = b"PSFRAME\1" + struct.pack("<BBII", kind, frame.codec, frame.epoch, frame.raw)
        data = unseal(self.key(("data", "tree")[kind], frame.epoch), sealed, associated + blake3(names).digest())
        if frame.codec != RAW:
            require(data[:4] == b"\x28\xb5\x2f\xfd" and zstandard.frame_content_size(data) == frame.raw, "zstd frame")
            prefix = base and zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            data = zstandard.ZstdDecompressor(dict_data=prefix).decompress(data, allow_extra_data=False)
        require(len(data) == frame.raw, "raw length")
        return data
def config_id(data):
    head(data, CONFIG)
    require(len(data) == 74 + Bytes(data[6:10]).u32() and blake3(data[:-32]).digest() == data[-32:], "damaged config")
    c = body(data[10:-64])
    return c.end((c.take(16), c.signed(), [c.varint(32) for _ in range(4)], c.choice(2)))[0]
def open_slot(repository, data, password, key_file):  # the keyring; None if the secret is not of this slot
    head(data, SLOT)
    start = 10 + Bytes(data[6:10]).u32()
    c = body(data[10:start])
    costs = None if c.choice(2) else [c.varint(32) for _ in range(3)]
    salt, commitment, *_ = c.id(), c.id(), c.text(), c.text(), c.text(), c.signed()
    c.end()
    if (password if costs else key_file) is None: return None
    memory, passes, lanes = costs or (19_456, 1, 1)
    require(19_456 <= memory <= 4_194_304 and 1 <= passes <= 64 and 1 <= lanes <= 64, "costs out of bounds")
    material = repository + (hash_secret_raw(password, salt, passes, memory, lanes, 32, Type.ID, 0x13) if costs
                             else derive("key file", salt + key_file))
    if not hmac.compare_digest(derive("slot commitment", material), commitment): return None
    return unseal(derive("slot key", material), data[start:], data[:start] + repository)
def read_directory(c):  # the frames of a pack, and where they end
    c.choice(3)
    blobs = lambda: c.list(lambda: Blob(c.id(), c.choice(2), c.varint(32), c.varint(32)))
    numbers = lambda: (c.varint(), c.varint(32), c.varint(32), c.choice(3), c.varint(32))
    frames = c.list(lambda: Frame(*numbers(), c.option(c.id), blobs()))
    starts = [*itertools.accumulate((f.sealed for f in frames), initial=8)]
    for f, start in zip(frames, starts):
        require(f.offset == start and f.raw == sum(b.stored for b in f.blobs) <= MAX_BYTES and f.blobs, "frame")
        require(f.sealed - 40 == f.raw if f.codec == RAW else 0 <= f.sealed - 40 <= f.raw, "length of a frame")
        require((f.base is not None) == (f.codec == DELTA) and (f.codec != DELTA or len(f.blobs) == 1), "base")
        require(all(b.content <= MAX_BYTES and b.id != f.base for b in f.blobs), "blob")
        require(all(b.kind == NODE or b.content == b.stored for b in f.blobs), "length of a chunk")
    require(len({b.kind for f in frames for b in f.blobs}) <= 1, "kinds of blobs")
    return frames, starts[-1]
def snapshot_fields(c):
    return Snapshot(
        c.take(16), c.signed(), c.text(), c.text(), c.text(), c.list(c.text), c.text(),
        c.list(lambda: (c.text(), c.list(c.pair), c.text(), c.choice(2))), c.choice(2),
        c.list(lambda: Root(c.text(), c.u8(), c.option(c.id), c.u8(), c.varint(), c.varint(), c.bytes(), c.bytes())),
        (c.option(lambda: c.take(16)), c.option(c.id), c.bytes(), c.varint(), c.choice(3), c.list(c.pair), c.varint(),
         [c.varint() for _ in range(8)], c.list(lambda: (c.text(), c.varint())), c.varint(), c.varint(),
         c.list(lambda: (c.text(), c.varint())), c.list(c.pair)))
def read_snapshot(c, sid):  # the committed snapshot in a body; the variant of a fence or a tombstone
    if variant := c.choice(3): return variant
    snapshot = c.end(snapshot_fields(c))
    require(snapshot.id.hex() == sid, "snapshot of another session")
    return snapshot
def read_gc(c, path):
    number, _, condemned, *_ = c.end((c.varint(), c.signed(), c.list(c.id), c.take(16), c.text()))
    require(number > 0 and path == f"gc/{number:010}", "gc record at another path")
    return ascending(condemned, "condemned packs")

def read_segment(c, n, previous):  # of a chain: whether it ends a transaction, its time, properties, changes of trees
    compressed, length, data = c.end((c.choice(2), c.varint(32), c.bytes()))
    require(length <= MAX_BYTES and (not compressed or zstandard.frame_content_size(data) == length), "length of a segment")
    c = body(zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False) if compressed else data)
    require(len(c.data) + 1 == length and (c.varint(), c.id()) == (n, previous), "a segment is not the next of its chain")
    time, ends, *_ = c.signed(), c.choice(2), c.signed(), [c.varint() for _ in range(3)], c.text()
    properties, trees = c.end((c.list(c.pair), c.list(lambda: (c.text(), c.list(c.bytes), c.list(c.bytes)))))
    ascending([name for name, *_ in trees], "trees"), [ascending(keys, "keys") for _, *both in trees for keys in both]
    return ends, time, properties, trees

# Trees and repositories: [tree], [index], [sync]
def canonical_node(kept):
    if kept[:1] == b"\0": return kept[1:]
    require(kept[:2] == b"\1\1" and kept[2:3] and kept[2] in COLUMNS, "kept form of a node")
    rows = COLUMNS[kept[2]](kept[3:])
    return bytes([1, kept[2], 0]) + leb(len(rows)) + b"".join(leb(len(part)) + part for row in rows for part in row)
def read_node(canonical):
    require(canonical[:1] == b"\1", "a newer format")
    c = Bytes(canonical[1:])
    node = c.u8(), c.u8(), [(c.take(c.short()), c.take(c.short())) for _ in range(c.short())]
    require(node[1] <= 63 and node[2], "level or rows of a node")
    return c.end(node)
def read_child(description):
    c = Bytes(description)
    return c.id(), c.short(), c.short(), description[c.at:]

class Repository:  # in a local folder
    def __init__(self, folder, password, key_file, use_index=True):
        self.folder, self.known, self.cache, self.changes = pathlib.Path(folder), defaultdict(list), (None, None), {}
        config, slots = self.read("config"), [self.named(path) for path in self.list("keys/[0-9a-f]{64}")]
        rings = list(filter(None, (open_slot(config_id(config), slot, password, key_file) for slot in slots)))
        require(rings, "no key slot opens with this password or key file")
        self.keys = Keys(config_id(config), rings[0])
        self.keys.config(config)
        condemned = {pack for path in self.list("gc/[0-9]{10,}") for pack in read_gc(self.object(GC, path), path)}
        packs = (self.index() if use_index else self.directories()).items()
        for pack, frames in sorted(packs, key=lambda pack: pack[0] in condemned):  # condemned ones are the last resort
            for frame in frames:
                for blob, end in zip(frame.blobs, itertools.accumulate(blob.stored for blob in frame.blobs)):
                    self.known[blob.id].append((pack, frame, blob, end))
    def read(self, path): return (self.folder / path).read_bytes()
    def list(self, form):  # the paths that have this form; others are ignored
        paths = (path.relative_to(self.folder).as_posix() for path in self.folder.glob(form.split("/")[0] + "/**/*"))
        return sorted(path for path in paths if re.fullmatch(form, path))
    def object(self, kind, path): return self.keys.object(self.read(path), kind, path)
    def named(self, path):  # an object that is named by its hash
        data = self.read(path)
        require(blake3(data).hexdigest() == path.split("/")[-1], f"{path} is damaged")
        return data
    def index(self):
        packs = {}
        for path in self.list("index/[0-9]+/[0-9a-f]{64}"):
            c = self.keys.object(self.named(path), INDEX, "")
            found, replaces = c.end((c.list(lambda: (c.id(), c.varint(), *read_directory(c))), c.list(c.id)))
            ascending(replaces, "replaced objects"), ascending([pack for pack, *_ in found], "packs")
            require(all(size >= end + 84 for _, size, _, end in found), "size of a pack")
            packs.update((pack, frames) for pack, _, frames, _ in found)
        return packs
    def directories(self):
        paths = self.list(r"packs/([0-9a-f]{2})/\1[0-9a-f]{62}")
        return {bytes.fromhex(path[9:]): self.keys.directory(self.named(path)) for path in paths}
    def snapshots(self):  # all that are committed, and the states of chains that none of them contains; the newest last
        chains = self.list("sync/[0-9a-f]{32}/[0-9a-f]{32}/0{10}")  # before snapshots: what is folded meanwhile is in one
        paths = self.list("snapshots/[0-9a-f]{32}")
        outcomes = {path[10:]: read_snapshot(self.object(SNAPSHOT, path), path[10:]) for path in paths}
        found = [snapshot for snapshot in outcomes.values() if isinstance(snapshot, Snapshot)]
        contained = {text for snapshot in found for name, text in snapshot.rest[-1] if name == "sync-session"}
        contained |= {sid for sid, outcome in outcomes.items() if outcome != 1}
        found += filter(None, (self.chain(path[:-10], path[38:70]) for path in chains if path[38:70] not in contained))
        return sorted(found, key=lambda snapshot: (snapshot.time, snapshot.id))
    def chain(self, folder, sid):  # the state of a chain, None if no transaction in it is whole; [sync]
        paths = self.list(re.escape(folder) + "[0-9]{10,}")
        require(paths == [f"{folder}{n:010}" for n in range(len(paths))], f"{folder} has a hole")
        c = self.object(OPENING, paths[0])
        session, base, _ = c.end((c.take(16), snapshot_fields(c), c.take(16)))
        stream = blake3(struct.pack("<I", len(base.host.encode())) + (base.host + base.label).encode(), key=self.keys.key("sync stream"))
        require((session.hex(), stream.digest()[:16].hex()) == (sid, folder[5:37]), "opening of another chain")
        state, waiting, changes = None, [], defaultdict(dict)
        for n, path in enumerate(paths[1:], 1):
            previous = blake3(self.read(paths[n - 1])).digest()
            ends, time, properties, trees = read_segment(self.object(SEGMENT, path), n, previous)
            waiting += trees
            if not ends: continue
            for name, put, removed in waiting: changes[name] |= dict.fromkeys(removed, False) | dict.fromkeys(put, True)
            state, waiting = base._replace(id=session, time=max(time, base.time)), []
        self.changes[session] = changes
        return state
    def copies(self, name, kind, codecs=(RAW, ZSTD, DELTA)):  # the stored form of each readable copy of a blob
        for pack, frame, blob, end in self.known.get(name, ()):
            if frame.codec in codecs and blob.kind == kind:
                for base in self.copies(frame.base, kind, (RAW, ZSTD)) if frame.base else (None,):
                    with contextlib.suppress(*ERRORS):
                        yield self.raw(pack, frame, base)[end - blob.stored:end]
    def raw(self, pack, frame, base):
        if self.cache[0] != (pack, frame.offset, base):
            with open(self.folder / "packs" / pack.hex()[:2] / pack.hex(), "rb") as file:
                file.seek(frame.offset)
                self.cache = (pack, frame.offset, base), self.keys.frame(frame, file.read(frame.sealed), base)
        return self.cache[1]
    def blob(self, name, kind):  # the canonical form of a blob, from any copy
        for stored in self.copies(name, kind):
            with contextlib.suppress(*ERRORS):
                canonical = canonical_node(stored) if kind == NODE else stored
                if self.keys.id(kind, canonical) == name: return canonical
        raise Damaged(f"no good copy of blob {name.hex()}")
    def tree(self, kind, level, name, records, row_bytes, _summary, last=None):  # the rows below a node
        found_kind, found_level, rows = read_node(self.blob(name, NODE))
        keys, separator, children = [key for key, _ in rows], rows[-1][0], []
        if level:
            children = [read_child(description) for _, description in rows]
            require(all(child[1] and len(child[3]) <= 64 for child in children), "description of a child")
            for a, b in itertools.pairwise(keys):
                require(a[:256] < b[:256] or a[:256] == b[:256] and a != b and len(a) == 288, "order of separators")
        elif len(separator) > 256:
            separator = separator[:256] + blake3(separator, key=self.keys.long_key).digest()
        sums = [sum(child[i] for child in children) for i in (1, 2)] if level else [len(rows), sum(len(key) + len(value) for key, value in rows)]
        told = found_kind, found_level, *sums, separator
        require(told == (kind, level, records, row_bytes, last or separator), "what is said of a node")
        if not level: yield from rows
        for key, child in zip(keys, children):
            yield from self.tree(kind, level - 1, *child, key)
    def rows(self, *top):  # the rows of a tree
        last = None
        for key, value in self.tree(*top):
            require(last is None or last < key, "keys do not ascend")
            yield (last := key), value
    def records(self, snapshot, name, kind=DATOM):  # the rows of one of a snapshot's trees
        roots = [root for root in snapshot.roots if (root.name, root.kind) == (name, kind)]
        require(len(roots) == 1 or not roots and name in self.changes.get(snapshot.id, ()), f"no tree {name}")
        return self.rows(roots[0].kind, roots[0].level, roots[0].id, *roots[0][4:7]) if roots and roots[0].id else iter(())
    def keys_of(self, snapshot, name):
        keys = (key for key, _ in self.records(snapshot, name))
        if snapshot.id not in self.changes: return keys
        return iter(sorted(key for key, is_there in (dict.fromkeys(map(self.whole, keys), 1) | self.changes[snapshot.id][name]).items() if is_there))
    def whole(self, key):  # a key with a stored value put in its place
        c = Bytes(key)
        c.take(16), attribute(c)
        return key[:c.at] + self.stored(Bytes(key[c.at + 1:-1])) + key[-1:] if key[c.at] == 0x19 else key
    def current(self, snapshot):  # the current view: the fold of the log, put right by the exceptions
        state, exceptions = {}, list(self.keys_of(snapshot, "exceptions"))
        for key in itertools.chain(self.keys_of(snapshot, "log"), exceptions):
            state.pop(key[8:-1], None)
            if key[-1]: state[key[8:-1]] = key
        state = {*state.values(), *(key for key in exceptions if key[-1])}
        return sorted(state, key=lambda key: key[8:-1] + key[:8])
    def line(self, key):
        c = Bytes(self.whole(key))
        t, e, a, v = c.flipped(), c.flipped(), attribute(c), value(c)
        return c.end(f"[{e} {a} {v} {t} {('false', 'true')[c.choice(2)]}]")
    def stored(self, c):  # the whole of a stored value
        start, name, listed, length = c.take(64), c.id(), c.choice(2), c.big(8)
        whole = self.blob(name, CHUNK)
        if listed:
            require(whole and len(whole) % 32 == 0, "list of chunks")
            whole = b"".join(self.blob(whole[i:i + 32], CHUNK) for i in range(0, len(whole), 32))
        require(len(whole) == length > 64 and whole[:64] == start and 2 <= start[0] <= 0x18, "stored value")
        return whole

def check_vectors(folder):
    seal, objects, pack, frames = (json.loads(pathlib.Path(folder, name + ".json").read_text()) for name in (
        "sealing-and-keys", "objects", "pack", "blob-and-frame"))
    unhex, gc = bytes.fromhex, objects["gc"]
    keys = Keys(unhex(seal["secrets"]["repository_id"]), unhex(seal["keyring"]))
    opened = [open_slot(keys.repository, unhex(v["object"]), *[unhex(v["secret"])] * 2) for v in seal["slots"]]
    require(all(keyring.hex() == seal["keyring"] for keyring in opened), "slots")
    keys.config(unhex(objects["config"]["object"]))
    require(len(read_gc(keys.object(unhex(gc["object"]), GC, gc["path"]), gc["path"])) == 2, "gc record")
    directory, base = keys.directory(unhex(pack["object"])), None
    for frame, v in zip(directory, frames["frames"], strict=True):
        base = keys.frame(frame, unhex(v["sealed"]), base)[:frame.blobs[0].stored]
        require(keys.id(CHUNK, base).hex() == v["entry"]["blobs"][0]["id"], "frame")
    vectors = json.loads(pathlib.Path(folder, "entries.json").read_text())
    for columns, name, decode in ("columns", "entries", files.entry_columns), (
            "columns_of_extents", "extents", files.extent_columns):
        rows = [(unhex(v["key"]), unhex(v["value"])) for v in vectors[name]]
        require(decode(unhex(vectors[columns])) == rows, name)

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--repo")
    for name in "--password", "--password-file", "--key-file", "--check-vectors": parser.add_argument(name)
    for name in "--current", "--no-index": parser.add_argument(name, action="store_true")
    parser.add_argument("--tree", default="log", choices=["log", "exceptions"])
    parser.add_argument("--to", help="an empty folder, for directory trees")
    parser.add_argument("command", nargs="?", choices=["list", "ls", "restore"], default="list")
    parser.add_argument("snapshot", nargs="?", default="latest", help="the start of an id, or latest")
    options = parser.parse_intermixed_args()
    if options.check_vectors: return check_vectors(options.check_vectors)
    password = pathlib.Path(options.password_file).read_text() if options.password_file else options.password
    password = password and re.sub(r"\r?\n\Z", "", password).encode()
    key_file = pathlib.Path(options.key_file).read_bytes() if options.key_file else None
    repository = Repository(options.repo, password, key_file, not options.no_index)
    snapshots = repository.snapshots()
    if options.command == "list":
        for s in snapshots:
            print(s.id.hex(), s.time, s.host, s.label, ("complete", "partial")[s.status], *(r.records for r in s.roots))
        return
    latest = ([s for s in snapshots if not s.status] or snapshots)[-1:]
    named = [s for s in snapshots if s.id.hex().startswith(options.snapshot)]
    chosen = latest if options.snapshot == "latest" else named
    require(len(chosen) == 1, f"{len(chosen)} snapshots are {options.snapshot}")
    if any(root.kind == ENTRY for root in chosen[0].roots):
        entries = repository.records(*chosen, "files", ENTRY)
        if options.command == "ls": return files.print_all(entries)
        require(options.to, "directory trees are restored --to a folder")
        return files.extract(repository, entries, pathlib.Path(options.to))
    for key in repository.current(*chosen) if options.current else repository.keys_of(*chosen, options.tree):
        sys.stdout.buffer.write(repository.line(key).encode() + b"\n")

if __name__ == "__main__":
    try:
        sys.set_int_max_str_digits(0)
        main()
    except ERRORS as error:
        sys.exit(f"{type(error).__name__}: {error}")
