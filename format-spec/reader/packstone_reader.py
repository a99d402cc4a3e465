#!/usr/bin/env python3
"""Reads packstone repositories: a second implementation, written from format-spec/ alone.

Lists snapshots and prints the datoms of one. Every seal, hash and id on the way is checked; nothing is ever written.
Names in brackets, such as [pack], are chapters of the specification.
"""
import argparse, functools, hmac, itertools, json, pathlib, re, struct, sys, uuid
from collections import defaultdict, namedtuple
import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.exceptions import CryptoError

CONFIG, SLOT, SESSION, HEARTBEAT, SNAPSHOT, INDEX, GC = range(1, 8)
CHUNK, NODE = RAW, ZSTD = 0, 1
DELTA, DATOM = 2, 1
MAX_NODE, MAX_ROWS = 67_108_864, 3_355_443
TOP, WRAP = 1 << 63, 1 << 64
Frame = namedtuple("Frame", "offset sealed raw codec epoch base blobs")
Blob = namedtuple("Blob", "id kind stored content")
Root = namedtuple("Root", "name kind id level records row_bytes summary digest")
Snapshot = namedtuple("Snapshot", "id time host user label tags program sources status roots parent previous cursor "
                      "gc_checked lifetime skipped skipped_count statistics properties")

class Damaged(Exception):
    """Bytes that the format does not allow."""

def require(condition, what):
    if not condition:
        raise Damaged(what)

def ascending(items, what):
    require(all(a < b for a, b in zip(items, items[1:])), f"{what} do not ascend")

class Bytes:
    """Bytes that are read from the start to the end. Methods are named like the types of [README]'s table of bodies."""

    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def take(self, count):
        require(count <= len(self.data) - self.at, "ends early")
        self.at += count
        return self.data[self.at - count:self.at]

    def end(self, result=None):
        require(self.at == len(self.data), "bytes left over")
        return result

    def varint(self, bits=64, shortest=False):
        number = 0
        for shift in range(0, bits, 7):
            byte = self.u8()
            number |= (byte & 127) << shift
            if byte < 128:
                require(number < 1 << bits and not (shortest and shift and byte == 0), "varint not allowed")
                return number
        raise Damaged("varint too long")

    def choice(self, count):
        variant = self.varint(32)
        require(variant < count, "unknown variant")
        return variant

    def u8(self): return self.take(1)[0]
    def u32(self): return int.from_bytes(self.take(4), "little")
    def big(self, count): return int.from_bytes(self.take(count), "big")
    def short(self): return self.varint(64, True)  # the varint of [records] and [tree]
    def signed(self): return zigzag(self.varint())
    def id(self): return self.take(32)
    def bytes(self): return self.take(self.varint())
    def text(self): return self.bytes().decode()
    def pair(self): return self.text(), self.text()
    def list(self, item): return [item() for _ in range(self.varint())]
    def option(self, item): return item() if self.choice(2) else None

def zigzag(number): return number >> 1 ^ -(number & 1)

# Keys, seals and small objects: [sealing and keys], [objects], [pack], [blob and frame], [snapshot]

def derive(name, material):
    return blake3(material, derive_key_context="packstone 2026-11 v1 " + name).digest()

def unseal(key, sealed, associated):
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], associated, sealed[:24], key)
    except (CryptoError, ValueError) as error:
        raise Damaged("a seal does not open") from error

def head(data, kind):
    require(data[:5] == b"PSTN" + bytes([kind]), "not an object of this kind")
    require(data[5:6] == b"\1", "a newer format")

def versioned(data):
    require(data[:1] == b"\1", "a newer format")
    return Bytes(data[1:])

def padded(plain):
    c = Bytes(plain)
    inner = c.take(c.u32())
    require(not any(plain[c.at:]), "padding is not zeros")
    return versioned(inner)

