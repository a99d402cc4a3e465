#!/usr/bin/env python3
"""Makes a directory tree with everything that a file system may hold: `oddities.py DIR`, a new directory.

What this user or file system cannot make is left out and named on standard error.
"""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys


def attempt(what, make):
    try:
        make()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"oddities: left out: {what}: {error}", file=sys.stderr)


def write(name, content=b"", mode=None):
    with open(name, "wb") as file:
        file.write(content)
    if mode is not None:
        os.chmod(name, mode)


def noise(length, seed):
    """Bytes that do not compress, the same each time."""
    state, out = seed * 2 + 1, bytearray()
    while len(out) < length:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out += (state >> 16).to_bytes(6, "little")
    return bytes(out[:length])


def names():
    os.mkdir("names")
    odd = [b"\xff\xfe not text", b"new\nline", b"tab\there", b" leading", b"trailing ", b"-leading dash", b"--", b"~",
           b"...", b"*?[x]", b"back\\slash", b"quote'\"", b"\x01\x02\x7f", "ünï¢ödé 日本".encode(), b"n" * 255, b"#hash", b"!bang",
           b"A", b"a", b"a.b", b"a b", b"a\x01b", b"a!b", b"a-"]
    for number, name in enumerate(odd):
        write(b"names/" + name, b"content %d" % number)
    os.mkdir(b"names/d\xff")
    write(b"names/d\xff/in\xfe", b"x")
    os.mkdir("names/a-dir")
    write("names/a-dir/b", b"1")
    os.mkdir("names/a-dir-2")
    write("names/a-dir-2/b", b"2")


def many():
    os.mkdir("many")
    for number in range(10_000):
        write(f"many/{number:05}", b"" if number % 3 else b"%d" % number)


def deep():
    """A path of nearly as many bytes as the system, and rsync, take in one piece."""
    here = os.open(".", os.O_RDONLY)
    os.mkdir("deep")
    os.chdir("deep")
    for number in range(18):
        name = f"{number:02}" + "d" * 200
        os.mkdir(name)
        os.chdir(name)
    write("bottom", b"far down")
    os.symlink("../" * 3, "up")
    os.fchdir(here)
    os.close(here)


def contents():
    os.mkdir("contents")
    for length in [0, 1, 127, 128, 129, 4095, 4096, 4097, 100_000, 1 << 20, 9_000_001]:
        write(f"contents/{length}", noise(length, length))
    write("contents/zeros", bytes(3 << 20))
    write("contents/same-1", noise(200_000, 7))
    write("contents/same-2", noise(200_000, 7))
    text = b"".join(b"line %d of a text that compresses\n" % number for number in range(100_000))
    write("contents/text", text)


def sparse():
    os.mkdir("sparse")
    with open("sparse/hole-then-data", "wb") as file:
        file.seek(64 << 20)
        file.write(noise(10_000, 1))
    with open("sparse/data-then-hole", "wb") as file:
        file.write(noise(10_000, 2))
        file.truncate(64 << 20)
    with open("sparse/only-hole", "wb") as file:
        file.truncate(1 << 30)
    with open("sparse/many-holes", "wb") as file:
        for number in range(100):
            file.seek(number << 20)
            file.write(noise(4096, number))


def links():
    os.makedirs("links/here")
    os.makedirs("links/there/deeper")
    write("links/here/one", noise(300_000, 3), 0o640)
    os.link("links/here/one", "links/there/two")
    os.link("links/here/one", "links/there/deeper/three")
    os.link("links/here/one", "links/aaa")
    write("links/small", b"small")
    os.link("links/small", "links/there/small")
    write("links/empty")
    os.link("links/empty", "links/there/empty")
    os.symlink("nowhere/at/all", "links/dangling")
    os.symlink("/etc/passwd", "links/absolute")
    os.symlink("here", "links/to-directory")
    os.symlink(b"\xff\xfe", b"links/odd-target")
    os.symlink("t" * 4000, "links/long-target")
    os.symlink("links/twice", "links/loop")
    attempt("two names of a symbolic link", lambda: os.link("links/dangling", "links/there/dangling", follow_symlinks=False))
    os.mkfifo("links/fifo")
    os.link("links/fifo", "links/there/fifo")


def special():
    os.mkdir("special")
    os.mkfifo("special/fifo", 0o640)

    def bind():
        # A path for a socket has at most 108 bytes.
        here = os.open(".", os.O_RDONLY)
        os.chdir("special")
        try:
            socket.socket(socket.AF_UNIX).bind("socket")
        finally:
            os.fchdir(here)
            os.close(here)

    attempt("a socket", bind)
    attempt("a character device", lambda: os.mknod("special/null", stat.S_IFCHR | 0o666, os.makedev(1, 3)))
    attempt("a block device", lambda: os.mknod("special/loop", stat.S_IFBLK | 0o660, os.makedev(7, 200)))
    attempt("a device with large numbers", lambda: os.mknod("special/large", stat.S_IFCHR | 0o600, os.makedev(4000, 1 << 19)))


