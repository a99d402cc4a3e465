"""The corpora of benches/peers: made from a seed, each in two versions that are swapped in place.

DIR/X/live  what is backed up: the first version, or after `mutate` the second
DIR/X/alt   the files of the other version; swapping is renaming, so nothing is copied

A  a source tree: the sources and documentation on this machine in sorted order up to a budget of bytes; written from a
   seed where there are not enough. Second version: 1 % of the files touched, 0.5 % edited, some renamed, removed, new.
B  big files: an image of a disk, random bytes, a log. Second version: 1 % of the image's blocks overwritten, 100 bytes
   inserted in the middle of the random bytes, 1 % appended to the log.
C  one SQLite database of 1 GiB at scale 1. Second version: 2 % of its rows updated, 1 % inserted.
"""

import functools
import json
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20
SOURCES = ["~/.cargo/registry/src", "/usr/share/doc", "/usr/include", "/usr/lib/python3", "/usr/share/perl", "~/.rustup/toolchains"]
NAMES = {"A": "source tree", "B": "big files", "C": "SQLite file"}


def make(folder, corpus, scale, seed=42):
    """The folder of a corpus, made if it is not there yet; in its first version."""
    root = Path(folder) / corpus
    if (root / "state").exists():
        revert(root)
        return root
    shutil.rmtree(root, ignore_errors=True)
    live, alt = root / "live", root / "alt"
    live.mkdir(parents=True)
    alt.mkdir()
    rng = random.Random(seed * 1000 + ord(corpus))
    plan = {"touch": [], "swap": [], "new": [], "rename": [], "delete": []}
    plan.update({"A": source_tree, "B": big_files, "C": database}[corpus](live, alt, rng, scale))
    (root / "plan.json").write_text(json.dumps(plan))
    (root / "state").write_text("v1")
    return root


def mutate(root):
    """Puts the second version in place."""
    if state(root) == "v2":
        return
    plan, now = json.loads((root / "plan.json").read_text()), time.time()
    live, alt = str(root / "live") + "/", str(root / "alt") + "/"
    for name in plan["swap"]:
        swap(live + name, alt + name)
    for name in plan["swap"] + plan["touch"]:
        os.utime(live + name, (now, now))
    for name in plan["delete"]:
        move(live + name, alt + "deleted/" + name)
    for name, to in plan["rename"]:
        os.rename(live + name, live + to)
    for name in plan["new"]:
        os.rename(alt + name, live + name)
    (root / "state").write_text("v2")


def revert(root):
    """Puts the first version back in place."""
    if state(root) == "v1":
        return
    plan = json.loads((root / "plan.json").read_text())
    live, alt = str(root / "live") + "/", str(root / "alt") + "/"
    for name in plan["swap"]:
        swap(live + name, alt + name)
    for name in plan["new"]:
        os.rename(live + name, alt + name)
    for name, to in plan["rename"]:
        os.rename(live + to, live + name)
    for name in plan["delete"]:
        os.rename(alt + "deleted/" + name, live + name)
    (root / "state").write_text("v1")


def touch(root):
    """Gives the files of the plan new times and nothing else; their number."""
    names, now = json.loads((root / "plan.json").read_text())["touch"], time.time()
    for name in names:
        os.utime(root / "live" / name, (now, now))
    return len(names)


def size(folder):
    """(files, bytes) below a folder."""
    count = total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            count, total = count + 1, total + os.lstat(os.path.join(path, name)).st_size
    return count, total


def warm(folder):
    """Reads everything once, so that all who come next find it in memory."""
    for path, _, names in os.walk(folder):
        for name in names:
            name = os.path.join(path, name)
            if os.path.isfile(name) and not os.path.islink(name):
                with open(name, "rb", buffering=0) as file:
                    while file.read(4 * MIB):
                        pass


def state(root):
    return (root / "state").read_text().strip()


def swap(a, b):
    os.rename(a, a + ".swap~")
    os.rename(b, a)
    os.rename(a + ".swap~", b)


def move(a, b):
    os.makedirs(os.path.dirname(b), exist_ok=True)
    os.rename(a, b)


@functools.cache
def vocabulary():
    syllables = ("ba co di fu ga he in jo ka lo mi no or pe qua re sta ti un ve wi xe yo za tion ment er ing able pre").split()
    rng = random.Random(12345)
    return ["".join(rng.choice(syllables) for _ in range(rng.choice((1, 2, 2, 3, 3, 4)))) for _ in range(4000)]


def word(rng):
    """Words as often as in a language: few of them make up most of a text."""
    return vocabulary()[min(int(rng.paretovariate(0.9)) - 1, 3999)]


def sentence(rng, words):
    return " ".join(word(rng) for _ in range(words))