class Keys:
    """The keyring of one repository, and what opens with it."""

    def __init__(self, repository, keyring):
        c, self.repository, epochs = Bytes(keyring), repository, []
        while c.at < len(keyring):
            epochs.append((c.u32(), c.take(32)))
        self.masters = dict(epochs)
        ascending([number for number, _ in epochs], "epochs")
        require(0 in self.masters and len(epochs) <= 1000, "keyring")
        self.ids, self.long_key = [self.key("chunk id"), self.key("node id")], self.key("tree long key")

    def key(self, name, epoch=0):
        require(epoch in self.masters, f"epoch {epoch} is not in the keyring")
        return derive(name, self.repository + self.masters[epoch])

    def id(self, kind, canonical):
        return blake3(canonical, key=self.ids[kind]).digest()

    def config(self, data):
        keyed = blake3(data[:-64], key=self.key("config")).digest()
        require(hmac.compare_digest(keyed, data[-64:-32]), "config is not authentic")
        require(config_id(data) == self.repository, "config of another repository")

    def object(self, data, kind, path):
        """The body in an envelope."""
        head(data, kind)
        key = self.key("index" if kind == INDEX else "metadata", int.from_bytes(data[6:10], "little"))
        return padded(unseal(key, data[10:], data[:10] + self.repository + path.encode()))

    def directory(self, pack):
        """The directory in the bytes of a whole pack."""
        require(len(pack) >= 92 and pack[:8] == b"PSPACK\1\0", "pack")
        length, epoch = struct.unpack_from("<II", pack, len(pack) - 40)
        start = len(pack) - 40 - length
        require(length >= 44 and start >= 8 and blake3(pack[:-32]).digest() == pack[-32:], "end of a pack")
        associated = pack[:8] + b"directory" + struct.pack("<IQ", epoch, start)
        c = padded(unseal(self.key("metadata", epoch), pack[start:-40], associated))
        frames, end = read_directory(c)
        require(end == start, "frames do not end at the directory")
        return c.end(frames)

    def frame(self, frame, sealed, base=None):
        """The raw bytes of a frame."""
        kind = frame.blobs[0].kind
        names = b"".join(b.id + struct.pack("<II", b.stored, b.content) for b in frame.blobs) + (frame.base or b"")
        associated = b"PSFRAME\1" + struct.pack("<BBII", kind, frame.codec, frame.epoch, frame.raw)
        key = self.key(("data", "tree")[kind], frame.epoch)
        data = unseal(key, sealed, associated + blake3(names).digest())
        if frame.codec != RAW:
            require(data[:4] == b"\x28\xb5\x2f\xfd" and zstandard.frame_content_size(data) == frame.raw, "zstd frame")
            prefix = base and zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            try:
                data = zstandard.ZstdDecompressor(dict_data=prefix).decompress(data, allow_extra_data=False)
            except zstandard.ZstdError as error:
                raise Damaged(str(error)) from error
        require(len(data) == frame.raw, "raw length")
        return data

def config_id(data):
    head(data, CONFIG)
    require(len(data) == 74 + int.from_bytes(data[6:10], "little"), "length of the config")
    require(blake3(data[:-32]).digest() == data[-32:], "config is damaged")
    c = versioned(data[10:-64])
    fields = c.take(16), c.signed(), [c.varint(32) for _ in range(4)], c.choice(2)
    return c.end(fields[0])

def open_slot(repository, data, password, key_file):
    """The keyring in a key slot; None if the secret is not of this slot."""
    head(data, SLOT)
    c = Bytes(data)
    c.take(6)
    public = versioned(c.take(c.u32()))
    costs = None if public.choice(2) else [public.varint(32) for _ in range(3)]
    salt, commitment = public.id(), public.id()
    public.end([public.text(), public.text(), public.text(), public.signed()])
    if costs and password is not None:
        memory, passes, lanes = costs
        require(19_456 <= memory <= 4_194_304 and 1 <= passes <= 64 and 1 <= lanes <= 64, "costs out of bounds")
        stretched = hash_secret_raw(password, salt, passes, memory, lanes, 32, Type.ID, 0x13)
    elif not costs and key_file is not None:
        stretched = derive("key file", salt + key_file)
    else:
        return None
    material = repository + stretched
    if not hmac.compare_digest(derive("slot commitment", material), commitment):
        return None
    return unseal(derive("slot key", material), data[c.at:], data[:c.at] + repository)

def read_directory(c):
    """The frames of a pack, and where they end."""
    c.choice(3)
    frames = c.list(lambda: Frame(
        c.varint(), c.varint(32), c.varint(32), c.choice(3), c.varint(32), c.option(c.id),
        c.list(lambda: Blob(c.id(), c.choice(2), c.varint(32), c.varint(32)))))
    at = 8
    for f in frames:
        require(f.offset == at and f.blobs and f.raw <= MAX_NODE, "frame")
        require(f.sealed - 40 == f.raw if f.codec == RAW else 0 <= f.sealed - 40 <= f.raw, "length of a frame")
        require(sum(b.stored for b in f.blobs) == f.raw, "lengths of blobs")
        require((f.base is not None) == (f.codec == DELTA) and (f.codec != DELTA or len(f.blobs) == 1), "base")
        require(all(b.content <= MAX_NODE and b.id != f.base for b in f.blobs), "blob")
        require(all(b.kind == NODE or b.content == b.stored for b in f.blobs), "length of a chunk")
        at += f.sealed
    require(len({b.kind for f in frames for b in f.blobs}) <= 1, "kinds of blobs")
    return frames, at

