"""Whether two trees are the same: names, kinds, modes, owners, times, sizes, links, content."""

import os
import shutil
import stat
import subprocess

MIB = 1 << 20


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
            elif kind == stat.S_IFREG and (one.st_size != other.st_size or content_differs(os.path.join(a, path), os.path.join(b, path))):
                differs("content", path)
            for what, of in (("mode", lambda s: s.st_mode), ("owner", lambda s: (s.st_uid, s.st_gid)), ("device", lambda s: s.st_rdev)):
                if of(one) != of(other):
                    differs(what, path)
            if one.st_mtime_ns != other.st_mtime_ns:
                unit = "mtime" if one.st_mtime_ns // 10**9 != other.st_mtime_ns // 10**9 else "nanoseconds of mtime"
                differs(f"{unit} of {'links' if kind == stat.S_IFLNK else 'directories' if kind == stat.S_IFDIR else 'files'}", path)
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


def content_differs(a, b):
    with open(a, "rb", buffering=0) as one, open(b, "rb", buffering=0) as other:
        while True:
            left, right = one.read(MIB), other.read(MIB)
            if left != right:
                return True
            if not left:
                return False
