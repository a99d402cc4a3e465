"""The programs that are measured: what each is told to do in a step.

A repository is unlocked by a password or by a key file, and figures are only compared among those that unlock it the same
way. restic and borg have passwords only, bupstash has key files only.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "correct-horse-battery"
STEPS = {
    "init": "init",
    "first": "first backup",
    "unchanged": "unchanged backup",
    "touched": "touched backup",
    "changed": "changed backup",
    "restore": "restore",
    "check": "check",
    "check-data": "check with data",
    "forget-prune": "forget + prune",
}
BACKUPS = ["first", "unchanged", "touched", "changed"]


@dataclass
class Place:
    """Where a program works: folders of its own, and the tree that it backs up."""

    folder: Path
    source: Path
    taken: int = 0

    def __post_init__(self):
        self.repository, self.cache, self.restored = (self.folder / name for name in ("repository", "cache", "restored"))
        self.secret = self.folder / "secret"


class Program:
    """A program; a step is a list of command lines, none where it has no such thing.

    `restore` restores the backup that is `back` before the latest.
    """

    unlocked_by = "password"
    version_flag = "--version"

    def __init__(self, path, name=None):
        self.path, self.name = path, name or os.path.basename(path)

    def version(self):
        done = subprocess.run([self.path, self.version_flag], capture_output=True, text=True)
        return (done.stdout or done.stderr).splitlines()[0].strip()

    def prepare(self, place):
        """Everything before init that is not measured."""
        place.secret.write_text(PASSWORD)

    def environment(self, place):
        return {}

    def commands(self, step, place):
        if step in BACKUPS:
            return [self.backup(place)]
        return [list(map(str, command)) for command in getattr(self, step.replace("-", "_"))(place)]

    def restored_tree(self, place):
        """Where a restore has put the source."""
        nested = place.restored / place.source.relative_to("/")
        return nested if nested.is_dir() else place.restored


class Restic(Program):
    version_flag = "version"

    def environment(self, place):
        return {"RESTIC_REPOSITORY": place.repository, "RESTIC_PASSWORD_FILE": place.secret, "RESTIC_CACHE_DIR": place.cache}

    def init(self, place):
        return [[self.path, "-q", "init"]]

    def backup(self, place):
        return [self.path, "-q", "backup", str(place.source)]

    def restore(self, place, back=0):
        return [[self.path, "-q", "restore", self.earlier(place, back) if back else "latest", "--target", place.restored]]

    def earlier(self, place, back):
        """The snapshot so many before the latest: Debian's restic does not know `latest~N`."""
        environment = dict(os.environ) | {name: str(value) for name, value in self.environment(place).items()}
        listed = subprocess.run([self.path, "snapshots", "--json"], env=environment, capture_output=True, check=True)
        return json.loads(listed.stdout)[-1 - back]["short_id"]

    def check(self, place):
        return [[self.path, "-q", "check"]]

    def check_data(self, place):
        return [[self.path, "-q", "check", "--read-data"]]

    def forget_prune(self, place):
        return [[self.path, "-q", "forget", "--keep-last", "1", "--prune"]]


class Rustic(Program):
    def environment(self, place):
        return {"RUSTIC_REPOSITORY": place.repository, "RUSTIC_PASSWORD_FILE": place.secret, "RUSTIC_CACHE_DIR": place.cache,
                "RUSTIC_NO_PROGRESS": "true", "RUSTIC_LOG_LEVEL": "error"}

    def init(self, place):
        return [[self.path, "init"]]

    def backup(self, place):
        return [self.path, "backup", str(place.source)]

    def restore(self, place, back=0):
        return [[self.path, "restore", f"latest~{back}:{place.source}", place.restored]]

    def check(self, place):
        return [[self.path, "check"]]

    def check_data(self, place):
        return [[self.path, "check", "--read-data"]]

    def forget_prune(self, place):
        # Without the flag it only marks packs, to delete them a day later.
        return [[self.path, "forget", "--keep-last", "1", "--prune", "--instant-delete"]]