def read_snapshot(c, sid):
    """The committed snapshot in a body; None for a fence or a tombstone."""
    if c.choice(3):
        return None
    snapshot = Snapshot(
        c.take(16), c.signed(), c.text(), c.text(), c.text(), c.list(c.text), c.text(),
        c.list(lambda: (c.text(), c.list(c.pair), c.text(), c.choice(2))), c.choice(2),
        c.list(lambda: Root(c.text(), c.u8(), c.option(c.id), c.u8(), c.varint(), c.varint(), c.bytes(), c.bytes())),
        c.option(lambda: c.take(16)), c.option(c.id), c.bytes(), c.varint(), c.choice(3), c.list(c.pair), c.varint(),
        [[c.varint() for _ in range(8)], c.list(lambda: (c.text(), c.varint())), c.varint(), c.varint()],
        c.list(c.pair))
    require(snapshot.id.hex() == sid, "snapshot of another session")
    return c.end(snapshot)

def read_gc(c, path):
    number, _, condemned, _, _ = c.varint(), c.signed(), c.list(c.id), c.take(16), c.text()
    require(number > 0 and path == f"gc/{number:010}", "gc record at another path")
    ascending(condemned, "condemned packs")
    return c.end(condemned)

# Values, printed as they are read: [records], [text forms]

CHARACTERS = {10: "newline", 32: "space", 9: "tab", 8: "backspace", 12: "formfeed", 13: "return"}
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f", "\b": "\\b"}
OURS = "inst uuid bytes float uri regex keyword symbol floats doubles tagged".split()

def escaped(c):
    end = c.data.find(0, c.at)
    require(end >= 0, "text without an end")
    raw = c.take(end + 1 - c.at)[:-1]
    require(re.fullmatch(rb"(?:[^\x01]|\x01[\x01\x02])*+", raw), "escape")
    return re.sub(rb"\x01([\x01\x02])", lambda m: bytes([m[1][0] - 1]), raw)

def text(c, errors="strict"):
    found = escaped(c).decode(errors=errors)
    require(not re.search("[\ud800-\udbff][\udc00-\udfff]", found), "a surrogate pair")
    return found

def wtf8(c): return text(c, "surrogatepass")
def quoted(plain):
    escape = lambda m: ESCAPES.get(m[0]) or f"\\u{ord(m[0]):04x}"
    return '"' + re.sub('["\\\\\n\t\r\f\b\0\ud800-\udfff]', escape, plain) + '"'

def is_name(name): return re.fullmatch(r'[^\0- ,";()\[\]{}]+', name)

def keyword(name): return ":" + name if is_name(name) else "#keyword " + quoted(name)

def symbol(name):
    strange = re.match(r"[+-]?[0-9]|[:#\\^`~@']|(nil|true|false)\Z", name) or not is_name(name)
    return "#symbol " + quoted(name) if strange else name

def regex(pattern):
    literal = re.fullmatch(r'(?:\\?[^\\"\n\r\0\ud800-\udfff]|\\[\\"])*', pattern)
    return f'#"{pattern}"' if literal else "#regex " + quoted(pattern)

def character(unit):
    return "\\" + (CHARACTERS.get(unit) or (f"u{unit:04x}" if unit == 0 or 0xD800 <= unit < 0xE000 else chr(unit)))

def integer(c):
    sign = c.u8()
    require(sign <= 2, "sign")
    if sign == 1:
        return 0
    plain = lambda raw: raw if sign else bytes(255 - byte for byte in raw)
    magnitude = plain(c.take(int.from_bytes(plain(c.take(4)), "big")))
    require(magnitude and magnitude[0], "magnitude")
    return int.from_bytes(magnitude, "big") * (sign - 1)

def rounded(number, width):
    return number if width == 8 or number > 3.4028235e38 else struct.unpack(">f", struct.pack(">f", number))[0]

def floating(c, width):
    """The text of a double (width 8) or float (4): the shortest digits that read back, and of these the nearest."""
    raw, top = c.big(width), 1 << 8 * width - 1
    raw ^= top if raw & top else 2 * top - 1
    x = struct.unpack(">d" if width == 8 else ">f", raw.to_bytes(width, "big"))[0]
    require(x == x or raw in (0x7FF8 << 48, 0x7FC0 << 16), "not the one NaN")
    if x != x or abs(x) == float("inf"):
        return "##NaN" if x != x else "##Inf" if x > 0 else "##-Inf"
    sign, x = "-" if raw & top else "", abs(x)
    for count in range(1, 18):
        digits, exponent = f"{x:.{count}e}".split("e")
        near, exponent = int(digits.replace(".", "")), int(exponent) - count
        tries = (f"{n}e{exponent}" for n in (near, near - 1, near + 1))
        found = next((t for t in tries if rounded(float(t), width) == x), None)
        if found:
            break
    digits = found.split("e")[0]
    point = len(digits) + exponent
    if x and not 1e-3 <= x < 1e7:
        return f"{sign}{digits[0]}.{digits[1:].rstrip('0') or '0'}E{point - 1}"
    whole, part = digits[:max(point, 0)].ljust(point, "0"), digits[max(point, 0):].rjust(len(digits) - point, "0")
    return f"{sign}{whole or '0'}.{part.rstrip('0') or '0'}"

