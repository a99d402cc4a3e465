#!/usr/bin/env python3
"""Reads packstone repositories: a second implementation, written from format-spec/ alone. It checks every seal, hash
and id on the way, and never writes. Names in brackets, such as [pack], are chapters of the specification."""
import argparse, contextlib, hmac, itertools, json, pathlib, re, struct, sys, uuid
from collections import Counter, defaultdict, namedtuple
import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt
from nacl.exceptions import CryptoError

CONFIG, SLOT, SESSION, HEARTBEAT, SNAPSHOT, INDEX, GC = range(1, 8)
CHUNK, NODE, DATOM, RAW, ZSTD, DELTA = 0, 1, 1, 0, 1, 2
MAX_BYTES, MAX_ROWS, TOP, WRAP = 67_108_864, 3_355_443, 1 << 63, 1 << 64
Frame = namedtuple("Frame", "offset sealed raw codec epoch base blobs")
Blob = namedtuple("Blob", "id kind stored content")
Root = namedtuple("Root", "name kind id level records row_bytes summary digest")
Snapshot = namedtuple("Snapshot", "id time host user label tags program sources status roots rest")

class Damaged(ValueError): """Bytes that the format does not allow."""
ERRORS = ValueError, OSError, struct.error, zstandard.ZstdError, CryptoError, LookupError
def require(condition, what):
    if not condition: raise Damaged(what)
def ascending(items, what):
    require(all(a < b for a, b in itertools.pairwise(items)), f"{what} do not ascend")
    return items
def zigzag(number): return number >> 1 ^ -(number & 1)

class Bytes:  # read from the start to the end; methods are named like the types of bodies in [README]
    def __init__(self, data): self.data, self.at = data, 0
    def take(self, count):
        require(count <= len(self.data) - self.at, "ends early")
        self.at += count
        return self.data[self.at - count:self.at]
    def end(self, result=None):
        require(self.at == len(self.data), "bytes left over")
        return result
    def varint(self, bits=64, shortest=False):
        number, shift, byte = 0, 0, 128
        while byte > 127 and shift < bits:
            byte = self.u8()
            number, shift = number | (byte & 127) << shift, shift + 7
        require(byte < 128 and number < 1 << bits and (byte or shift == 7 or not shortest), "varint")
        return number
    def passed(self, read):  # the bytes that are read
        start = self.at
        read(self)
        return self.data[start:self.at]
    def u8(self): return self.take(1)[0]
    def choice(self, count): return range(count)[self.u8()]  # fails for an unknown variant
    def u32(self): return int.from_bytes(self.take(4), "little")
    def big(self, count): return int.from_bytes(self.take(count), "big")
    def flipped(self): return self.big(8) - TOP
    def short(self): return self.varint(64, True)  # the varint of [records] and [tree]
    def shorts(self, count): return [self.short() for _ in range(count)]
    def signed(self): return zigzag(self.varint())
    def id(self): return self.take(32)
    def bytes(self): return self.take(self.varint())
    def text(self): return self.bytes().decode()
    def pair(self): return self.text(), self.text()
    def list(self, item): return [item() for _ in range(self.varint())]
    def option(self, item): return item() if self.choice(2) else None

# Keys, seals and small objects: [sealing and keys], [objects], [pack], [blob and frame], [snapshot]
def derive(name, material): return blake3(material, derive_key_context="packstone 2026-11 v1 " + name).digest()
def unseal(key, sealed, associated): return decrypt(sealed[24:], associated, sealed[:24], key)
def head(data, kind): require(data[:6] == b"PSTN" + bytes([kind, 1]), "another kind of object, or a newer format")
def body(data):
    require(data[:1] == b"\1", "a newer format")
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
        key = self.key("index" if kind == INDEX else "metadata", Bytes(data[6:10]).u32())
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
def read_snapshot(c, sid):  # the committed snapshot in a body; None for a fence or a tombstone
    if c.choice(3): return None
    snapshot = c.end(Snapshot(
        c.take(16), c.signed(), c.text(), c.text(), c.text(), c.list(c.text), c.text(),
        c.list(lambda: (c.text(), c.list(c.pair), c.text(), c.choice(2))), c.choice(2),
        c.list(lambda: Root(c.text(), c.u8(), c.option(c.id), c.u8(), c.varint(), c.varint(), c.bytes(), c.bytes())),
        (c.option(lambda: c.take(16)), c.option(c.id), c.bytes(), c.varint(), c.choice(3), c.list(c.pair), c.varint(),
         [c.varint() for _ in range(8)], c.list(lambda: (c.text(), c.varint())), c.varint(), c.varint(),
         c.list(c.pair))))
    require(snapshot.id.hex() == sid, "snapshot of another session")
    return snapshot
