"""Fressian, as Datahike's stores use it: a reader and a writer from the format's description alone.

Shares no line with the program, so that the two can check each other.
"""

import struct
import uuid
import zlib


class Kw(str):
    """A keyword, without its colon."""

    __slots__ = ()

    def __repr__(self):
        return ":" + str(self)

    def __hash__(self):
        return str.__hash__(self) ^ 0x5BD1E995

    def __eq__(self, other):
        return isinstance(other, Kw) and str.__eq__(self, other)

    def __ne__(self, other):
        return not self == other


class Sym(Kw):
    """A symbol."""

    __slots__ = ()

    def __repr__(self):
        return str(self)

    __hash__ = Kw.__hash__

    def __eq__(self, other):
        return isinstance(other, Sym) and str.__eq__(self, other)


class F32(float):
    """A 32-bit float."""


class Big(int):
    """A BigInt: stays one whatever its size."""


class Inst(int):
    """An instant: milliseconds since 1970."""


class Char(str):
    """A character."""


class Dec:
    """A decimal: unscaled * 10^-scale."""

    __slots__ = ("unscaled", "scale")

    def __init__(self, unscaled, scale):
        self.unscaled, self.scale = unscaled, scale

    def __repr__(self):
        return f"{self.unscaled}e-{self.scale}"


class Ratio:
    """A fraction."""

    __slots__ = ("numerator", "denominator")

    def __init__(self, numerator, denominator):
        self.numerator, self.denominator = numerator, denominator

    def __repr__(self):
        return f"{int(self.numerator)}/{int(self.denominator)}"


class Tagged:
    """Anything with a tag; `value` is its only component, or the list of them."""

    __slots__ = ("tag", "value")

    def __init__(self, tag, value):
        self.tag, self.value = tag, value

    def __repr__(self):
        return f"#{self.tag} {self.value!r}"


class Map(list):
    """Entries in their order; keys may be anything."""

    def get(self, key, default=None):
        for k, v in self:
            if type(k) is type(key) and k == key:
                return v
        return default


class PList(list):
    """A list, where a vector is a Python list."""


class Array(list):
    """A primitive array; `kind` is Fressian's name of it."""

    kind = "Object[]"


class Datom(tuple):
    """`(e, a, v, tx, added)`."""

    __slots__ = ()


class Malformed(ValueError):
    """Bytes that are no Fressian."""


def text_of(units):
    """CESU-8-like bytes to text; a lone surrogate stays one."""
    if units.isascii():
        return units.decode("ascii")
    out = bytearray()
    i = 0
    while i < len(units):
        c = units[i]
        if c < 0x80:
            n, unit = 1, c
        elif c >> 5 == 6:
            n, unit = 2, (c & 0x1F) << 6 | units[i + 1] & 0x3F
        elif c >> 4 == 14:
            n, unit = 3, (c & 15) << 12 | (units[i + 1] & 63) << 6 | units[i + 2] & 63
        else:
            raise Malformed(f"byte {c:02x} in a string")
        out += struct.pack(">H", unit)
        i += n
    return out.decode("utf-16-be", "surrogatepass")


def units_of(text):
    """Text to CESU-8-like bytes."""
    if text.isascii():
        return text.encode("ascii")
    out = bytearray()
    for (unit,) in struct.iter_unpack(">H", text.encode("utf-16-be", "surrogatepass")):
        if unit < 0x80:
            out.append(unit)
        elif unit < 0x800:
            out += bytes((0xC0 | unit >> 6, 0x80 | unit & 63))
        else:
            out += bytes((0xE0 | unit >> 12, 0x80 | unit >> 6 & 63, 0x80 | unit & 63))
    return bytes(out)


class Reader:
    """Reads objects from bytes."""

    def __init__(self, data):
        self.data, self.at, self.base = data, 0, 0
        self.priority, self.structs = [], []

    def take(self, n):
        out = self.data[self.at : self.at + n]
        if n < 0 or len(out) != n:
            raise Malformed("the end comes too early")
        self.at += n
        return out

    def uint(self, n):
        return int.from_bytes(self.take(n), "big")

    def integer(self):
        value = self.read()
        if type(value) is not int:
            raise Malformed(f"{value!r} where a number must stand")
        return value

    def read(self):
        if self.at >= len(self.data):
            raise Malformed("the end comes too early")
        code = self.data[self.at]
        self.at += 1
        return TABLE[code](self, code)

    def struct_of(self, tag, components):
        special = SPECIAL.get(tag)
        if special:
            return special(self)
        values = [self.read() for _ in range(components)]
        return Tagged(tag, values[0] if components == 1 else values)


