"""Directory trees: entries and extents, their columns, and writing them to a folder: [records]."""
import itertools, os, stat, sys
from collections import namedtuple
from encoding import MAX_BYTES, WRAP, Bytes, ascending, leb, require, zigzag

FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK = range(7)
CTIME, ATIME, LINK, XATTRS = 1, 2, 4, 8
WHOLE, EXTENTS, TREE = 1, 2, 3
CHUNK, EXTENT = 0, 4
Entry = namedtuple("Entry", "kind mode uid gid user group mtime ctime atime inode link xattrs body")
Extent = namedtuple("Extent", "offset length id")
Tree = namedtuple("Tree", "id level records row_bytes")

# Rows

def small(c):
    number = c.short()
    require(number < 1 << 32, "number over 2^32")
    return number
def limited(c, limit):
    length = c.short()
    require(length <= limit, "length")
    return c.take(length)
def read_class(c):
    kind, mode = c.choice(7), c.short()
    require(mode <= 0o7777, "mode")
    return kind, mode, small(c), small(c), limited(c, 4096).decode(), limited(c, 4096).decode()
def read_time(c):
    seconds, nanos = zigzag(c.short()), c.short()
    require(nanos < 10**9, "nanoseconds")
    return seconds, nanos
def read_link(c): return c.short(), c.short()
def read_xattrs(c):
    count = c.short()
    require(count <= 65_536, "extended attributes")
    found = [(limited(c, 4096), ("chunk", c.id()) if c.choice(2) else ("inline", limited(c, 256))) for _ in range(count)]
    ascending([name for name, _ in found], "extended attributes")
    return found
def read_spans(c, limit, size):  # offset and length of the extents of a list
    count, end, found = c.short(), 0, []
    require(count <= limit, "extents")
    for _ in range(count):
        offset, length = end + c.short(), small(c)
        end = offset + length
        require(length and end <= size and end < WRAP, "extent")
        found.append((offset, length))
    return found
def read_top(c):
    level, records, row_bytes = c.u8(), c.short(), c.short()
    require(records > 16, "extents of a tree")
    return level, records, row_bytes
def read_content(c):  # size and content: bytes, a list of extents, or a tree
    size, form = c.short(), c.choice(3)
    require((size <= 128) == (form == 0), "form of the content")
    if form == 0: return size, c.take(size)
    if form == 1: return size, [Extent(*span, c.id()) for span in read_spans(c, 16, size)]
    return size, Tree(c.id(), *read_top(c))
def read_body(c, kind):
    if kind == FILE: return read_content(c)
    if kind == SYMLINK: return limited(c, 4096)
    return (small(c), small(c)) if kind in (CHARACTER, BLOCK) else None
def read_entry(value):
    c = Bytes(value)
    fields = *read_class(c), read_time(c), read_time(c), read_time(c) if c.choice(2) else None, c.short()
    entry = Entry(*fields, read_link(c) if c.choice(2) else None, read_xattrs(c), read_body(c, fields[0]))
    return c.end(entry)
def check_key(key):
    names = key.split(b"\0") if key else []
    require(not any(name in (b"", b".", b"..") or b"/" in name for name in names), "name in a path")
    return names
def read_extent(key, value):
    c = Bytes(value)
    extent = c.end(Extent(int.from_bytes(key, "big"), small(c), c.id()))
    require(len(key) == 8 and extent.length and extent.offset + extent.length < WRAP, "extent")
    return extent

# Columns

