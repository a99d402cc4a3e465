"""Datoms: values printed as they are read, and the columns of their leaves. Names in brackets are chapters of the specification."""
import itertools, re, struct, uuid
from collections import Counter
from encoding import MAX_BYTES, MAX_ROWS, TOP, WRAP, Bytes, ascending, require, zigzag

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

# Columns: [records]

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