def _bad(r, c):
    raise Malformed(f"code {c:02x} at {r.at - 1}")


def _chunks(r, c, more, last):
    out = bytearray()
    while c == more:
        out += r.take(r.integer())
        c = r.uint(1)
    if 0xDA <= c < 0xE2 and more == 0xE2:
        return out + r.take(c - 0xDA)
    if c != last:
        raise Malformed(f"code {c:02x} in a chunked value")
    return out + r.take(r.integer())


def _open_list(r, c):
    out = PList()
    while True:
        if c == 0xEE and r.at >= len(r.data):
            return out
        if r.data[r.at : r.at + 1] == b"\xfd":
            r.at += 1
            return out
        out.append(r.read())


def _put(r, c):
    slot = len(r.priority)
    r.priority.append(None)
    r.priority[slot] = value = r.read()
    return value


def _reset(r, c):
    r.priority, r.structs = [], []
    return r.read()


def _new_struct(r, c):
    tag, components = r.read(), r.integer()
    r.structs.append((tag, components))
    return r.struct_of(tag, components)


def _footer(r, c):
    length = r.at - 1 - r.base
    if r.take(3) != b"\xcf" * 3 or r.uint(4) != length:
        raise Malformed("a footer that does not fit")
    if zlib.adler32(r.data[r.base : r.at]) != r.uint(4):
        raise Malformed("a checksum that does not fit")
    r.base = r.at
    return _reset(r, c)


def _named(kind):
    def read(r, c=None):
        namespace, name = r.read(), r.read()
        return kind(name if namespace is None else namespace + "/" + name)

    return read


def _map(r, c=None):
    flat = r.read()
    return Map(zip(flat[::2], flat[1::2]))


def _array(kind):
    def read(r, c=None):
        out = Array(r.read() for _ in range(r.integer()))
        out.kind = kind
        return out

    return read


def _signed(raw):
    return int.from_bytes(raw, "big", signed=True)


def _irecord(r, c=None):
    n, tag = r.integer(), r.read()
    return Tagged("irecord", (tag, [r.read() for _ in range(n)]))


SPECIAL = {
    "map": _map,
    "set": lambda r, c=None: Tagged("set", r.read()),
    "uuid": lambda r, c=None: uuid.UUID(bytes=bytes(r.read())),
    "regex": lambda r, c=None: Tagged("regex", r.read()),
    "uri": lambda r, c=None: Tagged("uri", r.read()),
    "bigint": lambda r, c=None: Big(_signed(r.read())),
    "bigdec": lambda r, c=None: Dec(_signed(r.read()), r.integer()),
    "inst": lambda r, c=None: Inst(r.integer()),
    "sym": _named(Sym),
    "key": _named(Kw),
    "char": lambda r, c=None: Char(chr(r.integer())),
    "ratio": lambda r, c=None: Ratio(r.read(), r.read()),
    "byte": lambda r, c=None: r.integer(),
    "pvec": lambda r, c=None: [r.read() for _ in range(r.integer())],
    "plist": lambda r, c=None: PList(r.read() for _ in range(r.integer())),
    "irecord": _irecord,
    "datahike.datom.Datom": lambda r, c=None: Datom(r.read()),
}
ARRAYS = {0xB0: "long[]", 0xB1: "double[]", 0xB2: "boolean[]", 0xB3: "int[]", 0xB4: "float[]", 0xB5: "Object[]"}
SPECIAL.update({kind: _array(kind) for kind in ARRAYS.values()})


