"""Reads databases of a store: heads, nodes, datoms; no locks, root first."""

from fress import Datom, Kw, Malformed, Tagged
from store import Absent, Reader

INDICES = ("eavt", "aevt", "avet", "temporal-eavt", "temporal-aevt", "temporal-avet")
LEAVES = ("pss/leaf", "datahike.index.PersistentSortedSet.Leaf")
BRANCHES = ("pss/branch", "datahike.index.PersistentSortedSet.Branch")
SETS = ("pss/set", "datahike.index.PersistentSortedSet")


def k(name):
    return Kw(name)


def five(d):
    """A datom of three or four parts is an assertion."""
    return d if len(d) == 5 else Datom((*d, *(536870912, True)[len(d) - 3 :]))


class Node:
    """A leaf or a branch."""

    def __init__(self, tagged):
        if type(tagged) is not Tagged or tagged.tag not in LEAVES + BRANCHES:
            raise Malformed(f"no index node: {str(tagged)[:80]}")
        self.leaf = tagged.tag in LEAVES
        self.legacy = tagged.tag.startswith("datahike.")
        self.map = tagged.value
        self.keys = [five(d) for d in self.map.get(k("keys"))]
        self.level = 0 if self.leaf else self.map.get(k("level"))
        self.addresses = None if self.leaf else list(self.map.get(k("addresses")))
        self.slots = None if self.leaf else self.map.get(k("slots"))
        self.branching = self.map.get(k("branching-factor"))
        self.subtree_count = self.map.get(k("subtree-count"))


def identity(d):
    """Datoms by type as well as by value: `1` is not `1.0`, `true` not `1`."""
    return (d[0], d[1], type(d[2]), repr(d[2]), d[3], d[4])


class Database:
    """One head of a store."""

    def __init__(self, reader, branch="db"):
        self.reader = reader if isinstance(reader, Reader) else Reader(reader)
        self.branch = branch
        self.record = self.reader.load(Kw(branch))
        self.last_write = self.reader.last_write
        if self.record.get(k("eavt-key")) is None:
            raise Malformed(f"the record of :{branch} has no :eavt-key")
        key = self.record.get(k("schema-meta-key"))
        self.schema_meta = self.record if key is None else self.reader.load(key)
        self.meta = self.record.get(k("meta"))
        self.commit = self.meta.get(k("datahike/commit-id"))
        self.max_tx = self.record.get(k("max-tx"))
        self.config = self.record.get(k("config"))
        self.history = self.record.get(k("temporal-eavt-key")) is not None

    def root(self, index):
        """`(set map, root node)`; no node where the index is absent."""
        stored = self.record.get(k(index + "-key"))
        if stored is None:
            return None, None
        if type(stored) is not Tagged or stored.tag not in SETS:
            raise Malformed(f"the root of {index} is {str(stored)[:60]}")
        fused = self.record.get(k(index + "-root"))
        address = stored.value.get(k("address"))
        return stored.value, Node(fused if fused is not None else self.reader.load(address))

    def walk(self, index, visit=None):
        """The datoms of an index in order; `visit(address, node, parent, place, has slots)` sees every node."""
        stored, root = self.root(index)
        if stored is None:
            return
        yield from self.below(stored.get(k("address")), root, None, None, 0, visit)

    def below(self, address, node, slots, parent, place, visit):
        if visit:
            visit(address, node, parent, place, slots)
        if node.leaf:
            if slots is None:
                yield from node.keys
                return
            absent = {identity(d) for d in slots.get(k("absent")) or ()}
            present = [five(d) for d in slots.get(k("present")) or ()]
            kept = [d for d in node.keys if identity(d) not in absent]
            seen = {identity(d) for d in kept}
            yield from kept
            yield from (d for d in present if identity(d) not in seen)
            return
        own = node.slots if slots is None else slots
        own = dict(own) if own else {}
        for i, child in enumerate(node.addresses):
            slot = own.get(i)
            yield from self.below(child, Node(self.reader.load(child)), slot.get(k("diff")) if slot else None, node, i, visit)

    def attributes(self, name):
        """The attributes of an entry of the reversed schema: idents, and ids where the database has those."""
        entry = self.schema_meta.get(k("rschema")).get(k(name))
        idents = entry.value if type(entry) is Tagged else entry or ()
        ids = self.schema_meta.get(k("ident-ref-map"))
        out = set(idents)
        if self.config.get(k("attribute-refs?")):
            out |= {ids.get(ident) for ident in idents} - {None}
        return out

    def kept_in_current(self):
        """Attributes whose history is partly in the current index."""
        return self.attributes("db.cardinality/many") | self.attributes("db/noHistory")

    def current_and_history(self, visit=None):
        """Both sets as lists of datoms; without history the second is the first."""
        current = list(self.walk("eavt", visit))
        if not self.history:
            return current, current
        temporal = list(self.walk("temporal-eavt", visit))
        kept, seen = self.kept_in_current(), {identity(d) for d in temporal}
        return current, temporal + [d for d in current if d[1] in kept and identity(d) not in seen]


class Torn(Exception):
    """A snapshot that no longer could be read whole."""


def snapshot(path, attempts=200, secret=None, branch="db"):
    """`(database, current, history, restarts)` while somebody writes: root first, from the start when a node is gone.

    A node whose address was given to another one is told by its `:last-write`: all nodes of a head are older than it.
    In the same millisecond that proves nothing, unless the head still stands when the walk is over.
    """
    last, reader = None, Reader(path, secret)
    for restart in range(attempts):
        address = None

        def visit(at, node, parent, place, slots):
            nonlocal address
            address = at
            if reader.last_write > head:
                raise Torn(f"node {at} is newer than the root")

        try:
            db = Database(reader, branch)
            head = db.last_write
            reader.newest = 0
            current, history = db.current_and_history(visit)
            count = db.root("eavt")[0].get(k("count"))
            if count is not None and count >= 0 and count != len(current):
                raise Torn(f"{len(current)} datoms where the root {db.root('eavt')[0].get(k('address'))} counts {count}")
            if any(d[3] > db.max_tx for d in history):
                raise Torn(f"a datom newer than the root, node {address}")
            if reader.newest == head and Database(Reader(path, secret), branch).commit != db.commit:
                raise Torn(f"node {address} is as old as the root, which is gone")
            return db, current, history, restart
        except (Absent, Malformed, Torn) as e:
            last = e
    raise Torn(f"{attempts} attempts: {last}")


def main():
    """`walk.py STORE`: one snapshot, as digests. `--gullible` believes addresses, as a reader must not."""
    import json
    import sys

    import edn

    path, gullible = sys.argv[1], "--gullible" in sys.argv
    try:
        if gullible:
            db = Database(Reader(path))
            (current, history), restarts = db.current_and_history(), 0
        else:
            db, current, history, restarts = snapshot(path)
    except (Torn, Absent, Malformed) as e:
        sys.exit(str(e))
    print(json.dumps({"commit": str(db.commit), "t": db.max_tx, "restarts": restarts,
                      "current": edn.digest_of(map(edn.line, current)), "history": edn.digest_of(map(edn.line, history))}))


if __name__ == "__main__":
    main()