def modes():
    os.mkdir("modes")
    for mode in [0o000, 0o200, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o6711, 0o1644]:
        write(f"modes/{mode:04o}", b"x" * mode, mode)
    for mode in [0o700, 0o1777, 0o2775, 0o555, 0o311]:
        os.mkdir(f"modes/d{mode:04o}")
        write(f"modes/d{mode:04o}/inside", b"y")
        os.chmod(f"modes/d{mode:04o}", mode)
    os.mkdir("owners")
    for uid, gid in [(0, 1), (1000, 1000), (65534, 65534), (123456, 654321), (2**31, 2**31 + 7)]:
        name = f"owners/{uid}-{gid}"
        write(name, b"z")
        attempt(f"owner {uid}:{gid}", lambda: (os.chown(name, uid, gid), os.chmod(name, 0o4751)))
    os.symlink("target", "owners/link")
    attempt("owner of a symbolic link", lambda: os.chown("owners/link", 1000, 1000, follow_symlinks=False))
    os.mkdir("owners/dir")
    attempt("owner of a directory", lambda: os.chown("owners/dir", 1000, 100))


def attributes():
    os.mkdir("attributes")
    write("attributes/file", b"with attributes", 0o644)
    write("attributes/read-only", b"with attributes", 0o444)
    os.mkdir("attributes/dir")
    for path in ["attributes/file", "attributes/dir", "attributes/read-only"]:
        os.chmod(path, os.stat(path).st_mode | 0o200)
        attempt("user attributes", lambda: os.setxattr(path, "user.short", b"value"))
        attempt("user attributes", lambda: os.setxattr(path, "user.empty", b""))
        attempt("user attributes", lambda: os.setxattr(path, "user.binary", bytes(range(256))))
        attempt("user attributes", lambda: os.setxattr(path, "user.long", noise(1500, 9)))
        attempt("trusted attributes", lambda: os.setxattr(path, "trusted.mine", b"for root alone"))
    os.chmod("attributes/read-only", 0o444)
    os.symlink("file", "attributes/link")
    attempt("an attribute of a link", lambda: os.setxattr("attributes/link", "trusted.link", b"x", follow_symlinks=False))
    write("attributes/capability", b"program", 0o755)
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    attempt("a capability", lambda: os.setxattr("attributes/capability", "security.capability", capability))
    if shutil.which("setfacl"):
        write("attributes/acl", b"acl", 0o640)
        os.mkdir("attributes/acl-dir")
        acl = ["setfacl", "-m", "u:1000:rw,g:1001:r,m:rw"]
        attempt("an ACL", lambda: subprocess.run([*acl, "attributes/acl"], check=True))
        attempt("an ACL", lambda: subprocess.run([*acl, "attributes/acl-dir"], check=True))
        attempt("a default ACL", lambda: subprocess.run(["setfacl", "-d", *acl[1:], "attributes/acl-dir"], check=True))
        # Made before the default ACL was there, it has none.
        attempt("an ACL", lambda: subprocess.run(["setfacl", "-b", "attributes/file"], check=True))
        write("attributes/acl-dir/inherits", b"inherits", 0o640)
        os.mkdir("attributes/acl-dir/sub")
        os.mkdir("attributes/acl-dir/plain")
        attempt("no ACL", lambda: subprocess.run(["setfacl", "-b", "-k", "attributes/acl-dir/plain"], check=True))
    else:
        print("oddities: left out: ACLs: there is no setfacl", file=sys.stderr)


def times():
    os.mkdir("times")
    second = 1_000_000_000
    for name, nanos in [("epoch", 0), ("before-1970", -5 * second + 123_456_789), ("long-before", -2_000_000_000 * second),
                        ("far-future", 15_000_000_000 * second + 999_999_999), ("one", 1), ("last-nano", second - 1)]:
        write(f"times/{name}", b"t")
        os.utime(f"times/{name}", ns=(nanos, nanos))
        os.mkdir(f"times/d-{name}")
        write(f"times/d-{name}/inside", b"t")
        os.utime(f"times/d-{name}", ns=(nanos, nanos))
        os.symlink("x", f"times/l-{name}")
        os.utime(f"times/l-{name}", ns=(nanos, nanos), follow_symlinks=False)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: oddities.py DIR")
    os.umask(0o022)
    os.makedirs(sys.argv[1])
    os.chdir(sys.argv[1])
    os.mkdir("empty-directory")
    for make in [names, many, deep, contents, sparse, links, special, modes, attributes, times]:
        try:
            make()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            print(f"oddities: left out: rest of {make.__name__}: {error}", file=sys.stderr)


main()
