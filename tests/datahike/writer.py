#!/usr/bin/env python3
"""Commits to a Datahike store by its documented write order, at full speed, and keeps the truth beside it.

    writer.py STORE --truth LOG [--commits N | --seconds S] [--datoms N] [--branching N] [options]

Starts a store with a schema of its own, or goes on in a copy of one. Index nodes first, children before parents; then
the schema where it is new, the commit record, and last the head. Before a head is renamed into place its line is in the
truth log: `{"branch", "commit", "t", "current", "history"}`, a digest being "count xor+sum" of the EDN lines (`edn.py`),
so every head that a reader can see has its line.

SIGUSR1 pauses and goes on. SIGTERM ends it after the commit it is at.
"""

import argparse
import collections
import fcntl
import json
import os
import random
import signal
import sys
import time
import uuid
from pathlib import Path

import edn
import fress
import walk
from fress import Inst, Kw, Map, Tagged
from hasch import address_file, hasch
from store import Disk, Reader, encode_blob, file_name
from tree import BufferedTree, Item, Tree

TX0 = 536870912
K = Kw
ONE, MANY = K("db.cardinality/one"), K("db.cardinality/many")

# our attributes: ident -> (type, cardinality, index, unique, noHistory)
ATTRIBUTES = {
    K("w/id"): ("string", ONE, False, True, False),
    K("w/n"): ("long", ONE, True, False, False),
    K("w/s"): ("string", ONE, False, False, False),
    K("w/d"): ("double", ONE, False, False, False),
    K("w/k"): ("keyword", ONE, False, False, False),
    K("w/at"): ("instant", ONE, False, False, False),
    K("w/u"): ("uuid", ONE, True, False, False),
    K("w/b"): ("boolean", ONE, False, False, False),
    K("w/tags"): ("keyword", MANY, False, False, False),
    K("w/refs"): ("ref", MANY, False, False, False),
    K("w/texts"): ("string", MANY, True, False, False),
    K("w/seen"): ("long", ONE, False, False, True),
}
ALPHABET = "abcdefghijklmnopqrstuvwxyz ABC\"\\\n\té€😀"


class Die(Exception):
    """The moment to be killed at."""


