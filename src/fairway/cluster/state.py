"""What a lab keeps on disk: one folder each, which lab is alive, and a lock against a second hand.

STATE/NAME.lock           held while somebody brings the lab up or down
STATE/NAME/.fairway-lab   marks the folder as a lab's: no other is ever removed
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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.fabric.init import process_start_time
from fairway.fabric.unixsocket import connect, peer_pid
from fairway.plan.options import Mode
from fairway.watch.kubeconfig import Credentials, load_kubeconfig

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
"""A DNS label, at most 32 characters: it becomes part of host names, interface aliases and a socket's path."""

_MARK = ".fairway-lab"

FORMAT = 2
"""Of lab.json and of what is said on a lab's sockets: another one with each change that other versions of fairway would
misunderstand. The first had no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRecord:
    """How a lab is found again.

    pid, start_time: its first process as the host sees it, and field 22 of /proc/PID/stat, so that another process
    that got the same pid is never taken for it. api: the API server's URL on the host's loopback. clients: the
    addresses of each client outside the cluster, by name. mode: what its nodes' rules are written with; modes: by
    node, where one has another. families: those its networks have, as the API names them, the primary one first.
    images: by name, the paths of the machine's software that stands for them. format: FORMAT of who wrote it.
    """

    name: str
    pid: int
    start_time: int
    api: str
    created: str
    clients: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Mode = Mode.NFTABLES
    modes: Mapping[str, Mode] = field(default_factory=dict)
    families: tuple[str, ...] = (Family.IPV4.api_name,)
    images: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def mode_of(self, node: str) -> Mode:
        """What the rules of a node are written with."""
        return self.modes.get(node, self.mode)


class _Stamp(msgspec.Struct, frozen=True):
    """What a record says in every format."""

    pid: int
    start_time: int
    format: int = 1


def state_root() -> Path:
    """The folder of all labs of this user: $FAIRWAY_STATE_DIR, else $XDG_STATE_HOME/fairway, else below HOME.

    Absolute, since the lab's programs work elsewhere; a relative $XDG_STATE_HOME does not count (XDG Base Directory
    Specification). A user without a writable HOME gets a private folder under /tmp; Refused if somebody else's stands
    there.
    """
    if explicit := os.environ.get("FAIRWAY_STATE_DIR"):
        return Path(os.path.abspath(explicit))
    base = os.environ.get("XDG_STATE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".local" / "state"
    if not os.path.isabs(base) and os.environ.get("HOME") == "":
        return _private_tmp()  # expanduser would name the root directory
    try:
        (home / "fairway").mkdir(parents=True, exist_ok=True)
    except OSError:
        return _private_tmp()
    return home / "fairway" if os.access(home / "fairway", os.W_OK) else _private_tmp()


def _private_tmp() -> Path:
    path = Path(f"/tmp/fairway-{os.getuid()}")  # noqa: S108 - owner and mode are checked below
    with _on_disk(path):
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
    def skews(self) -> Path:
        """The folder of probes that a fault skews."""
        return self.folder / "skews"

    @property
    def faults(self) -> Path:
        """The socket of the keeper of faults."""
        return self.folder / "faults.sock"

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
        """An empty folder, what a dead lab left in it removed. Raises Refused where that cannot be."""
        self.remove()
        with _on_disk(self.root):
            self.folder.mkdir(mode=0o700, parents=True)
            (self.folder / _MARK).touch()
            for folder in (self.logs, self.pki, self.database.parent):
                folder.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder, if there is one. Raises Refused for something that no lab has made."""
        with _on_disk(self.root):
            if not os.path.lexists(self.folder):
                return
            if self.folder.is_symlink() or not self.folder.is_dir() or not self._is_ours():
                raise Refused(
                    f"{self.folder} is not the folder of a lab, and stays as it is: "
                    "remove it yourself, choose another --name, or set FAIRWAY_STATE_DIR"
                )
            for path in self.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != _MARK:
                    path.unlink()
            # The mark goes last: interrupted before, the folder is still known for what it is.
            shutil.rmtree(self.folder)

    def write_record(self, record: LabRecord) -> None:
        """Raises Refused where it cannot be written."""
        temporary = self.folder / "lab.json.new"
        with _on_disk(self.root):
            temporary.write_text(json.dumps(asdict(record), indent=1) + "\n")
            temporary.rename(self.folder / "lab.json")

    def record(self) -> LabRecord | None:
        """The lab that is up under this name, None if none is.

        Raises Refused, with the way out, if its record cannot be read or is another version's.
        """
        file = self.folder / "lab.json"
        try:
            text = file.read_bytes()
            stamp = msgspec.json.decode(text, type=_Stamp)
            if stamp.format != FORMAT:
                raise Refused(
                    f"lab {self.name!r} is of another version of fairway (format {stamp.format} in {file}, this one's "
                    f"is {FORMAT}): {self._way_out}"
                )
            record = msgspec.json.decode(text, type=LabRecord)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refused(f"{file} is damaged ({error}): {self._way_out}") from error
        except IsADirectoryError:
            raise Refused(f"{file} is a folder, no file: {self._way_out}") from None
        except OSError as error:
            raise Refused(f"{file}: {error.strerror}; FAIRWAY_STATE_DIR names another folder for labs") from error
        return record if _is_running(record) else None

    @property
    def _way_out(self) -> str:
        return f"take it down with: fairway down --name {self.name}"

    def credentials(self) -> Credentials:
        """Those of the lab's kubeconfig. Raises Refused, with the way out, where it is missing or damaged."""
        try:
            return load_kubeconfig(self.kubeconfig)
        except Refused as error:
            raise Refused(f"lab {self.name!r} has no kubeconfig that can be used ({error}): {self._way_out}") from error

    def check_free(self) -> None:
        """Raises Refused, with the way out, if a lab is up under this name, or one was that cannot be told any more."""
        if self.record():
            raise Refused(f"lab {self.name!r} is up already; use it, or {self._way_out}")
        if self.first_process():
            raise Refused(self._lost("lab.json"))

    def adopt(self) -> None:
        """Mark the folder as a lab's, as the process that answers in it shows, so that it can be removed."""
        with _on_disk(self.root):
            (self.folder / _MARK).touch()

    def first_process(self) -> tuple[int, int] | None:
        """Pid and start time of the first process that runs, None if none does.

        Where the record is lost or damaged, the process that answers at the lab's socket is asked for.
        """
        try:
            stamp = msgspec.json.decode((self.folder / "lab.json").read_bytes(), type=_Stamp)
            if _is_running(stamp):
                return stamp.pid, stamp.start_time
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            pass
        try:
            with connect(self.socket) as connection:
                pid = peer_pid(connection)
            return pid, process_start_time(pid)
        except (Refused, ProcessLookupError):
            return None

    def living(self) -> LabRecord:
        """As `record`; raises Refused, naming the labs there are, if none is up under this name.

        Also, with the way out, if a file that its use takes is lost.
        """
        if record := self.record():
            for path in (self.socket, self.kubeconfig):
                if not path.exists():
                    raise Refused(self._lost(path.name))
            return record
        if self.first_process():
            raise Refused(self._lost("lab.json"))
        others = [other.name for other in labs()]
        known = (
            f"labs that are up: {', '.join(others)}" if others else f"bring it up with: fairway up --name {self.name}"
        )
        raise Refused(f"there is no lab {self.name!r}; {known}")

    def _lost(self, name: str) -> str:
        return f"lab {self.name!r} runs, but its {self.folder / name} is lost: {self._way_out}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lab's name; raises Refused if another process brings it up or down right now."""
        with _on_disk(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.root / f"{self.name}.lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(
                    f"lab {self.name!r} is being brought up or down by another command: wait for it"
                ) from None
            yield

    def _is_ours(self) -> bool:
        """Whether a lab made the folder; one that is empty is that of a lab killed in its first moment."""
        return (self.folder / _MARK).exists() or not any(self.folder.iterdir())


def labs() -> list[LabRecord]:
    """The labs of this user that are up, by name; one whose record is damaged is left out."""
    root = state_root()
    found = []
    for file in sorted(root.glob("*/lab.json")):
        with contextlib.suppress(Refused):
            if record := LabState(name=file.parent.name, root=root).record():
                found.append(record)
    return found


@contextlib.contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    """Turn a refusal of the file system into one that names the way out."""
    try:
        yield
    except OSError as error:
        raise Refused(
            f"{error.filename or folder}: {error.strerror or error}; "
            "labs need a folder that this user can write: set FAIRWAY_STATE_DIR to one"
        ) from error


def _is_running(record: LabRecord | _Stamp) -> bool:
    try:
        return process_start_time(record.pid) == record.start_time
    except ProcessLookupError:
        return False