def folded(number): return leb(2 * number if number >= 0 else -2 * number - 1)
def signed(number): return (number + WRAP // 2) % WRAP - WRAP // 2
def put_time(time): return folded(time[0]) + leb(time[1])
def distinct(words):
    require(len(set(words)) == len(words), "dictionary")
    return words
def in_order_of_use(numbers, words):
    require(list(dict.fromkeys(numbers)) == list(range(len(words))), "dictionary")
    return [words[number] for number in numbers]
def read_times(c, count):  # as in rows
    found, last = [], (0, 0)
    for difference in [zigzag(number) for number in c.shorts(count)]:
        nanos = c.short()
        last = signed(last[0] + difference), nanos if difference else last[1] + zigzag(nanos)
        require(0 <= last[1] < 10**9, "nanoseconds")
        found.append(last)
    return iter(found)
def shape(c):  # bits, form, kind and the fields as in the row
    bits = c.u8()
    start = c.at
    kind = read_class(c)[0]
    require(bits >> 4 <= TREE and (bits < 16 or kind == FILE), "class")
    return bits & 15, bits >> 4, kind, c.data[start:c.at]
def read_other(c, form, kind):
    if kind == SYMLINK: return c.short()
    if kind in (CHARACTER, BLOCK): return c.passed(lambda c: (small(c), small(c)))
    if form == EXTENTS:
        start = c.at
        spans = read_spans(c, 16, WRAP)
        return spans, c.data[start:c.at]
    return c.passed(read_top) if form == TREE else None
def keys_of(shared, further, c):
    found = []
    for share, length in zip(shared, further):
        last, rest = found[-1] if found else b"", c.take(length)
        key = last[:share] + rest
        require(share <= len(last) and not (rest and last[share:share + 1] == rest[:1]), "shared length of a key")
        require(not found or last < key, "order of keys")
        check_key(key)
        found.append(key)
    return found
def entry_columns(data):  # the rows in the columns of a leaf
    c = Bytes(data)
    count, class_count, set_count = c.shorts(3)
    require(count <= len(data) and max(class_count, set_count) <= count, "rows")
    sets = distinct([c.passed(read_xattrs) for _ in range(set_count)])
    require(b"\0" not in sets, "a set without attributes")
    classes = distinct([shape(c) for _ in range(class_count)])
    rows = in_order_of_use(c.shorts(count), classes)
    shared, further = c.shorts(count), c.shorts(count)
    with_bit = lambda bit: sum(bits & bit > 0 for bits, *_ in rows)
    mtimes, ctimes, atimes = [read_times(c, n) for n in (count, with_bit(CTIME), with_bit(ATIME))]
    inodes = itertools.accumulate(map(zigzag, c.shorts(count)), lambda a, b: (a + b) % WRAP, initial=0)
    next(inodes)
    sizes = iter(c.shorts(sum(kind == FILE for _, _, kind, _ in rows)))
    links = iter([c.passed(read_link) for _ in range(with_bit(LINK))])
    attributes = iter(in_order_of_use(c.shorts(with_bit(XATTRS)), sets))
    others = [read_other(c, form, kind) for _, form, kind, _ in rows]
    keys = keys_of(shared, further, c)
    ids = sum(len(other[0]) if form == EXTENTS else form > 0 for (_, form, *_), other in zip(rows, others))
    contents, ids = Bytes(c.data[c.at:len(data) - 32 * ids]), Bytes(c.data[max(c.at, len(data) - 32 * ids):])
    found, total = [], 0
    for key, (bits, form, kind, fields), other, mtime, inode in zip(keys, rows, others, mtimes, inodes):
        ctime = next(ctimes) if bits & CTIME else mtime
        require(not bits & CTIME or ctime != mtime, "ctime")
        value = [fields, put_time(mtime), put_time(ctime)]
        value.append(b"\1" + put_time(next(atimes)) if bits & ATIME else b"\0")
        value.append(leb(inode % WRAP))
        value.append(b"\1" + next(links) if bits & LINK else b"\0")
        value.append(next(attributes) if bits & XATTRS else b"\0")
        if kind == SYMLINK: value += leb(other), contents.take(other)
        if kind in (CHARACTER, BLOCK): value.append(other)
        if kind == FILE:
            value.append(leb(size := next(sizes)))
            require(form != EXTENTS or other[0] != [(0, size)], "extent that is the whole file")
            if form == 0: value += b"\0", contents.take(size)
            if form == WHOLE: value += b"\1\1\0", leb(size), ids.id()
            if form == EXTENTS: value += b"\1", other[1], ids.take(32 * len(other[0]))
            if form == TREE: value += b"\2", ids.id(), other
        value = b"".join(value)
        total += len(key) + len(value)
        require(total <= MAX_BYTES, "too many bytes")
        read_entry(value)
        found.append((key, value))
    contents.end(), ids.end()
    return found
def extent_columns(data):
    c = Bytes(data)
    spans = read_spans(c, len(data), WRAP)
    return c.end([(offset.to_bytes(8, "big"), leb(length) + c.id()) for offset, length in spans])

# What is done with entries

def print_all(entries):
    for key, value in entries:
        e = read_entry(value)
        size = e.body[0] if e.kind == FILE else 0
        path = b"/" + key.replace(b"\0", b"/")
        line = f"{'-dlpscb'[e.kind]} {e.mode:04o} {e.uid} {e.gid} {size} {e.mtime[0]}.{e.mtime[1]:09} "
        sys.stdout.buffer.write(line.encode() + path + (b" -> " + e.body if e.kind == SYMLINK else b"") + b"\n")
def extents_of(repository, content):
    if not isinstance(content, Tree): return content
    top = EXTENT, content.level, content.id, content.records, content.row_bytes, b""
    return (read_extent(key, value) for key, value in repository.rows(*top))
def write_file(repository, path, size, content):
    with open(path, "xb") as file:
        if isinstance(content, bytes):
            file.write(content)
            return
        end = 0
        for offset, length, name in extents_of(repository, content):
            chunk = repository.blob(name, CHUNK)
            require(end <= offset and offset + length <= size and len(chunk) == length, "extent")
            file.seek(offset)
            file.write(chunk)
            end = offset + length
        file.truncate(size)  # what is left out is a hole
def extract(repository, entries, target):
    target, links, directories = os.fsencode(target.absolute()), {}, []
    os.makedirs(target, exist_ok=True)
    require(not os.listdir(target), "the folder is not empty")
    for key, value in entries:
        e, path = read_entry(value), os.path.join(target, *check_key(key))
        # What leads to an entry was made here from entries before it, or is made now: never a link.
        parent = os.path.dirname(path) if key else path
        require(not key or os.path.realpath(parent) == os.path.realpath(target) + parent[len(target):], "a link leads away")
        os.makedirs(parent, exist_ok=True)
        if e.kind == DIRECTORY:
            os.makedirs(path, exist_ok=True)
            directories.append((path, e))
            continue
        if e.link and (known := links.setdefault((e.link[0], e.inode), path)) != path:
            os.link(known, path, follow_symlinks=False)
            continue
        if e.kind == FILE: write_file(repository, path, *e.body)
        elif e.kind == SYMLINK: os.symlink(e.body, path)
        elif e.kind == FIFO: os.mkfifo(path)
        else:
            device = os.makedev(*e.body) if e.body else 0
            os.mknod(path, {SOCKET: stat.S_IFSOCK, CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}[e.kind], device)
        finish(repository, path, e)
    for path, e in reversed(directories): finish(repository, path, e)
def finish(repository, path, e):  # everything but the content; the mode after the owner, the times last
    if os.geteuid() == 0: os.chown(path, e.uid, e.gid, follow_symlinks=False)
    for name, (form, found) in e.xattrs:
        os.setxattr(path, name, found if form == "inline" else repository.blob(found, CHUNK), follow_symlinks=False)
    if e.kind != SYMLINK: os.chmod(path, e.mode)
    times = tuple(seconds * 10**9 + nanos for seconds, nanos in (e.atime or e.mtime, e.mtime))
    os.utime(path, ns=times, follow_symlinks=False)