class Store:
    """The blobs under a database: addresses given out, freed and used again, nodes written."""

    def __init__(self, args):
        self.args = args
        self.reader = Reader(args.store)
        self.disk = Disk(args.store, sync=args.sync, lock=args.locks)
        self.rng = random.Random(args.seed)
        self.items = {}
        self.just_freed, self.resting = [], collections.deque()
        self.names = {}
        self.now = 0
        self.nodes = self.nodes_in_commit = self.recycled = self.collected = 0
        self.die_after = None

    def item(self, datom):
        return Item(datom)

    def tick(self):
        """konserve's clock: milliseconds, never backwards."""
        self.now = max(self.now, time.time_ns() // 1_000_000)

    def squuid(self):
        return uuid.UUID(int=(self.now // 1000 & 0xFFFFFFFF) << 96 | self.rng.getrandbits(96) & ~(0xF << 76) & ~(3 << 62)
                         | 4 << 76 | 2 << 62)

    def freed(self, address):
        self.just_freed.append(address)

    def new_address(self):
        if self.args.recycle and self.resting and self.resting[0][0] <= time.monotonic():
            self.recycled += 1
            return self.resting.popleft()[1]
        return self.squuid()

    def committed(self):
        """What this commit superseded may be used again after the grace period: no head names it any more."""
        until = time.monotonic() + self.args.grace
        if self.args.recycle:
            self.resting.extend((until, a) for a in self.just_freed)
        for address in self.just_freed:
            self.names.pop(address, None) if not self.args.recycle else None
        self.just_freed = []

    def name(self, address):
        name = self.names.get(address)
        if name is None:
            name = self.names[address] = address_file(address)
        return name

    def put_node(self, address, value):
        if self.die_after is not None and self.nodes_in_commit >= self.die_after:
            raise Die
        self.disk.put_node(self.name(address), address, value, self.now)
        self.nodes += 1
        self.nodes_in_commit += 1

    def put(self, key, value, immutable=False):
        self.disk.put(file_name(key), encode_blob(key, fress.encode(value), immutable, self.now))


class Database:
    """The database in memory: six trees, the schema, digests of what it holds."""

    def __init__(self, args):
        self.args, self.store, self.rng = args, Store(args), random.Random(args.seed)
        self.current, self.past = edn.Digest(), edn.Digest()
        self.model = {}
        self.entities = []
        self.max_tx, self.max_eid, self.op_count = TX0, 0, 0
        self.commit_id, self.parents = None, []
        self.schema_key = self.schema_size = None
        self.config = self.id = None
        self.keep = not args.no_history
        self.counter = 0
        if (Path(args.store) / file_name(K("db"))).exists():
            self.open()
        else:
            self.create()

    # -- where it starts

    def tree(self, index):
        common = index, self.store, self.args.branching, self.args.legacy, self.args.crypto_hash
        return BufferedTree(*common, buffer=self.args.diff_buf) if self.args.diff_buf else Tree(*common)

    def create(self):
        self.id, self.created = self.store.squuid(), None
        self.trees = {index: self.tree(index) for index in walk.INDICES if self.keep or "temporal" not in index}
        self.config = Map([
            (K("keep-history?"), self.keep), (K("search-cache-size"), 0), (K("index"), K("datahike.index/persistent-set")),
            (K("store"), Map([(K("backend"), K("file")), (K("path"), "/srv/databases/written"), (K("id"), self.id)])),
            (K("store-cache-size"), 1000), (K("attribute-refs?"), False), (K("writer"), Map([(K("backend"), K("self"))])),
            (K("crypto-hash?"), self.args.crypto_hash), (K("schema-flexibility"), K("write")), (K("branch"), K("db"))])
        if not self.args.legacy:
            index = [(K("branching-factor"), self.args.branching)]
            index += [(K("diff-buf-size"), self.args.diff_buf)] if self.args.diff_buf else []
            self.config.append((K("index-config"), Map(index)))
        if self.args.fused:
            self.config.append((K("fuse-index-roots?"), True))
        if self.args.no_graph:
            self.config.append((K("commit-graph?"), False))
        many = [K("db.attr/preds"), K("db.entity/attrs"), K("db.entity/preds")]
        self.schema = {K("db/ident"): Map([(K("db/unique"), K("db.unique/identity"))]),
                       K("db/txInstant"): Map([(K("db/noHistory"), True)]),
                       **{a: Map([(K("db/cardinality"), MANY)]) for a in many}}
        idents = set(self.schema)
        self.rschema = {K("db.unique/identity"): {K("db/ident")}, K("db/unique"): {K("db/ident")}, K("db/index"): {K("db/ident")},
                        K("db/noHistory"): {K("db/txInstant")}, K("db.cardinality/many"): set(many), K("db/ident"): idents,
                        K("db.type/ref"): set()}
        self.idents = {}
        self.more_schema = [(K("system-entities"), Tagged("set", []))]
        self.install()
        self.grow()

    def open(self):
        """Goes on in a store that is there."""
        db = walk.Database(self.store.reader)
        if db.config.get(K("attribute-refs?")):
            sys.exit("writer.py does not write databases with attribute references")
        self.keep = db.history
        self.id, self.created = db.meta.get(K("datahike/id")), db.meta.get(K("datahike/created-at"))
        self.config, self.commit_id = db.config, db.commit
        self.args.crypto_hash = bool(db.config.get(K("crypto-hash?")))
        _, root = db.root("eavt")
        self.args.legacy = root.legacy
        self.args.branching = root.branching or self.args.branching
        self.args.inline_schema = db.record.get(K("schema-meta-key")) is None
        self.max_tx, self.max_eid, self.op_count = (db.record.get(K(n)) for n in ("max-tx", "max-eid", "op-count"))
        if dict((str(k), v) for k, v in root.map).get("diff-buf-size"):
            sys.exit("writer.py does not go on in a store with a diff buffer")
        self.trees = {}
        for index in walk.INDICES:
            stored, root = db.root(index)
            if stored is not None:
                tree = self.trees[index] = self.tree(index)
                tree.root = tree.adopt(root, stored.get(K("address")))
                tree.count = sum(1 for _ in tree.items())
        current, history = db.current_and_history()
        for d in current:
            self.current.add(edn.hash_of(edn.line(d)))
        for d in history:
            self.past.add(edn.hash_of(edn.line(d)))
        entries = dict(db.schema_meta)
        self.schema = {k: v for k, v in entries[K("schema")] if type(k) is Kw}
        self.rschema = {k: set(v.value) if type(v) is Tagged else set() for k, v in entries[K("rschema")]}
        self.idents = dict(entries[K("ident-ref-map")])
        self.more_schema = [(K("system-entities"), entries[K("system-entities")])]
        self.tx, self.instant = self.max_tx, 0
        if K("w/id") not in self.idents:
            self.install()
        else:
            for item in self.trees["eavt"].items():
                if item.d[1] in ATTRIBUTES:
                    self.remember(item)
            self.entities = [e for e in self.model if K("w/id") in self.model[e]]
            self.counter = max([int(next(iter(self.model[e][K("w/id")].values())).d[2].split("-")[1]) for e in self.entities] or [0])
        self.grow()

    def install(self):
        """One transaction with our schema."""
        self.begin()
        for ident, (kind, cardinality, index, unique, no_history) in ATTRIBUTES.items():
            self.max_eid += 1
            e = self.max_eid
            self.idents[ident] = e
            facts = [(K("db/ident"), ident), (K("db/valueType"), K("db.type/" + kind)), (K("db/cardinality"), cardinality)]
            facts += [(K("db/index"), True)] * index + [(K("db/unique"), K("db.unique/identity"))] * unique
            facts += [(K("db/noHistory"), True)] * no_history
            self.schema[ident] = Map(facts)
            groups = [(K("db/ident"), True), (cardinality, cardinality == MANY), (K("db/index"), index or unique or kind == "ref"),
                      (K("db/unique"), unique), (K("db.unique/identity"), unique), (K("db/noHistory"), no_history),
                      (K("db.type/ref"), kind == "ref")]
            for group, member in groups:
                if member:
                    self.rschema.setdefault(group, set()).add(ident)
            for a, v in facts:
                self.add(e, a, v)
        self.commit()

    def grow(self):
        """Transactions until the store has the size it was asked for."""
        while self.current.count < self.args.datoms:
            self.begin()
            until = min(self.args.datoms, self.current.count + max(100, self.args.datoms // 8))
            while self.current.count < until:
                self.new_entity()
            self.commit()

    # -- what a transaction does

    def begin(self):
        self.store.tick()
        self.max_tx += 1
        self.tx, self.touched = self.max_tx, set()
        self.instant = self.store.now
        if self.created is None:
            self.created = Inst(self.instant)
        self.insert(self.tx, K("db/txInstant"), Inst(self.instant))

    def within(self, group, a):
        return a in self.rschema.get(K(group), ())

    def indices(self, a, temporal=False):
        head = "temporal-" if temporal else ""
        yield self.trees[head + "eavt"]
        yield self.trees[head + "aevt"]
        if self.within("db/index", a):
            yield self.trees[head + "avet"]

    @staticmethod
    def slot(v):
        return type(v), v

    def remember(self, item):
        e, a, v = item.d[:3]
        self.model.setdefault(e, {}).setdefault(a, {})[self.slot(v)] = item

    def insert(self, e, a, v):
        """Into the current indices; what is kept of it elsewhere is the caller's business."""
        item = Item(fress.Datom((e, a, v, self.tx, True)))
        for tree in self.indices(a):
            tree.add(item)
        h = edn.hash_of(edn.line(item.d))
        self.current.add(h)
        self.past.add(h)
        self.op_count += 1
        return item

    def into_past(self, item, counts):
        for tree in self.indices(item.d[1], True):
            tree.add(item)
        if counts:
            self.past.add(edn.hash_of(edn.line(item.d)))

    def add(self, e, a, v):
        """`[:db/add e a v]`."""
        held = self.model.get(e, {}).get(a, {})
        many = self.within("db.cardinality/many", a)
        if self.slot(v) in held:
            return
        if held and not many:
            self.retract(next(iter(held.values())))
        item = self.insert(e, a, v)
        if self.keep and not many and not self.within("db/noHistory", a):
            self.into_past(item, False)
        self.remember(item)

    def retract(self, item):
        """`[:db/retract e a v]`, or the half of an overwrite."""
        e, a, v, tx, _ = item.d
        for tree in self.indices(a):
            tree.remove(item)
        h = edn.hash_of(edn.line(item.d))
        self.current.remove(h)
        del self.model[e][a][self.slot(v)]
        if not self.keep or self.within("db/noHistory", a):
            self.past.remove(h)
            return
        if self.within("db.cardinality/many", a):
            self.into_past(item, False)
        self.into_past(Item(fress.Datom((e, a, v, self.tx, False))), True)

    def touch_again(self, item):
        """As 0.6 does with a value that is asserted again: the current datom gets the new tx, the temporal one stays."""
        e, a, v, tx, _ = item.d
        newer = Item(fress.Datom((e, a, v, self.tx, True)))
        for tree in self.indices(a):
            tree.remove(item)
            tree.add(newer)
        self.current.remove(edn.hash_of(edn.line(item.d)))
        self.current.add(edn.hash_of(edn.line(newer.d)))
        self.model[e][a][self.slot(v)] = newer

    def purge(self, e):
        """`:db.purge/entity`: gone from everywhere, without a trace."""
        gone = set()
        for index, tree in self.trees.items():
            if index.endswith("eavt"):
                for item in tree.slice((e,), (e + 1,)):
                    gone.add((index.startswith("temporal"), item))
        past = set()
        for temporal, item in gone:
            for tree in self.indices(item.d[1], temporal):
                tree.remove(item)
            if not temporal:
                self.current.remove(edn.hash_of(edn.line(item.d)))
            past.add(edn.line(item.d))
        for printed in past:
            self.past.remove(edn.hash_of(printed))
        del self.model[e]

    # -- what happens to be written

    def text(self, most):
        return "".join(self.rng.choice(ALPHABET) for _ in range(self.rng.randrange(most)))

    def value(self, a):
        kind, r = ATTRIBUTES[a][0], self.rng
        if kind == "string":
            return self.text(60)
        if kind == "long":
            return r.choice((r.randrange(100), r.randrange(-(1 << 40), 1 << 40), r.randrange(1 << 62)))
        if kind == "double":
            return r.choice((r.randrange(-400, 400) / 4, r.random() * 10.0 ** r.randrange(-9, 12)))
        if kind == "keyword":
            return K(r.choice(("red", "blue", "w.colour/green", "w.colour/red", f"w/k{r.randrange(40)}")))
        if kind == "instant":
            return Inst(r.randrange(-(10 ** 12), 2 * 10 ** 12))
        if kind == "uuid":
            return uuid.UUID(int=r.getrandbits(128))
        if kind == "boolean":
            return r.random() < 0.5
        return r.choice(self.entities) if self.entities else 1

    def new_entity(self):
        self.max_eid += 1
        self.counter += 1
        e = self.max_eid
        self.add(e, K("w/id"), f"entity-{self.counter}")
        for a in self.rng.sample(list(ATTRIBUTES)[1:], self.rng.randrange(3, 9)):
            self.add(e, a, self.value(a))
        self.entities.append(e)
        return e

    def size(self):
        """Datoms that are no transaction's instant."""
        return self.current.count - (self.max_tx - TX0)

    def operation(self):
        r = self.rng
        chance = r.random()
        if not self.entities or chance < 0.04 and self.size() < self.args.datoms * 1.2:
            self.touched.add(self.new_entity())
            return
        e = r.choice(self.entities)
        if e in self.touched:
            return
        if chance < 0.06 and self.size() > self.args.datoms:
            for held in list(self.model[e].values()):
                for item in list(held.values()):
                    self.retract(item)
            self.entities.remove(e)
            self.touched.add(e)
            return
        a = r.choice(list(ATTRIBUTES)[1:])
        held = self.model[e].get(a, {})
        self.touched.add(e)
        if held and r.random() < 0.25:
            self.retract(r.choice(list(held.values())))
        elif held and self.args.legacy and ATTRIBUTES[a][1] == ONE and not ATTRIBUTES[a][4] and r.random() < 0.3:
            self.touch_again(next(iter(held.values())))
        else:
            self.add(e, a, self.value(a))

    def transact(self):
        self.begin()
        if self.args.purge_every and self.tx % self.args.purge_every == 0 and len(self.entities) > 10:
            e = self.entities.pop(self.rng.randrange(len(self.entities)))
            self.purge(e)
        for _ in range(self.rng.randint(1, self.args.operations)):
            self.operation()
        self.commit()

    # -- how it is stored

    def schema_meta(self):
        idents = sorted(self.idents.items(), key=lambda p: p[1])
        schema = list(self.schema.items()) + [(e, a) for a, e in idents]
        return Map([(K("schema"), Map(schema)),
                    (K("rschema"), Map((k, Tagged("set", sorted(v))) for k, v in self.rschema.items())), *self.more_schema,
                    (K("ident-ref-map"), Map(idents)), (K("ref-ident-map"), Map((e, a) for a, e in idents))])

    def record(self, branch, commit_id, parents):
        legacy = self.args.legacy
        out = self.schema_meta() if self.args.inline_schema else Map([(K("schema-meta-key"), self.schema_key)])
        for index, tree in self.trees.items():
            meta = [(K("index-type"), K(index[-4:]))] + ([] if legacy else [(K("pss/storage-id"), self.id)])
            stored = [(K("meta"), Map(meta)), (K("address"), tree.root.address), (K("count"), tree.count)]
            if not legacy:
                stored += [(K("branching-factor"), self.args.branching), (K("diff-buf-size"), self.args.diff_buf)]
            out.append((K(index + "-key"), Tagged(walk.SETS[legacy], Map(stored))))
            if self.args.fused:
                out.append((K(index + "-root"), tree.tagged(tree.root)))
        if not legacy:
            out.append((K("merkle-roots"), Map((K(i + "-key"), t.root.address) for i, t in self.trees.items())))
        config = Map((k, K(branch) if k == K("branch") else v) for k, v in self.config)
        out += [(K("max-tx"), self.max_tx), (K("max-eid"), self.max_eid), (K("op-count"), self.op_count), (K("hash"), self.op_count),
                (K("config"), config),
                (K("meta"), Map([
                    (K("datahike/commit-id"), commit_id), (K("datahike/parents"), Tagged("set", parents)),
                    (K("datahike/created-at"), Inst(self.created)), (K("datahike/updated-at"), Inst(self.instant)),
                    (K("datahike/id"), self.id), (K("datahike/version"), "DEVELOPMENT"), (K("konserve/version"), None),
                    (K("persistent.set/version"), None), (K("hitchhiker.tree/version"), None)]))]
        return out

    def truth(self, branch, commit_id):
        line = json.dumps({"branch": branch, "commit": str(commit_id), "t": self.max_tx, "current": str(self.current),
                           "history": str(self.past if self.keep else self.current)})
        LOG.write(line + "\n")
        LOG.flush()

    def put_head(self, branch, parents):
        """The commit record, the line of truth, the head."""
        commit_id = self.store.squuid()
        record = self.record(branch, commit_id, parents)
        if not self.args.no_graph:
            self.store.put(commit_id, record, immutable=True)
        self.truth(branch, commit_id)
        self.store.put(K(branch), record)
        return commit_id

    def commit(self):
        args, store = self.args, self.store
        store.tick()
        store.nodes_in_commit = 0
        COMMITS["n"] += 1
        n = COMMITS["n"]
        store.die_after = args.die_after_nodes if args.die_at == n else None
        if args.upgrade_after and n > args.upgrade_after:
            self.upgrade()
        if not args.inline_schema and (self.schema_key is None or len(self.idents) != self.schema_size):
            meta = self.schema_meta()
            self.schema_key, self.schema_size = hasch(meta), len(self.idents)
            store.put(self.schema_key, meta, immutable=True)
        for tree in self.trees.values():
            tree.flush(args.fused)
        if store.die_after is not None:
            raise Die
        new = self.commit_id is None
        self.commit_id = self.put_head("db", [self.commit_id] if not new else [K("db")])
        if new:
            store.put(K("branches"), Tagged("set", [K("db")]))
        store.committed()
        if args.second_branch and n % args.second_branch == 0:
            self.branch()
        if args.gc_every and n % args.gc_every == 0:
            self.collect()
        if args.stop_in_lock == n:
            self.stop_with_locks()

    def upgrade(self):
        """From here on as 0.8 writes; what is there stays."""
        self.args.legacy = self.args.inline_schema = False
        for tree in self.trees.values():
            tree.legacy = False

    def answers(self):
        """What the database holds, as EDN lines beside the store."""
        current, history = walk.Database(self.args.store).current_and_history()
        for name, view, digest in (("current", current, self.current), ("history", history, self.past)):
            lines = sorted(map(edn.line, view))
            if name == "current" or self.keep:
                assert edn.digest_of(lines) == str(digest), name
            Path(f"{self.args.store}.{name}.edn").write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def branch(self):
        """`:side` is forced to where `:db` is."""
        self.side = (set(a for t in self.trees.values() for a in t.addresses()), self.put_head("side", [self.commit_id]),
                     self.schema_key)
        self.store.put(K("branches"), Tagged("set", [K("db"), K("side")]))

    def collect(self):
        """`gc-storage!` with remove-before = now: whatever the heads do not reach is gone."""
        store = self.store
        live = {address_file(a) if a not in store.names else store.names[a] for t in self.trees.values() for a in t.addresses()}
        keys = {K("db"), K("branches"), K("side"), self.commit_id, self.schema_key}
        if getattr(self, "side", None):
            live |= {address_file(a) for a in self.side[0]}
            keys |= set(self.side[1:])
        live |= {file_name(key) for key in keys - {None}}
        dead = [name for name in os.listdir(self.args.store) if name.endswith(".ksv") and name not in live]
        for name in dead:
            store.disk.remove(name)
        store.collected += len(dead)

    def stop_with_locks(self):
        """Stops itself while it holds konserve's locks on the head and the roots."""
        held = [open(Path(self.args.store) / file_name(K("db")), "r+b")]
        for tree in self.trees.values():
            held.append(open(Path(self.args.store) / address_file(tree.root.address), "r+b"))
        for file in held:
            fcntl.lockf(file, fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGSTOP)
        for file in held:
            file.close()


COMMITS = {"n": 0}
LOG = None


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--truth", required=True)
    parser.add_argument("--commits", type=int, default=0, help="stop after so many transactions")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--rate", type=float, default=0, help="commits a second at most")
    parser.add_argument("--datoms", type=int, default=2000, help="current datoms to start with and stay around")
    parser.add_argument("--operations", type=int, default=8, help="operations a transaction at most")
    parser.add_argument("--branching", type=int, default=512)
    parser.add_argument("--legacy", action="store_true", help="nodes as 0.6 writes them")
    parser.add_argument("--upgrade-after", type=int, default=0, help="--legacy for so many commits, then nodes as 0.8 writes them")
    parser.add_argument("--inline-schema", action="store_true", help="the schema in the head, as before 0.6.1592; with --legacy")
    parser.add_argument("--answers", action="store_true", help="in the end write STORE.current.edn and STORE.history.edn")
    parser.add_argument("--no-history", action="store_true")
    parser.add_argument("--no-graph", action="store_true", help="no commit records")
    parser.add_argument("--crypto-hash", action="store_true")
    parser.add_argument("--diff-buf", type=int, default=0, help="datoms that a branch may hold back for its children")
    parser.add_argument("--fused", action="store_true", help="roots inlined in the record")
    parser.add_argument("--recycle", action="store_true", help="superseded addresses are used again")
    parser.add_argument("--grace", type=float, default=0.0, help="seconds before that")
    parser.add_argument("--gc-every", type=int, default=0, help="collect garbage every N commits, remove-before = now")
    parser.add_argument("--second-branch", type=int, default=0, help="force :side to the head every N commits")
    parser.add_argument("--purge-every", type=int, default=0, help="purge an entity every N transactions")
    parser.add_argument("--sync", action="store_true", help="fsync as konserve does by default")
    parser.add_argument("--locks", action="store_true", help="fcntl locks as konserve takes them")
    parser.add_argument("--stop-in-lock", type=int, default=0, help="SIGSTOP itself after commit N, holding locks")
    parser.add_argument("--die-at", type=int, default=0, help="SIGKILL itself in commit N")
    parser.add_argument("--die-after-nodes", type=int, default=0, help="... after so many of its nodes")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.legacy |= bool(args.upgrade_after)
    if args.inline_schema and not args.legacy:
        parser.error("--inline-schema is for stores of 0.6")
    if args.diff_buf and (args.fused or args.legacy):
        parser.error("--diff-buf is neither for fused roots nor for nodes of 0.6")
    if args.recycle and (args.crypto_hash or args.second_branch):
        parser.error("addresses are used again only in stores of one branch without --crypto-hash")
    return args


def main():
    global LOG
    args = arguments()
    LOG = open(args.truth, "a", encoding="utf-8")
    state = {"stop": False, "paused": False}
    signal.signal(signal.SIGTERM, lambda *_: state.update(stop=True))
    signal.signal(signal.SIGUSR1, lambda *_: state.update(paused=not state["paused"]))
    try:
        db = Database(args)
        print(json.dumps({"ready": db.current.count, "commits": COMMITS["n"]}), flush=True)
        started, done = time.monotonic(), 0
        while not state["stop"] and (not args.commits or done < args.commits):
            if args.seconds and time.monotonic() - started > args.seconds:
                break
            while state["paused"] and not state["stop"]:
                time.sleep(0.01)
            db.transact()
            done += 1
            if args.rate:
                time.sleep(max(0.0, started + done / args.rate - time.monotonic()))
    except Die:
        os.kill(os.getpid(), signal.SIGKILL)
    if args.answers:
        db.answers()
    elapsed = time.monotonic() - started
    print(json.dumps({"commits": done, "per_second": round(done / max(elapsed, 1e-9), 1), "nodes": db.store.nodes,
                      "recycled": db.store.recycled, "collected": db.store.collected, "current": str(db.current),
                      "history": str(db.past), "max_tx": db.max_tx}), flush=True)


if __name__ == "__main__":
    main()