class RusticKey(Rustic):
    unlocked_by = "key file"

    def environment(self, place):
        found = super().environment(place)
        found["RUSTIC_KEY_FILE"] = found.pop("RUSTIC_PASSWORD_FILE")
        return found

    def prepare(self, place):
        place.secret.unlink(missing_ok=True)

    def init(self, place):
        return [[self.path, "key", "create", place.secret], [self.path, "init"]]


class Borg(Program):
    def environment(self, place):
        return {"BORG_REPO": place.repository, "BORG_BASE_DIR": place.cache, "BORG_PASSCOMMAND": f"cat {place.secret}",
                "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}

    def init(self, place):
        return [[self.path, "init", "-e", "repokey-blake2"]]

    def backup(self, place):
        return [self.path, "create", f"::s{place.taken}", str(place.source)]

    def restore(self, place, back=0):
        return [[self.path, "extract", f"::s{place.taken - back}"]]

    def check(self, place):
        return [[self.path, "check"]]

    def check_data(self, place):
        return [[self.path, "check", "--verify-data"]]

    def forget_prune(self, place):
        return [[self.path, "prune", "--keep-last", "1"], [self.path, "compact"]]


class Bupstash(Program):
    """Has no check; reading an archive whole is as near as it comes, and leaves out what only older archives reach."""

    unlocked_by = "key file"

    def environment(self, place):
        return {"BUPSTASH_REPOSITORY": place.repository, "BUPSTASH_KEY": place.secret, "XDG_CACHE_HOME": place.cache,
                "HOME": place.cache}

    def prepare(self, place):
        place.secret.unlink(missing_ok=True)

    def init(self, place):
        return [[self.path, "new-key", "-o", place.secret], [self.path, "init"]]

    def backup(self, place):
        return [self.path, "put", "-q", "--send-log", str(place.cache / "log"), f"taken={place.taken}", str(place.source)]

    def restore(self, place, back=0):
        return [[self.path, "restore", "-q", "--into", place.restored, f"taken={place.taken - back}"]]

    def check(self, place):
        return []

    def check_data(self, place):
        return [[self.path, "get", "-q", f"taken={place.taken}"]]

    def forget_prune(self, place):
        older = " or ".join(f"taken={n}" for n in range(1, place.taken)).split()
        return [[self.path, "rm", "-q", "--allow-many", *older], [self.path, "gc", "-q"]]


class Packstone(Program):
    def environment(self, place):
        return {"PACKSTONE_REPOSITORY": place.repository, "PACKSTONE_PASSWORD_FILE": place.secret, "PACKSTONE_CACHE_DIR": place.cache}

    def init(self, place):
        return [[self.path, "-q", "init"]]

    def backup(self, place):
        return [self.path, "-q", "backup", str(place.source)]

    def restore(self, place, back=0):
        return [[self.path, "-q", "restore", f"latest~{back}", "--to", place.restored]]

    def check(self, place):
        return [[self.path, "-q", "check"]]

    def check_data(self, place):
        return [[self.path, "-q", "check", "--read-data"]]

    def forget_prune(self, place):
        return [[self.path, "-q", "forget", "--keep-last", "1", "--prune"]]


class PackstoneKey(Packstone):
    unlocked_by = "key file"

    def environment(self, place):
        found = super().environment(place)
        found["PACKSTONE_KEY_FILE"] = found.pop("PACKSTONE_PASSWORD_FILE")
        return found

    def prepare(self, place):
        place.secret.write_bytes(os.urandom(32))


def found(packstone, wanted):
    """Ours, unless `packstone` is none, and the peers that are installed, of the wanted names if there are any."""
    programs = [Packstone(packstone, "packstone"), PackstoneKey(packstone, "packstone (key)")] if packstone else []
    for name, kinds in [("restic", [Restic]), ("rustic", [Rustic, RusticKey]), ("borg", [Borg]), ("bupstash", [Bupstash])]:
        path = shutil.which(name)
        if path:
            programs += [kind(path, f"{name} (key)" if kind is RusticKey else name) for kind in kinds]
    return [program for program in programs if not wanted or program.name in wanted]