def source_tree(live, alt, rng, scale):
    budget = int(1250 * MIB * scale)
    if copy_sources(live, budget) < budget * 0.95:
        shutil.rmtree(live)
        live.mkdir()
        write_sources(live, rng, budget)
    names = []
    for path, folders, files in os.walk(live):
        folders.sort()
        names += [os.path.relpath(os.path.join(path, name), live) for name in sorted(files)]
    names = [name for name in names if not (live / name).is_symlink()]
    rng.shuffle(names)
    count, rest = len(names), iter(names)
    take = lambda wanted: [next(rest) for _ in range(wanted)]
    plan = {"touch": take(count // 100), "swap": take(max(count // 200, 1)), "new": []}
    plan["rename"] = [[name, os.path.join(os.path.dirname(name), "renamed_" + os.path.basename(name))]
                      for name in take(min(200, count // 20))]
    plan["delete"] = take(min(100, count // 40))
    for name in plan["swap"]:
        data = (live / name).read_bytes()
        (alt / name).parent.mkdir(parents=True, exist_ok=True)
        middle, gone = len(data) // 2, rng.randrange(80)
        (alt / name).write_bytes(data[:middle] + sentence(rng, rng.randrange(3, 40)).encode() + data[middle + gone:])
    for number, beside in enumerate(take(count // 200)):
        name = os.path.join(os.path.dirname(beside), f"new_{number:04}.txt")
        (alt / name).parent.mkdir(parents=True, exist_ok=True)
        (alt / name).write_text("\n".join(sentence(rng, 12) for _ in range(rng.randrange(10, 400))))
        plan["new"].append(name)
    return plan


def copy_sources(live, budget):
    total = 0
    for source in map(os.path.expanduser, SOURCES):
        for path, folders, names in os.walk(source):
            folders.sort()
            to = os.path.join(live, source.strip("/").replace("/", "_"), os.path.relpath(path, source))
            for name in sorted(names):
                found = os.path.join(path, name)
                if os.path.islink(found):
                    os.makedirs(to, exist_ok=True)
                    os.symlink(os.readlink(found), os.path.join(to, name))
                elif os.path.isfile(found) and os.path.getsize(found) <= 8 * MIB:
                    total += os.path.getsize(found)
                    if total > budget:
                        return total
                    os.makedirs(to, exist_ok=True)
                    shutil.copy2(found, os.path.join(to, name))
    return total


def write_sources(live, rng, budget):
    bodies, number, total = [], 0, 0
    while total < budget:
        folder = live / f"package{number // 40:04}" / f"src{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        if bodies and rng.random() < 0.12:
            body = rng.choice(bodies)
        else:
            wanted, text = min(int(rng.lognormvariate(8.6, 1.5)) + 20, 2 * MIB), []
            while wanted > 0:
                line = f"{' ' * (4 * rng.randrange(4))}fn {word(rng)}({word(rng)}: {word(rng)}) {{ // {sentence(rng, rng.randrange(1, 9))}\n"
                text.append(line)
                wanted -= len(line)
            body = "".join(text).encode()
            bodies = (bodies + [body])[:2000]
        (folder / f"file{number:06}.rs").write_bytes(body)
        number, total = number + 1, total + len(body)


def log_lines(rng, size, start=1_700_000_000_000):
    """Lines of a log as JSON, a MiB at a time."""
    paths = [f"/api/v1/{word(rng)}/{word(rng)}" for _ in range(300)]
    agents = ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "curl/8.1.2", "okhttp/4.12.0",
              "python-requests/2.31.0", "kube-probe/1.29"]
    chance, now, done, lines, length = rng.random, start, 0, [], 0
    while done + length < size:
        now += int(chance() * 40)
        line = ('{"ts":%d,"host":"web-%02d","level":"%s","method":"%s","path":"%s","status":%d,"bytes":%d,"dur_us":%d,'
                '"trace":"%016x","ua":"%s","msg":"%s"}\n' % (
                    now, int(chance() * 12), "INFO" if chance() < 0.93 else "WARN", "GET" if chance() < 0.8 else "POST",
                    paths[int(chance() * chance() * 300)], 200 if chance() < 0.95 else 404, int(chance() * 50000),
                    int(chance() * chance() * 900000), rng.getrandbits(64), agents[int(chance() * 5)], sentence(rng, 2)))
        lines.append(line)
        length += len(line)
        if length > MIB:
            yield "".join(lines).encode()
            done, lines, length = done + length, [], 0
    yield "".join(lines).encode()


def big_files(live, alt, rng, scale):
    image_size, random_size, log_size = (int(n * MIB * scale) for n in (1024, 512, 512))
    text = b"".join(log_lines(random.Random(7), 8 * MIB))
    piece = lambda sizes: text[(at := rng.randrange(6 * MIB)):at + rng.choice(sizes) * KIB]
    pool = [rng.randbytes(rng.choice((16, 64, 64, 256, 1024)) * KIB) if rng.random() < 0.5 else piece((16, 64, 256))
            for _ in range(160)]
    with open(live / "disk.img", "wb") as out:
        while out.tell() < image_size:
            kind = rng.random()
            if kind < 0.22:
                block = bytes(rng.choice((4, 64, 512, 4096)) * KIB)
            elif kind < 0.62:
                block = rng.choice(pool)
            elif kind < 0.80:
                block = rng.randbytes(rng.choice((4, 64, 512)) * KIB)
            else:
                block = piece((64, 512))
            block = block[:image_size - out.tell()]
            out.write(block + bytes(-len(block) % 4096))
    with open(live / "random.bin", "wb") as out:
        for _ in range(random_size // MIB):
            out.write(rng.randbytes(MIB))
    with open(live / "log.jsonl", "wb") as out:
        out.writelines(log_lines(rng, log_size))
    shutil.copyfile(live / "disk.img", alt / "disk.img")
    with open(alt / "disk.img", "r+b") as out:
        for _ in range(max(int(300 * scale), 10)):
            out.seek(rng.randrange(image_size // 4096) * 4096)
            out.write(rng.randbytes(rng.choice((4, 16, 64)) * KIB))
    with open(live / "random.bin", "rb") as old, open(alt / "random.bin", "wb") as out:
        for _ in range(random_size // MIB // 2):
            out.write(old.read(MIB))
        out.write(rng.randbytes(100))
        shutil.copyfileobj(old, out, MIB)
    shutil.copyfile(live / "log.jsonl", alt / "log.jsonl")
    with open(alt / "log.jsonl", "ab") as out:
        out.writelines(log_lines(rng, log_size // 100, 1_800_000_000_000))
    return {"swap": ["disk.img", "random.bin", "log.jsonl"]}


def database(live, alt, rng, scale):
    orders = write_database(live / "app.db", rng, scale)
    shutil.copyfile(live / "app.db", alt / "app.db")
    change_database(alt / "app.db", rng, orders)
    return {"swap": ["app.db"], "rows": orders}


def write_database(path, rng, scale):
    """Customers and their orders in about a GiB at scale 1; returns how many orders."""
    db = opened(path)
    db.executescript("""
        CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, email TEXT, city TEXT, created INT, balance REAL);
        CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INT, uuid TEXT, ts INT, state TEXT, total REAL, doc TEXT);
        BEGIN;""")
    title = lambda: word(rng).title()
    db.executemany("INSERT INTO customer VALUES(?,?,?,?,?,?)", (
        (i, f"{title()} {title()}", f"{word(rng)}.{word(rng)}{i}@example.org", title(), 1_500_000_000 + rng.randrange(10**8),
         rng.randrange(10**6) / 100) for i in range(max(int(400_000 * scale), 100))))
    orders, batch = 0, max(min(50_000, int(100_000 * scale)), 1000)
    while db.execute("PRAGMA page_count").fetchone()[0] * 4096 <= 1024 * MIB * scale * 0.93:
        db.executemany("INSERT INTO orders VALUES(?,?,?,?,?,?,?)", (order(rng, i) for i in range(orders, orders + batch)))
        orders += batch
    db.execute("CREATE INDEX orders_of_customer ON orders(customer_id)")
    db.execute("COMMIT")
    db.close()
    return orders


def change_database(path, rng, orders):
    """2 % of the orders updated, the younger ones more often, and 1 % inserted; returns how many there are then."""
    db = opened(path)
    db.execute("BEGIN")
    hot = [rng.randrange(orders) if rng.random() < 0.2 else orders - 1 - int(rng.random() ** 2 * orders * 0.3)
           for _ in range(orders // 50)]
    db.executemany("UPDATE orders SET state=?, total=? WHERE id=?",
                   ((("paid", "shipped", "done")[rng.randrange(3)], rng.randrange(10**7) / 100, i) for i in hot))
    new = orders // 100
    db.executemany("INSERT INTO orders VALUES(?,?,?,?,?,?,?)", (order(rng, i) for i in range(orders, orders + new)))
    db.execute("COMMIT")
    db.close()
    return orders + new


def opened(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000;")
    return db


def order(rng, i):
    chance = rng.random
    uuid = "%08x-%04x-4%03x-%04x-%012x" % (rng.getrandbits(32), rng.getrandbits(16), rng.getrandbits(12),
                                           0x8000 | rng.getrandbits(14), rng.getrandbits(48))
    item = lambda most: '{"sku":"%s-%04d","qty":%d}' % (word(rng), int(chance() * 9999), 1 + int(chance() * most))
    doc = '{"currency":"%s","items":[%s,%s],"note":"%s"}' % (("EUR", "USD", "GBP")[int(chance() * 3)], item(5), item(3),
                                                           sentence(rng, int(chance() * 14)))
    state = ("new", "paid", "shipped", "done", "done", "done")[int(chance() * 6)]
    return (i, int(chance() * 400_000), uuid, 1_600_000_000 + i * 7 + int(chance() * 50), state,
            int(chance() * chance() * 100_000) / 100, doc)
