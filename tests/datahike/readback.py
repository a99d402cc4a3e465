#!/usr/bin/env python3
"""Checks a Datahike file store as an independent reader: every node, every index, every head.

    readback.py STORE [--secret S] [--expect-current FILE] [--expect-history FILE] [--branch B] [--loose-separators] [--json]

All six indices of every branch are walked. Each must be in Datahike's order; each node within its branching limits, its
branch keys the greatest datoms of their children, its counts exact, its address its hash where `:crypto-hash?` is on.
The indices must agree with each other, the schema with its key, heads with their commit records, and the current view
with the fold of the history. The expected files hold a datom a line, in any order. Exit 1 with what is wrong.
"""

import argparse
import functools
import json
import re
import sys
import uuid
from pathlib import Path

import edn
import fress
import order
import walk
from fress import Datom, Kw, Malformed, Map, Tagged
from hasch import hasch
from store import Absent, Reader, file_name
from walk import Database, identity, k


class Store(Reader):
    """Remembers which files were read."""

    def __init__(self, path, secret):
        super().__init__(path, secret)
        self.seen = set()

    def load(self, key):
        self.seen.add(file_name(key))
        return super().load(key)


def plain(x):
    """Datoms as vectors, everywhere, for the hash of a node with slots."""
    if type(x) is Datom:
        return [plain(y) for y in x]
    if type(x) is Map:
        return Map((plain(a), plain(b)) for a, b in x)
    if isinstance(x, list) and type(x) is not fress.Array:
        return [plain(y) for y in x]
    return x