def read_gc(c, path):
    number, _, condemned, *_ = c.end((c.varint(), c.signed(), c.list(c.id), c.take(16), c.text()))
    require(number > 0 and path == f"gc/{number:010}", "gc record at another path")
    return ascending(condemned, "condemned packs")

# Values, printed as they are read: [records], [text forms]

CHARACTERS = {10: "newline", 32: "space", 9: "tab", 8: "backspace", 12: "formfeed", 13: "return"}
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f", "\b": "\\b"}
OURS = "inst uuid bytes float uri regex keyword symbol floats doubles tagged".split()
def escaped(c):
    raw = c.take(c.data.index(0, c.at) + 1 - c.at)[:-1]
    require(re.fullmatch(rb"(?:[^\x01]|\x01[\x01\x02])*+", raw), "escape")
    return re.sub(rb"\x01([\x01\x02])", lambda m: bytes([m[1][0] - 1]), raw)
def text(c, errors="strict"):
    found = escaped(c).decode(errors=errors)
    require(not re.search("[\ud800-\udbff][\udc00-\udfff]", found), "a surrogate pair")
    return found
def wtf8(c): return text(c, "surrogatepass")
def quoted(plain):
    return '"%s"' % re.sub('["\\\\\n\t\r\f\b\0\ud800-\udfff]', lambda m: ESCAPES.get(m[0]) or unit(ord(m[0])), plain)
def unit(code): return f"\\u{code:04x}"
def is_name(name): return re.fullmatch(r'[^\0- ,";()\[\]{}]+', name)
def keyword(name): return ":" + name if is_name(name) else "#keyword " + quoted(name)
def symbol(name):
    strange = re.match(r"[+-]?[0-9]|[:#\\^`~@']|(nil|true|false)\Z", name) or not is_name(name)
    return "#symbol " + quoted(name) if strange else name
def regex(pattern):
    literal = re.fullmatch(r'(?:\\?[^\\"\n\r\0\ud800-\udfff]|\\[\\"])*', pattern)
    return f'#"{pattern}"' if literal else "#regex " + quoted(pattern)
def character(code):
    return unit(code) if code == 0 or 0xD800 <= code < 0xE000 else "\\" + CHARACTERS.get(code, chr(code))
def integer(c):
    sign = c.choice(3)
    if sign == 1: return 0
    plain = lambda raw: raw if sign else bytes(255 - byte for byte in raw)
    magnitude = plain(c.take(int.from_bytes(plain(c.take(4)), "big")))
    require(any(magnitude[:1]), "magnitude")
    return int.from_bytes(magnitude, "big") * (sign - 1)
def rounded(number, width):
    return number if width == 8 or number > 3.4028235e38 else struct.unpack(">f", struct.pack(">f", number))[0]
def floating(c, width):
    """The text of a double (width 8) or float (4): the shortest digits that read back, and of these the nearest."""
    raw, top = c.big(width), 1 << 8 * width - 1
    raw ^= top if raw & top else 2 * top - 1
    x = struct.unpack(">d" if width == 8 else ">f", raw.to_bytes(width, "big"))[0]
    require(x == x or raw in (0x7FF8 << 48, 0x7FC0 << 16), "not the one NaN")
    if x != x or abs(x) == float("inf"): return "##NaN" if x != x else "##Inf" if x > 0 else "##-Inf"
    sign, x = "-" * (raw & top > 0), abs(x)
    for count in range(1, 18):
        digits, exponent = f"{x:.{count}e}".replace(".", "").split("e")
        near, exponent = int(digits), int(exponent) - count
        close = [str(n) for n in (near, near - 1, near + 1) if rounded(float(f"{n}e{exponent}"), width) == x]
        if close: break
    found, point = close[0], len(close[0]) + exponent
    if x and not 1e-3 <= x < 1e7: return f"{sign}{found[0]}.{found[1:].rstrip('0') or '0'}E{point - 1}"
    whole, part = found[:max(point, 0)].ljust(point, "0"), found[max(point, 0):].rjust(len(found) - point, "0")
    return f"{sign}{whole or '0'}.{part.rstrip('0') or '0'}"
