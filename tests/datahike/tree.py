"""A persistent sorted set of datoms as Datahike stores one: path copying, branching limits, cached encodings.

In memory a node is edited in place and loses its address; what had been stored under that address is superseded. A
flush stores the nodes without an address, children first, so that nothing that was stored is ever written again.
"""

import uuid
from bisect import bisect_left

import fress
import order
from fress import Datom, Kw, Map, PList, Tagged
from hasch import coerce, hasch, hasch_of_coerced
from walk import Node as Stored


class Item:
    """A datom with its parts encoded, shared by the indices it stands in."""

    __slots__ = ("d", "head", "word", "value_word", "tail", "a_key", "v_key", "coerced", "plain")

    def __init__(self, d):
        self.d = d
        value = d[2]
        writer = fress.Writer()
        if type(value) is not Kw:
            writer.write(value)
        self.plain = not writer.structs and not writer.texts and type(d[1]) is Kw
        self.head = b"\x05" + fress.integer(d[0])
        self.word = str(d[1])
        self.value_word = str(value) if type(value) is Kw else None
        self.tail = writer.bytes() + fress.integer(d[3]) + (b"\xf5" if d[4] else b"\xf6")
        self.a_key = order.attribute_key(d[1])
        self.v_key = order.key(value)
        self.coerced = None

    def hashed(self):
        if self.coerced is None:
            self.coerced = coerce(list(self.d))
        return self.coerced


def sort_key(index):
    """The order of an index, as a function of an item."""
    if index.endswith("eavt"):
        return lambda i: (i.d[0], i.a_key, i.v_key, i.d[3], i.d[4])
    if index.endswith("aevt"):
        return lambda i: (i.a_key, i.d[0], i.v_key, i.d[3], i.d[4])
    return lambda i: (i.a_key, i.v_key, i.d[0], i.d[3], i.d[4])


class Node:
    """`items` are the datoms of a leaf, the greatest datom of each child of a branch; a child may be an address still."""

    __slots__ = ("level", "keys", "items", "kids", "address", "count", "dirty", "base", "buffered")

    def __init__(self, level, keys, items, kids=None, address=None, count=None):
        self.level, self.keys, self.items, self.kids = level, keys, items, kids
        self.address, self.count = address, count
        self.dirty, self.base, self.buffered = address is None, None, 0


class Names:
    """The priority cache of a node that is being encoded."""

    def __init__(self):
        self.texts, self.words = {}, {}

    def text(self, text):
        if text is None:
            return b"\xf7"
        at = self.texts.get(text)
        if at is None:
            self.texts[text] = len(self.texts)
            return b"\xcd" + fress.string(text)
        return bytes((0x80 + at,)) if at < 32 else b"\xcc" + fress.integer(at)

    def word(self, keyword):
        """A keyword by its name: in full the first time, then by what is cached of it."""
        known = self.words.get(keyword)
        if known is None:
            namespace, name = fress.split_name(keyword)
            first = b"\xca" + self.text(namespace) + self.text(name)
            self.words[keyword] = b"\xca" + self.text(namespace) + self.text(name)
            return first
        return known


def counted(n):
    return bytes((0xE4 + n,)) if n < 8 else b"\xec" + fress.integer(n)