def _table():
    table = [_bad] * 256
    for c in range(0x40):
        table[c] = lambda r, c: c
    for low, high, zero, n in [(0x40, 0x60, 0x50, 1), (0x60, 0x70, 0x68, 2), (0x70, 0x74, 0x72, 3),
                               (0x74, 0x78, 0x76, 4), (0x78, 0x7C, 0x7A, 5), (0x7C, 0x80, 0x7E, 6)]:
        for c in range(low, high):
            table[c] = lambda r, c, zero=zero, n=n: ((c - zero) << 8 * n) | r.uint(n)
    for c in range(0x80, 0xA0):
        table[c] = lambda r, c: r.priority[c - 0x80]
    for c in range(0xA0, 0xB0):
        table[c] = lambda r, c: r.struct_of(*r.structs[c - 0xA0])
    for c, kind in ARRAYS.items():
        table[c] = SPECIAL[kind]
    for c, tag in {0xC0: "map", 0xC1: "set", 0xC3: "uuid", 0xC4: "regex", 0xC5: "uri", 0xC6: "bigint", 0xC7: "bigdec",
                   0xC8: "inst", 0xC9: "sym", 0xCA: "key"}.items():
        table[c] = SPECIAL[tag]
    for c in range(0xD0, 0xD8):
        table[c] = lambda r, c: bytes(r.take(c - 0xD0))
    for c in range(0xDA, 0xE2):
        table[c] = lambda r, c: text_of(r.take(c - 0xDA))
    for c in range(0xE4, 0xEC):
        table[c] = lambda r, c: PList(r.read() for _ in range(c - 0xE4))
    table[0xCC] = lambda r, c: r.priority[r.integer()]
    table[0xCD] = _put
    table[0xCF] = _footer
    table[0xD8] = lambda r, c: bytes(_chunks(r, c, 0xD8, 0xD9))
    table[0xD9] = lambda r, c: bytes(r.take(r.integer()))
    table[0xE2] = lambda r, c: text_of(_chunks(r, c, 0xE2, 0xE3))
    table[0xE3] = lambda r, c: text_of(r.take(r.integer()))
    table[0xEC] = lambda r, c: PList(r.read() for _ in range(r.integer()))
    table[0xED] = table[0xEE] = _open_list
    table[0xEF] = _new_struct
    table[0xF0] = lambda r, c: r.struct_of(*r.structs[r.integer()])
    table[0xF5] = lambda r, c: True
    table[0xF6] = lambda r, c: False
    table[0xF7] = lambda r, c: None
    table[0xF8] = lambda r, c: struct.unpack(">q", r.take(8))[0]
    table[0xF9] = lambda r, c: F32(struct.unpack(">f", r.take(4))[0])
    table[0xFA] = lambda r, c: struct.unpack(">d", r.take(8))[0]
    table[0xFB] = lambda r, c: 0.0
    table[0xFC] = lambda r, c: 1.0
    table[0xFE] = _reset
    table[0xFF] = lambda r, c: -1
    return table


TABLE = _table()


def decode(data):
    """The one object in `data`: anything after it, like anything malformed, is refused."""
    reader = Reader(data)
    try:
        value = reader.read()
    except (IndexError, TypeError, RecursionError, struct.error, UnicodeError) as e:
        raise Malformed(str(e)) from e
    if reader.at != len(data):
        raise Malformed(f"{len(data) - reader.at} bytes after the value")
    return value


def integer(n):
    """The shortest form of a 64-bit integer."""
    if 0 <= n < 64:
        return bytes((n,))
    if n == -1:
        return b"\xff"
    for bits, zero in ((12, 0x50), (19, 0x68), (25, 0x72), (33, 0x76), (41, 0x7A), (49, 0x7E)):
        if -(1 << bits) <= n < 1 << bits:
            size = {12: 1, 19: 2, 25: 3, 33: 4, 41: 5, 49: 6}[bits]
            return bytes((zero + (n >> 8 * size),)) + (n & ((1 << 8 * size) - 1)).to_bytes(size, "big")
    return b"\xf8" + struct.pack(">q", n)


def string(text):
    """A string, in one piece."""
    units = units_of(text)
    return (bytes((0xDA + len(units),)) if len(units) < 8 else b"\xe3" + integer(len(units))) + units


def raw_bytes(data):
    """Bytes, in one piece."""
    return (bytes((0xD0 + len(data),)) if len(data) < 8 else b"\xd9" + integer(len(data))) + data


def split_name(name):
    """`ns/name` as `(ns or None, name)`."""
    namespace, slash, rest = name.partition("/")
    return (namespace, rest) if slash and namespace and rest else (None, name)


