#!/usr/bin/env python3
"""The tools of this directory against each other and against stores that Datahike wrote.

    selftest.py [FIXTURES]      a directory of unpacked stores, `X/` or `X/store/`, may stand beside

Writes a store of every kind, reads it back, compares it with the truth log, then damages copies in every way that
`readback.py` claims to see: each must be seen. In real stores every node must come out of our writer as the same bytes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import edn
import fress
import hasch
import order
import store
import tree
import walk
from fress import Datom, Inst, Kw, Map, Tagged
from readback import Check

HERE = Path(__file__).resolve().parent
SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None
K = Kw


def expect(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def vectors():
    """Facts of the formats."""
    golden = {0: "00", 63: "3f", 64: "5040", -1: "ff", -65: "4fbf", -4097: "67efff", 524288: "72080000",
              -(1 << 63): "f88000000000000000", 1 << 49: "f80002000000000000"}
    for n, hexed in golden.items():
        expect(fress.encode(n).hex() == hexed, f"{n} is {fress.encode(n).hex()}")
        expect(fress.decode(bytes.fromhex(hexed)) == n, hexed)
    expect(fress.encode("😀").hex() == "e0eda0bdedb880", "😀")
    expect(fress.decode(bytes.fromhex("e601caf7cddb61"))[1] == K("a"), "[1 :a]")
    expect(store.file_name(K("db")) == "0594e3b6-9635-5c99-8142-412accf3023b.ksv", "file of :db")
    expect(store.file_name(K("branches")) == "1643fed1-9f2d-514e-b007-53bbb8682214.ksv", "file of :branches")
    address = uuid.UUID(int=77 << 90)
    expect(store.file_name(address) == hasch.address_file(address), "file of an address")
    for x, text in [(1e23, "1.0E23"), (5e-324, "4.9E-324"), (0.001, "0.001"), (1e7, "1.0E7"), (-2.0, "-2.0")]:
        expect(hasch.java_double(x) == text, f"{x} is {hasch.java_double(x)}")
    rising = [[K("b"), K("z"), K("a/a"), K("a/b"), K("a-b/a")], ["", "a", "ab", "b", "\U00010000", "\uffff"], [False, True],
              [[5], [1, 2], [1, 3]], [uuid.UUID(int=1 << 127), uuid.UUID(int=1)], [b"\x80", b"", b"\x7f"][1:], [-1, 0.5, 1]]
    for values in rising:
        for x, y in zip(values, values[1:]):
            expect(order.compare(x, y) < 0 < order.compare(y, x), f"{x!r} before {y!r}")
    expect(order.compare(b"\x80", b"\x7f") < 0 and order.compare(1, 1.0) == 0, "signed bytes, numbers across types")


def written(work, name, options, branching=16, goes_on=True):
    """A store of a kind, checked, gone on with, checked again."""
    path, log = work / name, work / f"{name}.truth"
    for commits, seed in ((60, 1), (20, 2))[: 1 + goes_on]:
        done = subprocess.run([sys.executable, str(HERE / "writer.py"), str(path), "--truth", str(log), "--datoms", "1200",
                               "--branching", str(branching), "--commits", str(commits), "--seed", str(seed), *options.split()],
                              capture_output=True, text=True)
        expect(done.returncode == 0, f"writer {name}: {done.stderr}")
        check = Check(path)
        check.run()
        expect(not check.wrong, f"{name}: {check.wrong[:3]}")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        last = [line for line in lines if line["branch"] == "db"][-1]
        current, history = check.views["db"]
        expect(str(walk.Database(path).commit) == last["commit"], f"{name}: the head is not the last line")
        for view, which in ((current, "current"), (history, "history")):
            expect(edn.digest_of(map(edn.line, view)) == last[which], f"{name}: {which} is not the truth")
    return path


class Damage:
    """A copy of a store in which something is changed."""

    def __init__(self, work, source):
        self.path = work / "damaged"
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(source, self.path)
        self.db = walk.Database(self.path)

    def first(self, index, leaf):
        """An address and node: the first leaf, or the root."""
        stored, node = self.db.root(index)
        address = stored.get(K("address"))
        while leaf and not node.leaf:
            address = node.addresses[0]
            node = walk.Node(self.db.reader.load(address))
        return address, node

    def put(self, key, value):
        (self.path / store.file_name(key)).write_bytes(store.encode_blob(key, fress.encode(value), True))

    def edit(self, index, leaf, field, change):
        address, node = self.first(index, leaf)
        entries = Map((k, change(list(v) if isinstance(v, list) else v) if k == K(field) else v) for k, v in node.map)
        self.put(address, Tagged("pss/leaf" if node.leaf else "pss/branch", entries))

    def head(self, field, change, committed=True):
        record = Map((k, change(v) if k == K(field) else v) for k, v in self.db.record)
        self.put(K("db"), record)
        if committed:
            self.put(self.db.commit, record)


def damages():
    """What -> how a store is damaged."""
    swap = lambda keys: [keys[1], keys[0], *keys[2:]]
    newer = lambda keys: [Datom((*keys[0][:3], 900000000, True)), *keys[1:]]
    other = lambda keys: [Datom((*keys[0][:2], "another", *keys[0][3:])), *keys[1:]]
    counted = lambda t: Tagged(t.tag, Map((k, v + 1 if k == K("count") else v) for k, v in t.value))
    file = lambda d, leaf: d.path / store.file_name(d.first("eavt", leaf)[0])
    return {
        "stands before": lambda d: d.edit("eavt", True, "keys", swap),
        "is newer than": lambda d: d.edit("eavt", True, "keys", newer),
        "eavt and aevt": lambda d: d.edit("aevt", True, "keys", other),
        "eavt and avet": lambda d: d.edit("avet", True, "keys", lambda keys: keys[1:]),
        "temporal-eavt and aevt": lambda d: d.edit("temporal-aevt", True, "keys", lambda keys: keys[1:]),
        "history leaves": lambda d: [d.edit(i, True, "keys", lambda keys: keys[:-1]) for i in ("temporal-eavt",)],
        "are allowed": lambda d: d.edit("aevt", True, "keys", lambda keys: keys[-3:]),
        "the child ends": lambda d: d.edit("eavt", False, "keys", swap),
        "subtree count": lambda d: d.edit("eavt", False, "subtree-count", lambda n: n + 1),
        "the root counts": lambda d: d.head("eavt-key", counted),
        "not the hash of the schema": lambda d: d.put(d.db.record.get(K("schema-meta-key")), Map(d.db.schema_meta + [(K("x"), 1)])),
        "not of the kind": lambda d: d.head("schema-meta-key", lambda key: d.db.commit),
        "is not its address": lambda d: d.head("merkle-roots", lambda m: Map([(k, d.db.commit) for k, _ in m])),
        "beyond :max-eid": lambda d: d.head("max-eid", lambda n: n - 1),
        "is another": lambda d: d.head("max-tx", lambda n: n + 1, committed=False),
        "commit record": lambda d: os.unlink(d.path / store.file_name(d.db.commit)),
        "Absent": lambda d: file(d, True).unlink(),
        "is empty": lambda d: file(d, True).write_bytes(b""),
        "after the value": lambda d: file(d, True).write_bytes(file(d, True).read_bytes() + b"\0"),
        "too early": lambda d: file(d, True).write_bytes(file(d, True).read_bytes()[:-3]),
        "holds the key": lambda d: shutil.copy(d.path / store.file_name(d.first("aevt", True)[0]), file(d, True)),
        "level": lambda d: d.edit("eavt", False, "level", lambda n: n + 1),
        ":branches": lambda d: (d.path / store.file_name(K("branches"))).unlink(),
    }


class Adopter:
    """As much of a store as `tree.Tree` wants for encoding a node."""

    def item(self, datom):
        return tree.Item(datom)


def real(path):
    """Nodes of a store of Datahike's, encoded by us."""
    same = 0
    for file in sorted(path.glob("*.ksv")):
        data = file.read_bytes()
        meta, value = store.decode_blob(data)
        expect(store.file_name(meta.get(K("key"))) == file.name, f"{file}: its name is not the hash of its key")
        if type(value) is Tagged and value.tag in walk.LEAVES + walk.BRANCHES and data[2:4] == b"\0\0":
            node = walk.Node(value)
            if node.slots is not None or node.map.get(K("diff-buf-size")):
                continue
            ours = tree.Tree("eavt", Adopter(), node.branching or 512, node.legacy)
            adopted = ours.adopt(node, meta.get(K("key")))
            expect(data.endswith(ours.encode(adopted)), f"{file}: our bytes are others")
            same += 1
    return same