def instant(ms):
    """As java.util.Date has it: the Julian calendar before 1582-10-15."""
    (days, ms), julian = divmod(ms, 86_400_000), ms < -141_427 * 86_400_000
    era, day = divmod(days + (719_470 if julian else 719_468), 1461 if julian else 146_097)
    year = (day - day // 1460 + (0 if julian else day // 36_524 - day // 146_096)) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day, year = day - (153 * month + 2) // 5 + 1, year + era * (4 if julian else 400) + (month >= 10)
    date = f"{'-' * (year < 0)}{abs(year):04}-{(month + 2) % 12 + 1:02}-{day:02}"
    return f"{date}T{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}-00:00"

def decimal(scale, unscaled):
    sign, digits = "-" * (unscaled < 0), str(abs(unscaled))
    exponent = len(digits) - 1 - scale
    if scale >= 0 and exponent >= -6:
        digits = digits.rjust(scale + 1, "0")
        return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)
    return sign + digits[0] + "." * (len(digits) > 1) + digits[1:] + (f"E{exponent:+d}" if exponent else "")

def value(c, depth=0): return payload(c, c.u8(), depth)

def object_part(c, depth):
    start, printed = c.at, value(c, depth)
    name = text(Bytes(c.data[start + 1:c.at])) if c.data[start] == 0x0C else ""
    return name if is_name(name) and name[0] in "0123456789" else printed

def entry(c, depth): return f"{value(c, depth)} {value(c, depth)}"

def elements(c, depth, item=value, between=" ", order=None):
    """The texts of a sequence."""
    found, raws = [], []
    while (more := c.u8()) == 1:
        start = c.at
        found.append(item(c, depth + 1))
        if order:
            ends = Bytes(c.data[start:c.at])
            value(ends, depth + 1)
            raws.append(ends.data[:ends.at])
    require(more == 0, "sequence")
    ascending(raws, "keys or elements")
    return between.join(found)

