"""What a lab keeps on disk: one folder each, which lab is alive, and a lock against a second hand.

STATE/NAME.lock           held while somebody brings the lab up or down
STATE/NAME/lab.json       its first process; written when the lab is up
STATE/NAME/kubeconfig     for people; pki/, data/, log/, init.sock for the lab itself
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fairway.base.errors import Refused
from fairway.fabric.init import process_start_time

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
"""A DNS label, at most 32 characters: it becomes part of host names, interface aliases and a socket's path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRecord:
    """How a lab is found again.

    pid, start_time: its first process as the host sees it, and field 22 of /proc/PID/stat, so that another process
    that got the same pid is never taken for it. api: the API server's URL on the host's loopback.
    """

    name: str
    pid: int
    start_time: int
    api: str
    created: str


def state_root() -> Path:
    """The folder of all labs of this user: $FAIRWAY_STATE_DIR, else $XDG_STATE_HOME/fairway, else below HOME.

    A user without a writable HOME gets a private folder under /tmp; Refused if somebody else's stands there.
    """
    if explicit := os.environ.get("FAIRWAY_STATE_DIR"):
        return Path(explicit)
    base = os.environ.get("XDG_STATE_HOME")
    home = Path(base) if base else Path(os.path.expanduser("~")) / ".local" / "state"
    try:
        (home / "fairway").mkdir(parents=True, exist_ok=True)
    except OSError:
        return _private_tmp()
    return home / "fairway" if os.access(home / "fairway", os.W_OK) else _private_tmp()


def _private_tmp() -> Path:
    path = Path(f"/tmp/fairway-{os.getuid()}")  # noqa: S108 - owner and mode are checked below
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise Refused(f"{path} is not a private folder of this user: set FAIRWAY_STATE_DIR to one that is")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """The folder of one lab."""

    name: str
    root: Path

    @classmethod
    def of(cls, name: str) -> LabState:
        """Raises Refused if `name` cannot be the name of a lab."""
        if not NAME.fullmatch(name):
            raise Refused(
                f"lab name {name!r} is not valid: use lower case letters, digits and '-', "
                "starting and ending with a letter or digit, at most 32"
            )
        return cls(name=name, root=state_root())

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def socket(self) -> Path:
        return self.folder / "init.sock"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def database(self) -> Path:
        return self.folder / "data" / "apiserver.db"

    def create(self) -> None:
        """An empty folder, what a dead lab left in it removed."""
        self.remove()
        for folder in (self.folder, self.logs, self.pki, self.database.parent):
            folder.mkdir(mode=0o700, parents=True)

    def remove(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def write_record(self, record: LabRecord) -> None:
        temporary = self.folder / "lab.json.new"
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n")
        temporary.rename(self.folder / "lab.json")

    def record(self) -> LabRecord | None:
        """The lab that is up under this name, None if none is."""
        try:
            record = LabRecord(**json.loads((self.folder / "lab.json").read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise Refused(
                f"{self.folder}/lab.json is damaged ({error}): if no lab runs, remove the folder {self.folder}"
            ) from error
        return record if _is_running(record) else None

    def living(self) -> LabRecord:
        """As `record`; raises Refused, naming the labs there are, if none is up under this name."""
        if record := self.record():
            return record
        others = [other.name for other in labs()]
        known = (
            f"labs that are up: {', '.join(others)}" if others else f"bring it up with: fairway up --name {self.name}"
        )
        raise Refused(f"there is no lab {self.name!r}; {known}")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lab's name; raises Refused if another process brings it up or down right now."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / f"{self.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(
                    f"lab {self.name!r} is being brought up or down by another command: wait for it"
                ) from None
            yield


def labs() -> list[LabRecord]:
    """The labs of this user that are up, by name."""
    root = state_root()
    names = sorted(path.parent.name for path in root.glob("*/lab.json"))
    records = (LabState(name=name, root=root).record() for name in names)
    return [record for record in records if record]


def _is_running(record: LabRecord) -> bool:
    try:
        return process_start_time(record.pid) == record.start_time
    except ProcessLookupError:
        return False