class Check:
    """One store; collects what is wrong instead of stopping at the first."""

    def __init__(self, path, secret=None, loose=False, branching=512):
        self.reader, self.loose, self.branching = Store(path, secret), loose, branching
        self.wrong, self.stale = [], 0
        self.report = {}

    def fail(self, where, what):
        if len(self.wrong) < 50:
            self.wrong.append(f"{where}: {what}")

    def index(self, db, name):
        """The datoms of an index, its shape checked on the way."""
        stored, root = db.root(name)
        where = f":{db.branch} {name}"
        crypto = bool(db.config.get(k("crypto-hash?")))
        branching = stored.get(k("branching-factor")) or root.branching or self.branching
        nodes = {"leaves": 0, "branches": 0, "smallest": None, "greatest": 0, "levels": root.level + 1}

        def visit(address, node, slots, is_root):
            """`(datoms, subtree count)` of a node with what its parent keeps for it."""
            at = f"{where} {address}"
            if crypto and address is not None:
                content = [list(d) for d in node.map.get(k("keys"))] if node.leaf else list(node.addresses)
                if not node.leaf and node.slots:
                    content = [list(node.addresses), plain(node.slots)]
                if hasch(content) != address:
                    self.fail(at, f"the address is not the hash of the node, {hasch(content)}")
            if node.branching not in (None, branching):
                self.fail(at, f"a branching factor of {node.branching} in an index of {branching}")
            if node.leaf:
                datoms = list(db.below(address, node, slots, None, 0, None))
                if slots is not None:
                    datoms.sort(key=cmp_key)
                size = len(datoms)
            else:
                if len(node.keys) != len(node.addresses):
                    self.fail(at, f"{len(node.keys)} keys for {len(node.addresses)} children")
                own = node.slots if slots is None else slots
                own = {a: b for a, b in own} if own else {}
                datoms, size = [], len(node.addresses)
                for i, child_address in enumerate(node.addresses):
                    child = walk.Node(self.reader.load(child_address))
                    if child.level != node.level - 1:
                        self.fail(f"{where} {child_address}", f"level {child.level} below level {node.level}")
                    slot = own.get(i)
                    below = visit(child_address, child, slot.get(k("diff")) if slot else None, False)
                    count = slot.get(k("count")) if slot else None
                    if count is not None and count >= 0 and count != len(below):
                        self.fail(at, f"slot {i} counts {count} of {len(below)}")
                    if not below:
                        self.fail(f"{where} {child_address}", "an empty node below a branch")
                    else:
                        expected = slot.get(k("max-key")) if slot and slot.get(k("max-key")) else node.keys[i]
                        if compare(expected, below[-1]):
                            self.stale += 1
                            if not self.loose:
                                self.fail(at, f"key {i} is {edn.line(node.keys[i])}, the child ends with {edn.line(below[-1])}")
                    datoms += below
                if slots is None and not own and node.subtree_count not in (None, -1, len(datoms)):
                    self.fail(at, f"subtree count {node.subtree_count} of {len(datoms)}")
            nodes["leaves" if node.leaf else "branches"] += 1
            nodes["greatest"] = max(nodes["greatest"], size)
            least = (0 if node.leaf else 2) if is_root else branching >> 1
            if not is_root:
                nodes["smallest"] = size if nodes["smallest"] is None else min(nodes["smallest"], size)
            if not least <= size <= branching:
                self.fail(at, f"{size} {'datoms' if node.leaf else 'children'} where {least} to {branching} are allowed")
            return datoms

        compare = order.compare_datoms(name[-4:], name.startswith("temporal"))
        cmp_key = functools.cmp_to_key(compare)
        datoms = visit(stored.get(k("address")), root, None, True)
        for x, y in zip(datoms, datoms[1:]):
            if compare(x, y) >= 0:
                self.fail(where, f"{edn.line(x)} stands before {edn.line(y)}")
        count = stored.get(k("count"))
        if count not in (None, -1, len(datoms)):
            self.fail(where, f"the root counts {count} of {len(datoms)}")
        if stored.get(k("meta")).get(k("index-type")) != Kw(name[-4:]):
            self.fail(where, f"its :index-type is {stored.get(k('meta')).get(k('index-type'))}")
        self.report[where] = {"datoms": len(datoms), **nodes}
        return datoms

    def same(self, where, a, b, what):
        a, b = {identity(d) for d in a}, {identity(d) for d in b}
        for only, name in ((a - b, "only the first"), (b - a, "only the second")):
            if only:
                self.fail(where, f"{what}: {len(only)} datoms in {name} have, such as {sorted(map(str, only))[0]}")

    def branch(self, name):
        try:
            db = Database(self.reader, name)
            self.head(db)
            held = {i: self.index(db, i) for i in walk.INDICES if db.record.get(k(i + "-key")) is not None}
        except (Absent, Malformed) as e:
            self.fail(f":{name}", f"{type(e).__name__}: {e}")
            return [], []
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            self.fail(f":{name}", f"something is not of the kind it must be: {e}")
            return [], []
        indexed = db.attributes("db/index")
        for head in ("", "temporal-"):
            if head + "eavt" not in held:
                continue
            eavt = held[head + "eavt"]
            self.same(f":{name} {head}eavt and aevt", eavt, held[head + "aevt"], "not the same")
            expected = [d for d in eavt if d[1] in indexed]
            self.same(f":{name} {head}eavt and avet", expected, held[head + "avet"], "avet is not the indexed attributes")
            for d in eavt:
                if d[3] > db.max_tx:
                    self.fail(f":{name} {head}eavt", f"{edn.line(d)} is newer than :max-tx {db.max_tx}")
                if d[0] > db.record.get(k("max-eid")) and d[0] < 536870912:
                    self.fail(f":{name} {head}eavt", f"{edn.line(d)} is beyond :max-eid {db.record.get(k('max-eid'))}")
        current, history = db.current_and_history()
        if any(not d[4] for d in current):
            self.fail(f":{name} eavt", "retractions in the current view")
        if db.history:
            self.fold(db, current, history)
        return current, history

    def fold(self, db, current, history):
        """The current view is what the history leaves."""
        left = {}
        for d in sorted(history, key=lambda d: (d[3], d[4])):
            place = (d[0], d[1], type(d[2]), repr(d[2]))
            if d[4]:
                left[place] = d
            else:
                left.pop(place, None)
        now = {(d[0], d[1], type(d[2]), repr(d[2])) for d in current}
        if now != set(left):
            odd = sorted(map(str, now ^ set(left)))
            self.report["fold"] = {"differs": len(odd)}
            if not self.loose:
                self.fail(f":{db.branch}", f"the history leaves something else than the current view in {len(odd)} places, such as {odd[0]}")

    def head(self, db):
        where, record = f":{db.branch}", db.record
        for key in ("max-tx", "max-eid", "op-count", "hash"):
            if type(record.get(k(key))) is not int:
                self.fail(where, f"no :{key}")
        key = record.get(k("schema-meta-key"))
        if key is not None and hasch(db.schema_meta) != key:
            self.fail(where, f":schema-meta-key {key} is not the hash of the schema, {hasch(db.schema_meta)}")
        idents, refs = (dict(db.schema_meta.get(k(n))) for n in ("ident-ref-map", "ref-ident-map"))
        if {e: a for a, e in idents.items()} != refs:
            self.fail(where, ":ident-ref-map and :ref-ident-map differ")
        merkle = record.get(k("merkle-roots"))
        for index in walk.INDICES:
            stored = record.get(k(index + "-key"))
            if merkle is not None and stored is not None and merkle.get(k(index + "-key")) != stored.value.get(k("address")):
                self.fail(where, f":merkle-roots of {index} is not its address")
        if db.config.get(k("keep-history?")) is not db.history:
            self.fail(where, ":keep-history? and the indices disagree")
        if type(db.commit) is not uuid.UUID:
            self.fail(where, "no commit id")
        elif db.config.get(k("commit-graph?")) is not False:
            try:
                if self.as_committed(self.reader.load(db.commit)) != self.as_committed(record):
                    self.fail(where, f"its commit record {db.commit} is another")
            except Absent:
                self.fail(where, f"its commit record {db.commit} is absent")

    @staticmethod
    def as_committed(record):
        """A record without the name of its branch: a new branch starts as a copy of another's head."""
        config = Map((a, b) for a, b in record.get(k("config")) if a != k("branch"))
        return fress.encode(Map((a, config if a == k("config") else b) for a, b in record))

    def run(self, only=None):
        try:
            branches = self.reader.load(Kw("branches"))
            names = sorted(str(b) for b in branches.value)
        except (Absent, Malformed) as e:
            self.fail(":branches", str(e))
            names = ["db"]
        if "db" not in names:
            self.fail(":branches", f"no :db among {names}")
        self.views = {name: self.branch(name) for name in names if only in (None, name)}
        blobs = [p for p in Path(self.reader.path).iterdir() if p.suffix == ".ksv"]
        self.report["blobs"] = {"reachable": len(self.reader.seen), "in all": len(blobs),
                                "empty": sum(not p.stat().st_size for p in blobs)}
        return self.wrong

    def expect(self, name, which, path):
        expected = Path(path).read_bytes().decode("utf-8", "surrogatepass").split("\n")
        # Fressian writes -0.0 as 0.0: no store can hold one
        expected = sorted(re.sub(r" -0\.0 (\d+ (?:true|false)\])$", r" 0.0 \1", line) for line in expected if line)
        got = sorted(edn.line(d) for d in self.views[name][which])
        if expected != got:
            missing, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
            self.fail(f":{name}", f"{len(got)} datoms where {path} has {len(expected)}; missing {missing[:2]}, extra {extra[:2]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--secret")
    parser.add_argument("--branch", default="db", help="the branch of the expected files")
    parser.add_argument("--expect-current")
    parser.add_argument("--expect-history")
    parser.add_argument("--loose-separators", action="store_true",
                        help="for stores that Datahike wrote: branch keys left behind by upserts and such are no failure")
    parser.add_argument("--branching", type=int, default=512, help="of nodes that do not say it themselves, those of 0.6")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    check = Check(args.store, args.secret, args.loose_separators, args.branching)
    check.run()
    for which, path in enumerate((args.expect_current, args.expect_history)):
        if path:
            check.expect(args.branch, which, path)
    if args.json:
        print(json.dumps({"wrong": check.wrong, "stale_separators": check.stale, **check.report}))
    else:
        for where, what in check.report.items():
            print(where, " ".join(f"{a}={b}" for a, b in what.items()))
        print(f"{check.stale} branch keys differ from their children's greatest datom" if check.stale else "branch keys exact")
        print("\n".join(check.wrong) if check.wrong else "ok")
    sys.exit(bool(check.wrong))


if __name__ == "__main__":
    main()