def instant(ms):  # as java.util.Date has it: the Julian calendar before 1582-10-15
    (days, ms), old = divmod(ms, 86_400_000), ms < -141_427 * 86_400_000
    era, day = divmod(days + (719_470 if old else 719_468), 1461 if old else 146_097)
    year = (day - day // 1460 + (0 if old else day // 36_524 - day // 146_096)) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day, year = day - (153 * month + 2) // 5 + 1, year + era * (4 if old else 400) + (month >= 10)
    date = f"{'-' * (year < 0)}{abs(year):04}-{(month + 2) % 12 + 1:02}-{day:02}"
    return f"{date}T{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}-00:00"
def decimal(scale, unscaled):
    sign, digits = "-" * (unscaled < 0), str(abs(unscaled))
    exponent = len(digits) - 1 - scale
    if scale >= 0 and exponent >= -6:
        digits = digits.rjust(scale + 1, "0")
        return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)
    return sign + digits[0] + "." * (len(digits) > 1) + digits[1:] + (f"E{exponent:+d}" if exponent else "")
def array(c, width):
    numbers = Bytes(c.take(c.big(4) * width))
    return " ".join(floating(numbers, width) for _ in range(len(numbers.data) // width))
def value(c, depth=0): return payload(c, c.u8(), depth)
def object_part(c, depth):
    name = text(Bytes(c.data[c.at + 1:])) if c.data[c.at] == 0x0C else ""
    printed = value(c, depth)
    return name if is_name(name) and name[0] in "0123456789" else printed
def elements(c, depth, item=value, pairs=False, ordered=False):  # the texts of a sequence
    found, raws = [], []
    while (more := c.u8()) == 1:
        raws.append(c.passed(lambda c: found.append(item(c, depth + 1))))
        if pairs: found[-1] += " " + value(c, depth + 1)
    require(more == 0, "sequence")
    if ordered: ascending(raws, "keys or elements")
    return (", " if pairs else " ").join(found)
def tagged(c, tag, depth):
    if tag == "object" and c.data[c.at:c.at + 1] == b"\x12":
        c.take(1)
        return f"#object[{elements(c, depth + 1, object_part)}]"
    inner, plain = value(c, depth + 1), is_name(tag) and tag[0].isalpha() and tag not in OURS
    return f"#{tag} {inner}" if plain else f"#tagged [{quoted(tag)} {inner}]"

PAYLOADS = [  # by type
    None, lambda c, d: "nil", lambda c, d: ("false", "true")[c.choice(2)], lambda c, d: str(c.flipped()),
    lambda c, d: f"{integer(c)}N", lambda c, d: floating(c, 8),
    lambda c, d: '#float "%s"' % floating(c, 4).replace("#", "").replace("Inf", "Infinity"),
    lambda c, d: decimal(c.big(4) - (1 << 31), integer(c)) + "M", lambda c, d: f"{integer(c)}/{integer(c)}",
    lambda c, d: character(c.big(2)), lambda c, d: quoted(wtf8(c)), lambda c, d: keyword(text(c)),
    lambda c, d: symbol(text(c)), lambda c, d: f'#uuid "{uuid.UUID(bytes=c.take(16))}"',
    lambda c, d: f'#inst "{instant(c.flipped())}"', lambda c, d: f'#bytes "{escaped(c).hex()}"',
    lambda c, d: "#uri " + quoted(wtf8(c)), lambda c, d: regex(wtf8(c)), lambda c, d: f"[{elements(c, d)}]",
    lambda c, d: f"({elements(c, d)})", lambda c, d: f"#{{{elements(c, d, ordered=True)}}}",
    lambda c, d: f"{{{elements(c, d, pairs=True, ordered=True)}}}", lambda c, d: f"#floats [{array(c, 4)}]",
    lambda c, d: f"#doubles [{array(c, 8)}]", lambda c, d: tagged(c, text(c), d), lambda c, d: c.take(105),
]
def payload(c, kind, depth=0):
    require(1 <= kind <= 0x19 and depth <= 64 and not (kind == 0x19 if depth else kind == 0x01), "type of a value")
    return PAYLOADS[kind](c, depth)
def attribute(c):
    kind = (1, 2, 3).index(c.u8())
    return str(c.flipped()) if kind == 1 else (quoted if kind else keyword)(text(c))

# Columns of leaves: [records]

TEXTS, INTEGERS, FLOATS = (0x0A, 0x0B, 0x0C, 0x0F, 0x10, 0x11), (0x03, 0x0E), {0x05: 8, 0x06: 4}
def flipped(number): return ((number + TOP) % WRAP).to_bytes(8, "big")
def deltas(c, count): return list(itertools.accumulate(map(zigzag, c.shorts(count))))
def column(n, t, r, kind, firsts, inner=False):  # payloads from numbers, texts and raw; firsts: which begin a run
    encoding, count = n.u8(), len(firsts)
    if encoding == 0: return [r.take(16) if kind == 0x0D else t.passed(lambda c: payload(c, kind)) for _ in firsts]
    if encoding == 1 and kind in TEXTS:
        last = b"\0"
        return [last := last[:range(len(last))[shared]] + t.passed(escaped) for shared in n.shorts(count)]
    if encoding == 2 and not inner:
        size, indexes = n.short(), n.shorts(count)
        require(size <= count, "dictionary")
        words = column(n, t, r, kind, [True] * size, True)
        return [words[i] for i in indexes]
    if encoding == 3 and kind in TEXTS:
        length = n.short()
        require(length, "length of hexadecimal digits")
        return [r.take(length).hex().encode() + b"\0" for _ in firsts]
    if encoding in (4, 5) and kind in INTEGERS:
        begins, last = iter(deltas(n, sum(firsts)) if encoding == 4 else map(zigzag, n.shorts(sum(firsts)))), 0
        return [flipped(last := next(begins) if first else last + n.short()) for first in firsts]
    require(encoding == 6 and kind in FLOATS, "encoding of a column")
    return [bytes(parts) for parts in zip(*[r.take(count) for _ in range(FLOATS[kind])])]
def rows_of_runs(n, t, r, count):  # for each run of an attribute its rows from the value on
    lengths = [length + 1 for length in n.shorts(count)]
    total, form = sum(lengths), n.u8()
    require(total <= MAX_ROWS and form <= 2, "rows of an attribute")
    ops = n.take((total + 7) // 8) if form == 2 else bytes([255 * form]) * (total // 8 + 1)
    kinds = ascending(list(n.take(n.short())), "types")
    which = n.take(total) if len(kinds) > 1 else bytes(total)
    require(1 <= len(kinds) <= 32 and all(k < len(kinds) for k in which), "types")
    runs = [run for run, length in enumerate(lengths) for _ in range(length)]
    seen = [[run for run, k in zip(runs, which) if k == i] for i in range(len(kinds))]
    firsts = [[a != b for a, b in itertools.pairwise([None, *of])] for of in seen]
    columns = [iter(column(n, t, r, kind, first)) for kind, first in zip(kinds, firsts)]
    rows = iter([bytes([kinds[k], *next(columns[k]), ops[i // 8] >> i % 8 & 1]) for i, k in enumerate(which)])
    return iter([list(itertools.islice(rows, length)) for length in lengths])
def read_group(n, following):  # the attributes of a group; `following` is the table of predictions
    end = before = len(following) - 1
    symbols = []
    while symbols[-1:] != [end]:
        code = n.short()
        symbol = code - 1 if code else following[before]
        require(symbol <= end and not (code and symbol == following[before]), "symbol")
        following[before] = before = symbol
        symbols.append(symbol)
    require(len(symbols) > 1, "a group without attributes")
    return symbols[:-1]
def datom_columns(data):  # the keys in the columns of a leaf
    c = Bytes(data)
    n, t = [Bytes(c.take(length)) for length in c.shorts(2)]
    r = Bytes(data[c.at:])
    attributes = ascending([t.passed(attribute) for _ in range(n.short())], "attributes")
    count, following = n.short(), [*range(1, len(attributes) + 1), 0]
    begins = [flipped(t_) + flipped(e) for t_, e in zip(deltas(n, count), deltas(n, count))]
    groups = [read_group(n, following) for _ in begins]
    runs = Counter(itertools.chain(*groups))
    rows = [rows_of_runs(n, t, r, runs[a]) for a in range(len(attributes))]
    keys = [begin + attributes[a] + row for begin, group in zip(begins, groups) for a in group for row in next(rows[a])]
    require(sum(map(len, keys)) <= MAX_BYTES, "too many bytes")
    for stream in (n, t, r): stream.end()
    return keys

# Trees and repositories: [tree], [index]
def leb(number): return bytes([number & 127 | 128]) + leb(number >> 7) if number > 127 else bytes([number])
def canonical_node(kept):
    if kept[:1] == b"\0": return kept[1:]
    require(kept[:3] == bytes([1, 1, DATOM]), "kept form of a node")
    keys = datom_columns(kept[3:])
    return bytes([1, DATOM, 0]) + leb(len(keys)) + b"".join(leb(len(key)) + key + b"\0" for key in keys)
def read_node(canonical):
    c = body(canonical)
    node = c.u8(), c.u8(), [(c.take(c.short()), c.take(c.short())) for _ in range(c.short())]
    require(node[1] <= 63 and node[2], "level or rows of a node")
    return c.end(node)
def read_child(description):
    c = Bytes(description)
    return c.id(), c.short(), c.short(), description[c.at:]

class Repository:  # in a local folder
    def __init__(self, folder, password, key_file, use_index=True):
        self.folder, self.known, self.cache = pathlib.Path(folder), defaultdict(list), (None, None)
        config, slots = self.read("config"), [self.named(path) for path in self.list("keys/[0-9a-f]{64}")]
        rings = list(filter(None, (open_slot(config_id(config), slot, password, key_file) for slot in slots)))
        require(rings, "no key slot opens with this password or key file")
        self.keys = Keys(config_id(config), rings[0])
        self.keys.config(config)
        condemned = {pack for path in self.list("gc/[0-9]{10,}") for pack in read_gc(self.object(GC, path), path)}
        for pack, frames in (self.index() if use_index else self.directories()).items():
            for frame in frames if pack not in condemned else ():
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
    def snapshots(self):  # all that are committed, the newest last
        found = [read_snapshot(self.object(SNAPSHOT, path), path[10:]) for path in self.list("snapshots/[0-9a-f]{32}")]
        return sorted(filter(None, found), key=lambda snapshot: (snapshot.time, snapshot.id))
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
    def tree(self, kind, level, name, records, row_bytes, _summary, last=None):  # the keys below a node
        found_kind, found_level, rows = read_node(self.blob(name, NODE))
        keys, separator, children = [key for key, _ in rows], rows[-1][0], []
        if level:
            children = [read_child(description) for _, description in rows]
            require(all(child[1] and len(child[3]) <= 64 for child in children), "description of a child")
            for a, b in itertools.pairwise(keys):
                require(a[:256] < b[:256] or a[:256] == b[:256] and a != b and len(a) == 288, "order of separators")
        elif len(separator) > 256:
            separator = separator[:256] + blake3(separator, key=self.keys.long_key).digest()
        sums = [sum(child[i] for child in children) for i in (1, 2)] if level else [len(rows), sum(map(len, keys))]
        told = found_kind, found_level, *sums, separator
        require(told == (kind, level, records, row_bytes, last or separator), "what is said of a node")
        if not level: yield from keys
        for key, child in zip(keys, children):
            yield from self.tree(kind, level - 1, *child, key)
    def records(self, snapshot, name):  # the keys of one of a snapshot's trees
        [root], last = [root for root in snapshot.roots if (root.name, root.kind) == (name, DATOM)], b""
        for key in self.tree(root.kind, root.level, root.id, *root[4:7]) if root.id else ():
            require(last < key, "keys do not ascend")
            yield (last := key)
    def current(self, snapshot):  # the current view: the fold of the log, put right by the exceptions
        state, exceptions = {}, list(self.records(snapshot, "exceptions"))
        for key in itertools.chain(self.records(snapshot, "log"), exceptions):
            state.pop(key[8:-1], None)
            if key[-1]: state[key[8:-1]] = key
        state = {*state.values(), *(key for key in exceptions if key[-1])}
        return sorted(state, key=lambda key: key[8:-1] + key[:8])
    def line(self, key):
        c = Bytes(key)
        t, e, a, v = c.flipped(), c.flipped(), attribute(c), value(c)
        v = self.long_value(Bytes(v)) if isinstance(v, bytes) else v
        return c.end(f"[{e} {a} {v} {t} {('false', 'true')[c.choice(2)]}]")
    def long_value(self, c):  # the text of a stored value
        start, name, listed, length = c.take(64), c.id(), c.choice(2), c.big(8)
        whole = self.blob(name, CHUNK)
        if listed:
            require(whole and len(whole) % 32 == 0, "list of chunks")
            whole = b"".join(self.blob(whole[i:i + 32], CHUNK) for i in range(0, len(whole), 32))
        require(len(whole) == length > 64 and whole[:64] == start and 2 <= start[0] <= 0x18, "stored value")
        c = Bytes(whole)
        return c.end(value(c))

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

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--repo")
    for name in "--password", "--password-file", "--key-file", "--check-vectors": parser.add_argument(name)
    for name in "--current", "--no-index": parser.add_argument(name, action="store_true")
    parser.add_argument("--tree", default="log", choices=["log", "exceptions"])
    parser.add_argument("command", nargs="?", choices=["list", "restore"], default="list")
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
    for key in repository.current(*chosen) if options.current else repository.records(*chosen, options.tree):
        sys.stdout.buffer.write(repository.line(key).encode() + b"\n")

if __name__ == "__main__":
    try:
        sys.set_int_max_str_digits(0)
        main()
    except ERRORS as error:
        sys.exit(f"{type(error).__name__}: {error}")