class Tree:
    """One index. `store` loads nodes and takes freed addresses; see `writer.Database`."""

    buffer = 0

    def __init__(self, index, store, branching, legacy=False, crypto=False, root=None):
        self.index, self.store, self.branching = index, store, branching
        self.legacy, self.crypto = legacy, crypto
        self.key = sort_key(index)
        self.root = root or Node(0, [], [])
        self.count = 0

    # -- loading

    def adopt(self, stored, address):
        """A node as it was read."""
        items = [self.store.item(d) for d in stored.keys]
        keys = [self.key(i) for i in items]
        kids = None if stored.leaf else list(stored.addresses)
        count = stored.subtree_count
        return Node(stored.level, keys, items, kids, address, len(items) if stored.leaf else count)

    def child(self, node, i):
        kid = node.kids[i]
        if type(kid) is uuid.UUID:
            kid = node.kids[i] = self.adopt(Stored(self.store.reader.load(kid)), kid)
        return kid

    def items(self, node=None):
        """All of them, in order."""
        node = node or self.root
        if node.kids is None:
            yield from node.items
            return
        for i in range(len(node.kids)):
            yield from self.items(self.child(node, i))

    def slice(self, low, high):
        """Items whose keys are within `low` and `high`."""
        return list(self._slice(self.root, low, high))

    def _slice(self, node, low, high):
        i = bisect_left(node.keys, low)
        if node.kids is None:
            while i < len(node.keys) and node.keys[i] < high:
                yield node.items[i]
                i += 1
            return
        while i < len(node.keys):
            yield from self._slice(self.child(node, i), low, high)
            if node.keys[i] >= high:
                return
            i += 1

    def addresses(self, node=None):
        """Every address that is reachable; loads what only an address is known of."""
        node = node or self.root
        if node.address:
            yield node.address
        if node.level == 1:
            for kid in node.kids:
                address = kid if type(kid) is uuid.UUID else kid.address
                if address:
                    yield address
        elif node.kids is not None:
            for i in range(len(node.kids)):
                yield from self.addresses(self.child(node, i))

    # -- editing

    def touch(self, node):
        if node.address:
            self.store.freed(node.address)
            node.address = None

    def reshape(self, node):
        """Before a node is split, joined or shared out."""
        self.touch(node)

    def add(self, item):
        right = self._add(self.root, self.key(item), item)
        self.count += 1
        if right:
            left = self.root
            self.root = Node(left.level + 1, [left.keys[-1], right.keys[-1]], [left.items[-1], right.items[-1]], [left, right])

    def _add(self, node, key, item):
        """The new right half where the node had to be split."""
        i = bisect_left(node.keys, key)
        if node.kids is None:
            if i < len(node.keys) and node.keys[i] == key:
                raise KeyError(f"{item.d} is in {self.index} already")
            self.touch(node)
            node.keys.insert(i, key)
            node.items.insert(i, item)
            return self.split(node)
        i = min(i, len(node.keys) - 1)
        child = self.child(node, i)
        right = self._add(child, key, item)
        self.touch(node)
        node.keys[i], node.items[i] = child.keys[-1], child.items[-1]
        if right:
            node.keys.insert(i + 1, right.keys[-1])
            node.items.insert(i + 1, right.items[-1])
            node.kids.insert(i + 1, right)
        return self.split(node)

    def split(self, node):
        if len(node.keys) <= self.branching:
            return None
        half = len(node.keys) // 2
        self.reshape(node)
        right = Node(node.level, node.keys[half:], node.items[half:], None if node.kids is None else node.kids[half:])
        del node.keys[half:], node.items[half:]
        if node.kids is not None:
            del node.kids[half:]
        return right

    def remove(self, item):
        self._remove(self.root, self.key(item))
        self.count -= 1
        while self.root.kids is not None and len(self.root.kids) == 1:
            self.reshape(self.root)
            self.root = self.child(self.root, 0)

    def _remove(self, node, key):
        i = bisect_left(node.keys, key)
        if node.kids is None:
            if i == len(node.keys) or node.keys[i] != key:
                raise KeyError(f"{key} is not in {self.index}")
            self.touch(node)
            del node.keys[i], node.items[i]
            return
        if i == len(node.keys):
            raise KeyError(f"{key} is not in {self.index}")
        child = self.child(node, i)
        self._remove(child, key)
        self.touch(node)
        if len(child.keys) < self.branching >> 1 and len(node.kids) > 1:
            self.rebalance(node, i)
        else:
            node.keys[i], node.items[i] = child.keys[-1], child.items[-1]

    def rebalance(self, node, i):
        """Joins the short child `i` with its left or right neighbour, or takes half of what is more of the longer one."""
        child = node.kids[i]
        left = self.child(node, i - 1) if i > 0 else None
        right = self.child(node, i + 1) if i + 1 < len(node.kids) else None
        n = len(child.keys)
        if left and len(left.keys) + n <= self.branching:
            self.join(node, i - 1, left, child)
        elif right and len(right.keys) + n <= self.branching:
            self.join(node, i, child, right)
        elif left and (not right or len(left.keys) >= len(right.keys)):
            self.share(node, i - 1, left, child, (len(left.keys) + n) // 2)
        else:
            self.share(node, i, child, right, (n + len(right.keys)) // 2)

    def join(self, node, i, a, b):
        self.reshape(a)
        self.reshape(b)
        a.keys += b.keys
        a.items += b.items
        if a.kids is not None:
            a.kids += b.kids
        del node.keys[i + 1], node.items[i + 1], node.kids[i + 1]
        node.keys[i], node.items[i] = a.keys[-1], a.items[-1]

    def share(self, node, i, a, b, first):
        self.reshape(a)
        self.reshape(b)
        for of in ("keys", "items") if a.kids is None else ("keys", "items", "kids"):
            both = getattr(a, of) + getattr(b, of)
            setattr(a, of, both[:first])
            setattr(b, of, both[first:])
        node.keys[i : i + 2] = [a.keys[-1], b.keys[-1]]
        node.items[i : i + 2] = [a.items[-1], b.items[-1]]

    # -- storing

    def flush(self, keep_root=False):
        """Stores what has no address, children before parents; the root only gets one where it is to be inlined."""
        if self.root.address is None:
            self._flush(self.root, keep_root)

    def _flush(self, node, inlined=False):
        if node.kids is None:
            node.count = len(node.keys)
        else:
            for kid in node.kids:
                if type(kid) is not uuid.UUID and kid.address is None:
                    self._flush(kid)
            counts = [None if type(kid) is uuid.UUID else kid.count for kid in node.kids]
            node.count = sum(counts) if None not in counts and -1 not in counts else -1
        node.address = self.content_address(node) if self.crypto else self.store.new_address()
        if not inlined:
            self.store.put_node(node.address, self.encode(node))

    def content_address(self, node):
        if node.kids is None:
            return hasch_of_coerced(i.hashed() for i in node.items)
        return hasch_of_coerced(b"\7" + str(a).encode() for a in self.kid_addresses(node))

    @staticmethod
    def kid_addresses(node):
        return [kid if type(kid) is uuid.UUID else kid.address for kid in node.kids]

    def entries(self, node):
        """What the node's map holds after its level and keys."""
        out = []
        if node.kids is not None and node.count is not None:
            out.append((Kw("subtree-count"), node.count))
        slots = self.slots(node)
        if slots:
            out.append((Kw("slots"), slots))
        if not self.legacy:
            out += [(Kw("branching-factor"), self.branching), (Kw("diff-buf-size"), self.buffer)]
        return out

    def slots(self, node):
        """What a branch keeps for its children; nothing, in this kind of tree."""

    def tagged(self, node):
        """The node as a value, for a record that inlines it."""
        vector = PList if self.legacy else list
        entries = [(Kw("level"), node.level)] if node.kids is not None or self.legacy else []
        entries.append((Kw("keys"), vector(i.d for i in node.items)))
        if node.kids is not None:
            entries.append((Kw("addresses"), vector(self.kid_addresses(node))))
        return Tagged(self.tag(node), Map(entries + self.entries(node)))

    def tag(self, node):
        kind = "leaf" if node.kids is None else "branch"
        return f"datahike.index.PersistentSortedSet.{kind.title()}" if self.legacy else f"pss/{kind}"

    def encode(self, node):
        """What `fress.encode(self.tagged(node))` gives, from the encoded parts of the datoms."""
        if self.slots(node) or not all(i.plain for i in node.items):
            return fress.encode(self.tagged(node))
        names = Names()
        word = names.word
        leaf, n = node.kids is None, len(node.items)
        more = self.entries(node)
        size = 1 + len(more) + (not leaf) + (not leaf or self.legacy)
        out = [b"\xef", fress.string(self.tag(node)), b"\x01\xc0", counted(2 * size)]
        if not leaf or self.legacy:
            out += [word("level"), fress.integer(node.level)]
        out.append(word("keys"))
        datom_tag, vector_tag = b"\xef" + fress.string("datahike.datom.Datom") + b"\x01", b"\xef" + fress.string("pvec") + b"\x02"
        if self.legacy:
            out.append(counted(n))
            first, then = datom_tag + vector_tag, b"\xa1\xa2"
        else:
            out += [vector_tag, fress.integer(n)]
            first, then = datom_tag + b"\xa1", b"\xa2\xa1"
        known, push = names.words.get, out.append
        for item in node.items:
            push(first)
            push(item.head)
            push(known(item.word) or word(item.word))
            if item.value_word is not None:
                push(word(item.value_word))
            push(item.tail)
            first = then
        if not leaf:
            out += [word("addresses"), counted(n) if self.legacy else b"\xa1" + fress.integer(n)]
            out += [b"\xc3\xd9\x10" + a.bytes for a in self.kid_addresses(node)]
        for name, value in more:
            out += [word(str(name)), fress.integer(value)]
        return b"".join(out)


class BufferedTree(Tree):
    """A tree whose branches keep what changed below them, up to `buffer` datoms, instead of storing the children anew.

    A node's `address` is then where its older content is; `base` is that content, where it is not the node's own: the
    items of a leaf, the addresses below a branch. A node that was split, joined or shared out is stored anew.
    """

    def __init__(self, *arguments, buffer):
        super().__init__(*arguments)
        self.buffer = buffer

    def touch(self, node):
        if not node.dirty:
            node.dirty = True
            if node.address and node.base is None:
                node.base = list(node.items) if node.kids is None else self.kid_addresses(node)

    def reshape(self, node):
        if node.address:
            self.store.freed(node.address)
        node.address, node.base, node.dirty = None, None, True

    def flush(self, keep_root=False):
        if self.root.dirty or self.root.address is None:
            self.settle(self.root, True)

    def settle(self, node, root=False):
        """Stores what must be; how many datoms are buffered for the node and below it afterwards."""
        if not node.dirty:
            return node.buffered
        node.dirty = False
        if node.kids is None:
            node.count = len(node.keys)
            if node.address and not root:
                absent, present = self.difference(node)
                if not absent and not present:
                    node.base = None
                if len(absent) + len(present) <= self.buffer:
                    node.buffered = len(absent) + len(present)
                    return node.buffered
            self.put(node)
            return 0
        for kid in node.kids:
            self.settle(kid)
        node.count = sum(kid.count for kid in node.kids)
        while sum(kid.buffered for kid in node.kids) > self.buffer:
            self.put(max(node.kids, key=lambda kid: kid.buffered))
        if node.address and not root and node.base == self.kid_addresses(node):
            node.buffered = sum(kid.buffered for kid in node.kids)
            return node.buffered
        self.put(node)
        return 0

    def put(self, node):
        if node.address:
            self.store.freed(node.address)
        node.base, node.buffered = None, 0
        node.address = self.content_address(node) if self.crypto else self.store.new_address()
        self.store.put_node(node.address, self.encode(node))

    @staticmethod
    def difference(node):
        """The datoms of the stored leaf that are gone, and those that are new."""
        if node.base is None:
            return [], []
        before, now = set(map(id, node.base)), set(map(id, node.items))
        return [i for i in node.base if id(i) not in now], [i for i in node.items if id(i) not in before]

    def slots(self, node):
        if node.kids is None:
            return None
        out = Map()
        for i, kid in enumerate(node.kids):
            if kid.base is not None:
                if kid.kids is None:
                    absent, present = self.difference(kid)
                    diff = Map([(Kw("present"), [x.d for x in present]), (Kw("absent"), [x.d for x in absent])])
                else:
                    diff = self.slots(kid)
                out.append((i, Map([(Kw("max-key"), kid.items[-1].d), (Kw("measure"), None), (Kw("count"), kid.count),
                                    (Kw("diff"), diff)])))
        return out

    def content_address(self, node):
        slots = self.slots(node)
        if slots:
            return hasch([self.kid_addresses(node), as_vectors(slots)])
        return super().content_address(node)


def as_vectors(x):
    """Datoms as the vectors that are hashed."""
    if type(x) is Map:
        return Map((k, as_vectors(v)) for k, v in x)
    return [as_vectors(y) for y in x] if isinstance(x, (list, Datom)) else x
