"""Hasch: the uuid of a Clojure value, by which konserve names files and Datahike, with `:crypto-hash?`, nodes."""

import hashlib
import struct
import uuid
from decimal import Decimal

from fress import Array, Big, Char, Datom, Dec, F32, Inst, Kw, Map, PList, Ratio, Sym, Tagged


def sha(data):
    return hashlib.sha512(data).digest()


def safe(raw):
    if len(raw) >= 1024:
        return sha(raw)
    return raw + bytes(1 if 0 < b < 30 else 0 for b in raw)


def java_double(x):
    """Double.toString."""
    if x != x:
        return "NaN"
    if x in (float("inf"), float("-inf")):
        return "Infinity" if x > 0 else "-Infinity"
    text = repr(float(x))
    return java_digits(x, f"{x:.1e}" if len(Decimal(text).normalize().as_tuple().digits) == 1 else text)


def java_digits(x, shortest):
    if x == 0:
        return "-0.0" if str(x).startswith("-") else "0.0"
    sign, digits, exponent = Decimal(shortest).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) + exponent - 1
    head = "-" if sign else ""
    if 0 <= power < 7:
        text = text.ljust(power + 1, "0")
        return f"{head}{text[: power + 1]}.{text[power + 1 :] or '0'}"
    if -3 <= power < 0:
        return f"{head}0.{'0' * (-1 - power)}{text}"
    return f"{head}{text[0]}.{text[1:] or '0'}E{power}"


def java_float(x):
    """Float.toString: the shortest digits, but two at least, that give the float back."""
    for precision in range(2, 10):
        text = f"{float(x):.{precision}g}"
        try:
            same = struct.pack(">f", float(text)) == struct.pack(">f", float(x))
        except OverflowError:
            same = False
        if same:
            return java_digits(float(x), text)
    return java_digits(float(x), f"{float(x):.9g}")


def java_decimal(n):
    """BigDecimal.toString."""
    digits = str(abs(n.unscaled))
    exponent = len(digits) - 1 - n.scale
    sign = "-" if n.unscaled < 0 else ""
    if n.scale == 0:
        return sign + digits
    if n.scale > 0 and exponent >= -6:
        padded = digits.rjust(n.scale + 1, "0")
        return f"{sign}{padded[:-n.scale]}.{padded[-n.scale:]}"
    head = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{head}E{exponent:+d}"


def coerce(x):
    """The bytes that stand for a value."""
    kind = type(x)
    if x is None:
        return b"\0"
    if kind is bool:
        return b"\1" + (b")" if x else b"(")
    if kind is Kw:
        return b"\5" + safe((":" + x).encode())
    if kind is Sym:
        return b"\4" + safe(str(x).encode())
    if kind is uuid.UUID:
        return b"\7" + str(x).encode()
    if kind is Inst:
        return b"\6" + str(int(x)).encode()
    if kind in (int, Big):
        return b"\2" + str(int(x)).encode()
    if kind is float:
        return b"\2" + java_double(x).encode()
    if kind is F32:
        return b"\2" + (java_float(x) if x == x and abs(x) != float("inf") else java_double(x)).encode()
    if kind is Dec:
        return b"\2" + java_decimal(x).encode()
    if kind is Ratio:
        return b"\2" + f"{x.numerator}/{x.denominator}".encode()
    if kind in (str, Char):
        return b"\3" + safe(x.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return b"\x0d" + safe(x)
    if kind in (Map, dict):
        return b"\x0a" + folded([coerce([k, v]) for k, v in (x.items() if kind is dict else x)])
    if kind is Tagged and x.tag == "set":
        return b"\x0b" + folded([sha(coerce(e)) for e in x.value])
    if kind in (list, Datom, tuple):
        return b"\x09" + sequence(coerce(e) for e in x)
    if kind is PList:
        return b"\x08" + sequence(coerce(e) for e in x)
    if kind is Array and x.kind == "float[]":
        return b"\x0d" + safe(b"".join(struct.pack(">f", e) for e in x))
    if kind is Array and x.kind == "double[]":
        return b"\x0d" + safe(b"".join(struct.pack(">d", e) for e in x))
    raise TypeError(f"no hash of {x!r}")


def sequence(coerced):
    """The hash of elements that are coerced already."""
    joined = b"".join(coerced)
    return sha(joined or b"\0")


def folded(hashes):
    if not hashes:
        return b""
    n = min(32, len(hashes[0]))
    acc = 0
    for h in hashes:
        acc ^= int.from_bytes(h[:n], "big")
    return acc.to_bytes(n, "big")


def uuid5(digest):
    high, low = struct.unpack(">QQ", digest[:16])
    high = ((high | 0x5000) & 0x7FFFFFFFFFFF5FFF) & ~(3 << 62)
    low = (low | 1 << 63) & ~(1 << 62)
    return uuid.UUID(int=high << 64 | low)


def hasch(x):
    """The uuid of a value."""
    return uuid5(sha(coerce(x)))


def hasch_of_coerced(coerced):
    """The uuid of a vector whose elements are coerced already."""
    return uuid5(sha(b"\x09" + sequence(coerced)))


def address_file(address):
    """The file name of an address, without going the long way."""
    return str(uuid5(sha(b"\7" + str(address).encode()))) + ".ksv"