class Writer:
    """Writes one object. `structs` are the tags written so far, in their order; `texts` the cached strings."""

    def __init__(self):
        self.out, self.structs, self.texts = [], {}, {}

    def tag(self, name, components):
        known = self.structs.get(name)
        if known is None:
            self.structs[name] = len(self.structs)
            self.out.append(b"\xef" + string(name) + integer(components))
        else:
            self.out.append(bytes((0xA0 + known,)) if known < 16 else b"\xf0" + integer(known))

    def cached(self, text):
        """A name through the priority cache."""
        if text is None:
            self.out.append(b"\xf7")
        elif text in self.texts:
            at = self.texts[text]
            self.out.append(bytes((0x80 + at,)) if at < 32 else b"\xcc" + integer(at))
        else:
            self.texts[text] = len(self.texts)
            self.out.append(b"\xcd" + string(text))

    def list(self, values):
        self.out.append(bytes((0xE4 + len(values),)) if len(values) < 8 else b"\xec" + integer(len(values)))
        for value in values:
            self.write(value)

    def vector(self, values):
        self.tag("pvec", 2)
        self.out.append(integer(len(values)))
        for value in values:
            self.write(value)

    def write(self, value):
        out = self.out
        kind = type(value)
        if kind is int:
            out.append(integer(value))
        elif kind is str:
            out.append(string(value))
        elif kind is Kw or kind is Sym:
            out.append(b"\xca" if kind is Kw else b"\xc9")
            namespace, name = split_name(value)
            self.cached(namespace)
            self.cached(name)
        elif value is None or kind is bool:
            out.append(b"\xf7" if value is None else b"\xf5" if value else b"\xf6")
        elif kind is uuid.UUID:
            out.append(b"\xc3\xd9\x10" + value.bytes)
        elif kind is Inst:
            out.append(b"\xc8" + integer(value))
        elif kind is Datom:
            self.tag("datahike.datom.Datom", 1)
            self.vector(value)
        elif kind is list:
            self.vector(value)
        elif kind is PList:
            self.list(value)
        elif kind is Map or kind is dict:
            flat = [x for entry in (value.items() if kind is dict else value) for x in entry]
            out.append(b"\xc0")
            self.list(flat)
        elif kind is float:
            if value == 0 or value == 1:
                out.append(b"\xfb" if value == 0 else b"\xfc")
            else:
                out.append(b"\xfa\x7f\xf8\0\0\0\0\0\0" if value != value else b"\xfa" + struct.pack(">d", value))
        elif kind is F32:
            out.append(b"\xf9\x7f\xc0\0\0" if value != value else b"\xf9" + struct.pack(">f", value))
        elif kind is Big:
            out.append(b"\xc6" + raw_bytes(value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)))
        elif kind is Dec:
            n = value.unscaled
            out.append(b"\xc7" + raw_bytes(n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True)) + integer(value.scale))
        elif kind is bytes:
            out.append(raw_bytes(value))
        elif kind is Char:
            self.tag("char", 1)
            out.append(integer(ord(value)))
        elif kind is Ratio:
            self.tag("ratio", 2)
            self.write(Big(value.numerator))
            self.write(Big(value.denominator))
        elif kind is Array:
            code = next(c for c, name in ARRAYS.items() if name == value.kind)
            out.append(bytes((code,)) + integer(len(value)))
            for x in value:
                self.write(x)
        elif kind is Tagged and value.tag == "set":
            out.append(b"\xc1")
            self.list(value.value)
        elif kind is Tagged and value.tag in ("uri", "regex"):
            out.append((b"\xc5" if value.tag == "uri" else b"\xc4") + string(value.value))
        elif kind is Tagged and value.tag == "irecord":
            tag, entries = value.value
            self.tag("irecord", 2)
            out.append(integer(len(entries)))
            self.write(tag)
            for entry in entries:
                self.write(entry)
        elif kind is Tagged and not isinstance(value.value, (list, tuple)) or kind is Tagged and type(value.value) is Map:
            self.tag(value.tag, 1)
            self.write(value.value)
        else:
            raise TypeError(f"cannot write {value!r}")

    def bytes(self):
        return b"".join(self.out)


def encode(value):
    """One object as a document of its own."""
    writer = Writer()
    writer.write(value)
    return writer.bytes()
