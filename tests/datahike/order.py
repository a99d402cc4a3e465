"""Datahike's orders: how it compares values, and the order of datoms in each of its indices.

`compare` follows `datahike.datom/compare-value` case by case. `key` gives a sort key with the same order for values of
one type, for a writer that wants to bisect.
"""

import uuid
from fractions import Fraction

from fress import Array, Big, Char, Dec, F32, Inst, Kw, PList, Ratio, Sym, Tagged, split_name

NUMBERS = (int, float, F32, Big, Dec, Ratio)
CLASSES = {bool: "java.lang.Boolean", int: "java.lang.Long", float: "java.lang.Double", F32: "java.lang.Float",
           Big: "clojure.lang.BigInt", Dec: "java.math.BigDecimal", Ratio: "clojure.lang.Ratio", str: "java.lang.String",
           Kw: "clojure.lang.Keyword", Sym: "clojure.lang.Symbol", Inst: "java.util.Date", uuid.UUID: "java.util.UUID",
           bytes: "[B", Char: "java.lang.Character", list: "clojure.lang.PersistentVector",
           PList: "java.util.Arrays$ArrayList"}


def units(text):
    """A text as Java compares it: one character for a UTF-16 unit."""
    if text.isascii() or all(c < "\ud800" for c in text):
        return text
    raw = text.encode("utf-16-be", "surrogatepass")
    return "".join(chr(raw[i] << 8 | raw[i + 1]) for i in range(0, len(raw), 2))


def name_key(name):
    """A keyword or symbol: no namespace first, then by namespace, then by name."""
    namespace, rest = split_name(name)
    return (namespace is not None, units(namespace or ""), units(rest))


def signed(n):
    return n - (1 << 64) if n >> 63 else n


def uuid_key(u):
    return signed(u.int >> 64), signed(u.int & (1 << 64) - 1)


def exact(n):
    if type(n) is Dec:
        return Fraction(n.unscaled) / Fraction(10) ** n.scale
    if type(n) is Ratio:
        return Fraction(int(n.numerator), int(n.denominator))
    return int(n)


def sign(a, b):
    return -1 if a < b else 1 if b < a else 0


def numbers(a, b):
    """clojure.lang.Numbers.compare: a double on either side makes both doubles; NaN equals everything."""
    if isinstance(a, float) or isinstance(b, float):
        return sign(float(a) if isinstance(a, float) else float(exact(a)), float(b) if isinstance(b, float) else float(exact(b)))
    return sign(exact(a), exact(b))


def float_key(x):
    """Double.compare: -0.0 below 0.0, NaN above all."""
    return (1, 0.0, 0) if x != x else (0, float(x), 0 if str(float(x)).startswith("-0.0") else 1)


def class_of(v):
    if type(v) is Array:
        return "[F" if v.kind == "float[]" else "[D"
    return CLASSES.get(type(v), str(type(v)))


def compare(a, b):
    """Negative, zero or positive, as `compare-value` answers."""
    arrays = isinstance(a, (bytes, Array)) and isinstance(b, (bytes, Array))
    if arrays:
        if class_of(a) != class_of(b):
            return sign("class " + class_of(a), "class " + class_of(b))
        if type(a) is bytes:
            return sign(a.translate(FLIP), b.translate(FLIP))
        return sign([float_key(x) for x in a], [float_key(x) for x in b])
    if type(a) in (list, PList) and type(b) in (list, PList):
        if len(a) != len(b):
            return sign(len(a), len(b))
        for x, y in zip(a, b):
            if x is None or y is None:
                c = sign(x is not None, y is not None)
            else:
                c = compare(x, y)
            if c:
                return c
        return 0
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return numbers(a, b)
    if type(a) is type(b):
        if type(a) in (str, Char):
            return sign(units(a), units(b))
        if type(a) in (Kw, Sym):
            return sign(name_key(a), name_key(b))
        if type(a) is uuid.UUID:
            return sign(uuid_key(a), uuid_key(b))
        if type(a) in (Inst, bool):
            return sign(a, b)
        if type(a) is Tagged and a.tag == b.tag == "uri":
            return sign(a.value, b.value)
        raise TypeError(f"no order between {a!r} and {b!r}")
    return sign(class_of(a), class_of(b))


FLIP = bytes(b ^ 0x80 for b in range(256))


def attribute_key(a):
    return a if type(a) is int else name_key(a)


def compare_datoms(index, temporal):
    """The comparator of an index: `eavt`, `aevt` or `avet`."""

    def by(x, y):
        e = sign(x[0], y[0])
        a = 0 if x[1] == y[1] else sign(attribute_key(x[1]), attribute_key(y[1]))
        if index == "eavt":
            c = e or a or compare(x[2], y[2])
        elif index == "aevt":
            c = a or e or compare(x[2], y[2])
        else:
            c = a or compare(x[2], y[2]) or e
        return c or sign(x[3], y[3]) or (sign(x[4], y[4]) if temporal else 0)

    return by


def key(v):
    """A sort key; only for values of one type."""
    kind = type(v)
    if kind in (int, Inst, bool, Big):
        return int(v)
    if kind in (str, Char):
        return units(v)
    if kind in (float, F32):
        return float(v)
    if kind in (Kw, Sym):
        return name_key(v)
    if kind is uuid.UUID:
        return uuid_key(v)
    if kind is bytes:
        return v.translate(FLIP)
    if kind in (Dec, Ratio):
        return exact(v)
    if kind in (list, PList):
        return (len(v), *((x is not None, 0 if x is None else key(x)) for x in v))
    if kind is Array:
        return [float_key(x) for x in v]
    if kind is Tagged and v.tag == "uri":
        return v.value
    raise TypeError(f"no order of {v!r}")