def array(c, width):
    numbers = Bytes(c.take(c.big(4) * width))
    return " ".join(floating(numbers, width) for _ in range(len(numbers.data) // width))

def tagged(c, tag, depth):
    if tag == "object" and c.data[c.at:c.at + 1] == b"\x12":
        c.take(1)
        return f"#object[{elements(c, depth + 1, item=object_part)}]"
    inner, plain = value(c, depth + 1), is_name(tag) and tag[0].isalpha() and tag not in OURS
    return f"#{tag} {inner}" if plain else f"#tagged [{quoted(tag)} {inner}]"

PAYLOADS = {
    0x01: lambda c, d: "nil",
    0x02: lambda c, d: ("false", "true")[c.choice(2)],
    0x03: lambda c, d: str(c.big(8) - TOP),
    0x04: lambda c, d: f"{integer(c)}N",
    0x05: lambda c, d: floating(c, 8),
    0x06: lambda c, d: '#float "%s"' % floating(c, 4).replace("#", "").replace("Inf", "Infinity"),
    0x07: lambda c, d: decimal(c.big(4) - (1 << 31), integer(c)) + "M",
    0x08: lambda c, d: f"{integer(c)}/{integer(c)}",
    0x09: lambda c, d: character(c.big(2)),
    0x0A: lambda c, d: quoted(wtf8(c)),
    0x0B: lambda c, d: keyword(text(c)),
    0x0C: lambda c, d: symbol(text(c)),
    0x0D: lambda c, d: f'#uuid "{uuid.UUID(bytes=c.take(16))}"',
    0x0E: lambda c, d: f'#inst "{instant(c.big(8) - TOP)}"',
    0x0F: lambda c, d: f'#bytes "{escaped(c).hex()}"',
    0x10: lambda c, d: "#uri " + quoted(wtf8(c)),
    0x11: lambda c, d: regex(wtf8(c)),
    0x12: lambda c, d: f"[{elements(c, d)}]",
    0x13: lambda c, d: f"({elements(c, d)})",
    0x14: lambda c, d: f"#{{{elements(c, d, order=True)}}}",
    0x15: lambda c, d: f"{{{elements(c, d, entry, ', ', True)}}}",
    0x16: lambda c, d: f"#floats [{array(c, 4)}]",
    0x17: lambda c, d: f"#doubles [{array(c, 8)}]",
    0x18: lambda c, d: tagged(c, text(c), d),
    0x19: lambda c, d: c.take(105),
}

def payload(c, kind, depth=0):
    require(kind in PAYLOADS and depth <= 64 and (depth or kind != 0x01) and not (depth and kind == 0x19), "value")
    return PAYLOADS[kind](c, depth)

# Leaves: [records]

def attribute(c):
    kind = c.u8()
    require(1 <= kind <= 3, "attribute")
    return str(c.big(8) - TOP) if kind == 2 else (keyword if kind == 1 else quoted)(text(c))

def deltas(c, count):
    numbers, last = [], 0
    for _ in range(count):
        last = (last + zigzag(c.short())) % WRAP
        numbers.append(last)
    return numbers

def flipped(number): return ((number + TOP) % WRAP).to_bytes(8, "big")

def column(numbers, texts, raw, kind, firsts):
    """The payloads of one attribute and type; `firsts` says which of them begin a run."""
    encoding, count, found = numbers.u8(), len(firsts), []
    is_text = kind in (0x0A, 0x0B, 0x0C, 0x0F, 0x10, 0x11)
    if encoding == 0 and kind == 0x0D:
        return [raw.take(16) for _ in range(count)]
    if encoding == 0:
        for _ in range(count):
            start = texts.at
            payload(texts, kind)
            found.append(texts.data[start:texts.at])
    elif encoding == 1 and is_text:
        for shared in [numbers.short() for _ in range(count)]:
            last, end = found[-1][:-1] if found else b"", texts.data.find(0, texts.at)
            require(shared <= len(last) and end >= 0, "shared bytes")
            found.append(last[:shared] + texts.take(end + 1 - texts.at))
    elif encoding == 2:
        size = numbers.short()
        require(size <= count, "dictionary")
        indexes = [numbers.short() for _ in range(count)]
        require(numbers.data[numbers.at:numbers.at + 1] != b"\2" and all(i < size for i in indexes), "dictionary")
        words = column(numbers, texts, raw, kind, [True] * size)
        found = [words[i] for i in indexes]
    elif encoding == 3 and is_text:
        length = numbers.short()
        require(length, "length of hexadecimal digits")
        found = [raw.take(length).hex().encode() + b"\0" for _ in range(count)]
    elif encoding in (4, 5) and kind in (0x03, 0x0E):
        total = sum(firsts)
        begins = iter(deltas(numbers, total) if encoding == 4 else [zigzag(numbers.short()) for _ in range(total)])
        for first in firsts:
            last = next(begins) if first else (last + numbers.short()) % WRAP
            found.append(flipped(last))
    elif encoding == 6 and kind in (0x05, 0x06):
        planes = [raw.take(count) for _ in range(8 if kind == 0x05 else 4)]
        found = [bytes(parts) for parts in zip(*planes)]
    else:
        raise Damaged(f"encoding {encoding} of type {kind}")
    return found

def run_rows(numbers, texts, raw, count):
    """For each run of an attribute its rows from the value on."""
    lengths = [numbers.short() + 1 for _ in range(count)]
    total = sum(lengths)
    require(total <= MAX_ROWS, "too many rows")
    form = numbers.u8()
    require(form <= 2, "ops")
    ops = numbers.take((total + 7) // 8) if form == 2 else bytes([255 * form]) * (total // 8 + 1)
    kinds = [numbers.u8() for _ in range(numbers.short())]
    which = numbers.take(total) if len(kinds) > 1 else bytes(total)
    require(1 <= len(kinds) <= 32 and all(kind < len(kinds) for kind in which), "types")
    ascending(kinds, "types")
    firsts, last, row = [[] for _ in kinds], [None] * len(kinds), iter(which)
    for run, length in enumerate(lengths):
        for kind in itertools.islice(row, length):
            firsts[kind].append(last[kind] != run)
            last[kind] = run
    columns = [iter(column(numbers, texts, raw, *pair)) for pair in zip(kinds, firsts)]
    rows = (bytes([kinds[k]]) + next(columns[k]) + bytes([ops[i // 8] >> i % 8 & 1]) for i, k in enumerate(which))
    return iter([list(itertools.islice(rows, length)) for length in lengths])

def datom_columns(data):
    """The keys in the columns of a leaf."""
    c = Bytes(data)
    lengths = c.short(), c.short()
    numbers, texts = (Bytes(c.take(length)) for length in lengths)
    raw, attributes, groups = Bytes(c.data[c.at:]), [], []
    for _ in range(numbers.short()):
        start = texts.at
        attribute(texts)
        attributes.append(texts.data[start:texts.at])
    ascending(attributes, "attributes")
    count = numbers.short()
    times, entities = deltas(numbers, count), deltas(numbers, count)
    end = before = len(attributes)
    following, runs = [*range(1, end + 1), 0], [0] * end
    for t, e in zip(times, entities):
        group = []
        while True:
            code = numbers.short()
            symbol = code - 1 if code else following[before]
            require(symbol <= end and not (code and symbol == following[before]), "symbol")
            following[before] = before = symbol
            if symbol == end:
                break
            group.append(symbol)
            runs[symbol] += 1
        require(group, "a group without attributes")
        groups.append((flipped(t) + flipped(e), group))
    rows = [run_rows(numbers, texts, raw, count) for count in runs]
    for stream in (numbers, texts, raw):
        stream.end()
    keys = [begin + attributes[a] + row for begin, group in groups for a in group for row in next(rows[a])]
    require(sum(map(len, keys)) <= MAX_NODE, "too many bytes")
    return keys

# Trees: [tree]

def leb(number): return bytes([number & 127 | 128]) + leb(number >> 7) if number > 127 else bytes([number])

def canonical_node(kept):
    if kept[:1] == b"\0":
        return kept[1:]
    require(kept[:3] == b"\1\1" + bytes([DATOM]), "kept form of a node")
    keys = datom_columns(kept[3:])
    return bytes([1, DATOM, 0]) + leb(len(keys)) + b"".join(leb(len(key)) + key + b"\0" for key in keys)

def read_node(canonical):
    c = Bytes(canonical)
    require(c.u8() == 1, "a newer format")
    kind, level, rows = c.u8(), c.u8(), [(c.take(c.short()), c.take(c.short())) for _ in range(c.short())]
    require(rows and level <= 63 and len(canonical) <= MAX_NODE, "node")
    return c.end((kind, level, rows))

def read_child(description):
    c = Bytes(description)
    child = c.id(), c.short(), c.short(), c.take(len(c.data) - c.at)
    require(child[1] and len(child[3]) <= 64, "description of a child")
    return child

@functools.lru_cache
def attribute_bit(raw):
    found = functools.reduce(lambda h, byte: (h ^ byte) * 0x100000001B3 % WRAP, raw, 0xCBF29CE484222325)
    return 1 << found % 64

def datom_summary(key):
    c = Bytes(key)
    t, e = c.big(8) - TOP, c.big(8) - TOP
    attribute(c)
    return struct.pack(">4q2Q", t, t, e, e, attribute_bit(key[16:c.at]), 1 - key[-1])

def merged(summaries):
    t, to, e, upto, filters, retractions = zip(*(struct.unpack(">4q2Q", s) for s in summaries))
    bits = functools.reduce(lambda a, b: a | b, filters)
    return struct.pack(">4q2Q", min(t), max(to), min(e), max(upto), bits, min(sum(retractions), WRAP - 1))

class Repository:
    """A repository in a local folder."""

    def __init__(self, folder, password, key_file, use_index=True):
        self.folder, self.known, self.cache = pathlib.Path(folder), defaultdict(list), (None, None)
        config = self.read("config")
        slots = [self.named("keys/" + name, name) for name in self.list("keys", "*")]
        rings = (open_slot(config_id(config), slot, password, key_file) for slot in slots)
        keyring = next((ring for ring in rings if ring), None)
        require(keyring, "no key slot opens with this password or key file")
        self.keys = Keys(config_id(config), keyring)
        self.keys.config(config)
        gc = [f"gc/{name}" for name in self.list("gc", "*")]
        condemned = {pack for path in gc for pack in read_gc(self.keys.object(self.read(path), GC, path), path)}
        for pack, frames in (self.index() if use_index else self.directories()).items():
            for frame in frames if pack not in condemned else ():
                ends = itertools.accumulate(blob.stored for blob in frame.blobs)
                for blob, end in zip(frame.blobs, ends):
                    self.known[blob.id].append((pack, frame, blob, end))

    def read(self, path): return (self.folder / path).read_bytes()

    def list(self, folder, pattern): return sorted(path.name for path in (self.folder / folder).glob(pattern))

    def named(self, path, name):
        """An object that is named by its hash."""
        data = self.read(path)
        require(blake3(data).hexdigest() == name, f"{path} is damaged")
        return data

    def index(self):
        packs = {}
        for path in (self.folder / "index").glob("*/*"):
            c = self.keys.object(self.named(path.relative_to(self.folder), path.name), INDEX, "")
            found, replaces = c.list(lambda: (c.id(), c.varint(), read_directory(c))), c.list(c.id)
            ascending([pack for pack, _, _ in found], "packs")
            ascending(replaces, "replaced objects")
            require(all(size >= end + 84 for _, size, (_, end) in c.end(found)), "size of a pack")
            packs.update((pack, frames) for pack, _, (frames, _) in found)
        return packs

    def directories(self):
        names = self.list("packs", "*/*")
        return {bytes.fromhex(n): self.keys.directory(self.named(f"packs/{n[:2]}/{n}", n)) for n in names}

    def snapshots(self):
        """All that are committed, the newest last."""
        bodies = {sid: self.keys.object(self.read(f"snapshots/{sid}"), SNAPSHOT, f"snapshots/{sid}")
                  for sid in self.list("snapshots", "*")}
        found = [read_snapshot(body, sid) for sid, body in bodies.items()]
        return sorted((s for s in found if s), key=lambda s: (s.time, s.id))

    def stored(self, name, kind, codecs):
        """The stored form of each readable copy of a blob."""
        for pack, frame, blob, end in self.known.get(name, ()):
            if frame.codec in codecs and blob.kind == kind:
                for base in self.stored(frame.base, kind, (RAW, ZSTD)) if frame.codec == DELTA else (None,):
                    try:
                        yield self.raw(pack, frame, base)[end - blob.stored:end]
                    except (Damaged, OSError) as error:
                        print(f"pack {pack.hex()}: {error}", file=sys.stderr)

    def raw(self, pack, frame, base):
        if self.cache[0] != (pack, frame.offset, base):
            with open(self.folder / "packs" / pack.hex()[:2] / pack.hex(), "rb") as file:
                file.seek(frame.offset)
                self.cache = (pack, frame.offset, base), self.keys.frame(frame, file.read(frame.sealed), base)
        return self.cache[1]

    def blob(self, name, kind):
        """The canonical form of a blob, from any copy."""
        for stored in self.stored(name, kind, (RAW, ZSTD, DELTA)):
            canonical = canonical_node(stored) if kind == NODE else stored
            if self.keys.id(kind, canonical) == name:
                return canonical
        raise Damaged(f"no good copy of blob {name.hex()}")

    def separator(self, key):
        return key if len(key) <= 256 else key[:256] + blake3(key, key=self.keys.long_key).digest()

    def tree(self, kind, level, name, records, row_bytes, summary, last=None):
        """The keys below a node; all that its parent says of it is checked."""
        found_kind, found_level, rows = read_node(self.blob(name, NODE))
        require((found_kind, found_level) == (kind, level), "kind or level of a node")
        keys, separator, children = [key for key, _ in rows], rows[-1][0], []
        if level:
            children = [read_child(description) for _, description in rows]
            sums = [sum(child[i] for child in children) for i in (1, 2)]
            cuts = [(a[:256], b[:256], len(a), a != b) for a, b in zip(keys, keys[1:])]
            require(all(a < b or a == b and length == 288 and other for a, b, length, other in cuts), "separators")
        else:
            ascending(keys, "keys")
            separator, sums = self.separator(separator), [len(rows), sum(len(key) + len(v) for key, v in rows)]
        made = merged([child[3] for child in children] or [datom_summary(key) for key in keys])
        require(sums == [records, row_bytes] and made == summary and last in (None, separator), "what is said of a node")
        if not level:
            yield from keys
        for key, child in zip(keys, children):
            yield from self.tree(kind, level - 1, *child, key)

    def records(self, snapshot, name):
        """The keys of one of a snapshot's trees."""
        root = next((root for root in snapshot.roots if root.name == name), None)
        require(root and root.kind == DATOM, f"no tree of datoms is named {name}")
        last = b""
        for key in self.tree(*root[1:2], root.level, root.id, *root[4:7]) if root.id else ():
            require(last < key, "keys do not ascend")
            yield (last := key)

    def current(self, snapshot):
        """The current view: the fold of the log, put right by the exceptions."""
        state, exceptions = {}, list(self.records(snapshot, "exceptions"))
        for key in self.records(snapshot, "log"):
            state.pop(key[8:-1], None)
            if key[-1]:
                state[key[8:-1]] = key
        for key in exceptions:
            state.pop(key[8:-1], None)
        return sorted([*state.values(), *(key for key in exceptions if key[-1])], key=lambda key: key[8:-1] + key[:8])

    def line(self, key):
        c = Bytes(key)
        t, e, a = c.big(8) - TOP, c.big(8) - TOP, attribute(c)
        v = value(c)
        if isinstance(v, bytes):
            v = self.long_value(Bytes(v))
        op = c.choice(2)
        return c.end(f"[{e} {a} {v} {t} {('false', 'true')[op]}]")

    def long_value(self, c):
        """The text of a stored value."""
        start, name, listed, length = c.take(64), c.id(), c.choice(2), c.big(8)
        whole = self.blob(name, CHUNK)
        if listed:
            require(whole and len(whole) % 32 == 0, "list of chunks")
            whole = b"".join(self.blob(whole[i:i + 32], CHUNK) for i in range(0, len(whole), 32))
        require(len(whole) == length > 64 and whole[:64] == start and 2 <= start[0] <= 0x18, "stored value")
        c = Bytes(whole)
        return c.end(value(c))

def check_vectors(folder):
    vectors = {path.stem: json.loads(path.read_text()) for path in pathlib.Path(folder).glob("*.json")}
    keys, hexed = None, bytes.fromhex
    seal, objects, pack, index, snapshot, frames = (vectors[name] for name in (
        "sealing-and-keys", "objects", "pack", "index", "snapshot", "blob-and-frame"))
    keys = Keys(hexed(seal["secrets"]["repository_id"]), hexed(seal["keyring"]))
    require([keys.id(kind, b"abc").hex() for kind in (0, 1)] == [seal["chunk_id_of_abc"], seal["node_id_of_abc"]], "ids")
    for v in seal["seals"]:
        opened = unseal(keys.key(v["purpose"], v["epoch"]), hexed(v["sealed"]), hexed(v["associated"]))
        require(opened.hex() == v["plaintext"], "seal")
    for v in seal["slots"]:
        opened = open_slot(keys.repository, hexed(v["object"]), *[hexed(v["secret"])] * 2)
        require(opened.hex() == seal["keyring"], "slot")
    keys.config(hexed(objects["config"]["object"]))
    for name, kind in (("session", SESSION), ("heartbeat", HEARTBEAT)):
        keys.object(hexed(objects[name]["object"]), kind, objects[name]["path"])
    gc = objects["gc"]
    condemned = read_gc(keys.object(hexed(gc["object"]), GC, gc["path"]), gc["path"])
    require([pack.hex() for pack in condemned] == gc["value"]["condemned"], "gc record")
    directory, base = keys.directory(hexed(pack["object"])), None
    for frame, v in zip(directory, frames["frames"], strict=True):
        raw = keys.frame(frame, hexed(v["sealed"]), base)
        require(keys.id(CHUNK, raw[:frame.blobs[0].stored]) == frame.blobs[0].id, "frame")
        base = raw[:frame.blobs[0].stored]
    c = keys.object(hexed(index["object"]), INDEX, "")
    require(c.list(lambda: (c.id(), c.varint(), read_directory(c)))[0][2][0] == directory, "index")
    for v in snapshot["outcomes"]:
        found = read_snapshot(keys.object(hexed(v["object"]), SNAPSHOT, snapshot["path"]), snapshot["path"][10:])
        require(not found or found.label == v["value"]["Committed"]["label"], "snapshot")
    print(f"{len(vectors)} files of vectors are as this reader has it")

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--repo")
    parser.add_argument("--password")
    parser.add_argument("--password-file", type=pathlib.Path)
    parser.add_argument("--key-file", type=pathlib.Path)
    parser.add_argument("--no-index", action="store_true", help="read the directories of all packs instead")
    parser.add_argument("--check-vectors", metavar="FOLDER")
    parser.add_argument("--tree", default="log", help="log or exceptions")
    parser.add_argument("--current", action="store_true", help="the current view")
    parser.add_argument("command", nargs="?", choices=["list", "restore"], default="list")
    parser.add_argument("snapshot", nargs="?", default="latest", help="the start of an id, or latest")
    options = parser.parse_intermixed_args()
    if options.check_vectors:
        return check_vectors(options.check_vectors)
    password = options.password_file.read_text() if options.password_file else options.password
    password = password and re.sub(r"\r?\n\Z", "", password).encode()
    key_file = options.key_file.read_bytes() if options.key_file else None
    repository = Repository(options.repo, password, key_file, not options.no_index)
    snapshots = repository.snapshots()
    if options.command == "list":
        for s in snapshots:
            trees = ", ".join(f"{root.name} {root.records}" for root in s.roots)
            print(s.id.hex(), s.time, s.host, s.label, ("complete", "partial")[s.status], trees)
        return None
    whole = [s for s in snapshots if not s.status] or snapshots
    chosen = whole[-1:] if options.snapshot == "latest" else [
        s for s in snapshots if s.id.hex().startswith(options.snapshot)]
    require(len(chosen) == 1, f"{len(chosen)} snapshots are {options.snapshot}")
    keys = repository.current(chosen[0]) if options.current else repository.records(chosen[0], options.tree)
    for key in keys:
        sys.stdout.buffer.write(repository.line(key).encode() + b"\n")
    return None

if __name__ == "__main__":
    try:
        sys.set_int_max_str_digits(0)
        main()
    except (Damaged, OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
