"""Whether two trees are the same: names, kinds, modes, owners, times, sizes, links, content."""

import os
import shutil
import stat
import subprocess

MIB = 1 << 20
KINDS = {stat.S_IFLNK: "links", stat.S_IFDIR: "directories"}


def differences(a, b, most=20):
    """(entries compared, what differs in `b` from `a` by kind of difference with an example of each)."""
    found, count, folders = {}, 0, [""]

    def differs(what, path):
        number, example = found.get(what, (0, path))
        found[what] = (number + 1, example)

    while folders:
        folder = folders.pop()
        left, right = (names(os.path.join(root, folder)) for root in (a, b))
        for path in sorted(left.keys() ^ right.keys())[:most]:
            differs("missing" if path in left else "surplus", os.path.join(folder, path))
        for name in left.keys() & right.keys():
            path, one, other = os.path.join(folder, name), left[name], right[name]
            count += 1
            kind = stat.S_IFMT(one.st_mode)
            if kind != stat.S_IFMT(other.st_mode):
                differs("kind", path)
                continue
            if kind == stat.S_IFDIR:
                folders.append(path)
            elif kind == stat.S_IFLNK:
                if os.readlink(os.path.join(a, path)) != os.readlink(os.path.join(b, path)):
                    differs("link target", path)
            elif kind == stat.S_IFREG:
                paths = os.path.join(a, path), os.path.join(b, path)
                if one.st_size != other.st_size or content_differs(*paths, one.st_size):
                    differs("content", path)
            if one.st_mode != other.st_mode:
                differs("mode", path)
            if (one.st_uid, one.st_gid) != (other.st_uid, other.st_gid):
                differs("owner", path)
            if one.st_rdev != other.st_rdev:
                differs("device", path)
            if one.st_mtime_ns != other.st_mtime_ns:
                whole = one.st_mtime_ns // 10**9 == other.st_mtime_ns // 10**9
                differs(f"{'nanoseconds of ' if whole else ''}mtime of {KINDS.get(kind, 'files')}", path)
    return count, {what: f"{number}, such as {example}" for what, (number, example) in sorted(found.items())}


def by_rsync(a, b):
    """What rsync would change to make `b` equal to `a`, all metadata included; None without rsync."""
    if not shutil.which("rsync"):
        return None
    command = ["rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes", f"{a}/", f"{b}/"]
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape")
    return (done.stdout + done.stderr).splitlines() + ([f"rsync: exit {done.returncode}"] if done.returncode else [])


def names(folder):
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}


def content_differs(a, b, size):
    # No more than there is: large buffers for many small files are most of the work.
    length = min(size + 1, MIB)
    one, other = os.open(a, os.O_RDONLY), os.open(b, os.O_RDONLY)
    try:
        while True:
            left, right = os.read(one, length), os.read(other, length)
            if left != right:
                return True
            if not left:
                return False
    finally:
        os.close(one)
        os.close(other)
