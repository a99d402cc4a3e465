"""EDN as packstone prints it, and the order-independent digest of lines."""

import datetime
import hashlib
import uuid

from fress import Array, Big, Char, Dec, F32, Inst, Kw, PList, Ratio, Sym, Tagged
from hasch import java_decimal, java_double, java_float

ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def text(s):
    return '"' + "".join(ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c == "\0" or "\ud800" <= c < "\ue000" else c)
                         for c in s) + '"'


def double(x):
    return "##NaN" if x != x else "##Inf" if x == float("inf") else "##-Inf" if x == float("-inf") else java_double(x)


def instant(ms):
    day, rest = divmod(int(ms), 86_400_000)
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
    s, milli = divmod(rest, 1000)
    return f"{date.isoformat()}T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}.{milli:03}-00:00"


def value(v):
    """One value."""
    kind = type(v)
    if kind is int:
        return str(v)
    if kind is str:
        return text(v)
    if kind is Kw:
        return ":" + v
    if kind is Sym:
        return str(v)
    if v is None:
        return "nil"
    if kind is bool:
        return "true" if v else "false"
    if kind is Big:
        return f"{int(v)}N"
    if kind is float:
        return double(v)
    if kind is F32:
        x = float(v)
        name = "NaN" if x != x else "Infinity" if x == float("inf") else "-Infinity" if x == float("-inf") else java_float(x)
        return f'#float "{name}"'
    if kind is Inst:
        return f'#inst "{instant(v)}"'
    if kind is uuid.UUID:
        return f'#uuid "{v}"'
    if kind is bytes:
        return f'#bytes "{v.hex()}"'
    if kind is Dec:
        return java_decimal(v) + "M"
    if kind is Ratio:
        return f"{int(v.numerator)}/{int(v.denominator)}"
    if kind is Char:
        return "\\" + v
    if kind is PList:
        return "(" + " ".join(map(value, v)) + ")"
    if kind is list:
        return "[" + " ".join(map(value, v)) + "]"
    if kind is Array:
        return ("#floats" if v.kind == "float[]" else "#doubles") + " [" + " ".join(double(x) for x in v) + "]"
    if kind is Tagged and v.tag == "set":
        return "#{" + " ".join(map(value, v.value)) + "}"
    raise TypeError(f"no EDN of {v!r}")


def line(d):
    """`[e a v tx added]`."""
    e, a, v, tx, added = d
    return f"[{e} {':' + a if isinstance(a, str) else a} {value(v)} {tx} {'true' if added else 'false'}]"


MASK = (1 << 64) - 1


def hash_of(printed):
    """First eight bytes of SHA-256 of a line without its line feed."""
    return int.from_bytes(hashlib.sha256(printed.encode("utf-8", "surrogatepass")).digest()[:8], "big")


class Digest:
    """Count, xor and wrapping sum of the hashes of a set of lines."""

    __slots__ = ("count", "xor", "sum")

    def __init__(self):
        self.count = self.xor = self.sum = 0

    def add(self, h):
        self.count += 1
        self.xor ^= h
        self.sum = (self.sum + h) & MASK

    def remove(self, h):
        self.count -= 1
        self.xor ^= h
        self.sum = (self.sum - h) & MASK

    def __str__(self):
        return f"{self.count} {self.xor:016x}{self.sum:016x}"


def digest_of(lines):
    """The digest of lines as a string."""
    out = Digest()
    for printed in lines:
        out.add(hash_of(printed))
    return str(out)