def main():
    vectors()
    with tempfile.TemporaryDirectory(prefix="packstone-datahike-", dir=SHM) as temporary:
        work = Path(temporary)
        plain = written(work, "plain", "--purge-every 7")
        written(work, "recycle", "--recycle --grace 0.01 --locks")
        written(work, "gc", "--gc-every 5 --second-branch 9 --sync")
        written(work, "buffered", "--diff-buf 24 --purge-every 9", goes_on=False)
        written(work, "fused", "--fused --recycle")
        written(work, "legacy", "--legacy", 512)
        written(work, "current", "--no-history --no-graph")
        written(work, "inline", "--legacy --inline-schema --gc-every 6", 512)
        written(work, "mixed", "--upgrade-after 40 --inline-schema", 512)
        crypto = written(work, "crypto", "--crypto-hash --gc-every 11")
        print("10 kinds of stores written, gone on with and read back")
        todo = [(what, damage, plain) for what, damage in damages().items()]
        todo.append(("not the hash of the node", damages()["eavt and aevt"], crypto))
        for what, damage, source in todo:
            damaged = Damage(work, source)
            damage(damaged)
            check = Check(damaged.path)
            check.run()
            expect(any(what in line for line in check.wrong), f"damage unseen: {what}; seen: {check.wrong[:3]}")
        print(f"{len(todo)} kinds of damage, each seen")
    for root in sys.argv[1:]:
        for path in sorted({p.parent for p in Path(root).rglob("0594e3b6-9635-5c99-8142-412accf3023b.ksv")}):
            if path.name.endswith(("aes", "hh")) or "hitchhiker" in str(path):
                continue
            check = Check(path, loose=True)
            check.run()
            expect(not check.wrong, f"{path}: {check.wrong[:3]}")
            print(f"{path}: accepted, {check.stale} stale separators, {real(path)} nodes encoded to the same bytes")


if __name__ == "__main__":
    main()
