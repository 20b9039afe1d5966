"""The objects a verb is about: those in files, or those of a cluster."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairway.api.manifest import parse_objects
from fairway.api.types import Object
from fairway.base.errors import Refused

if TYPE_CHECKING:
    from fairway.cluster.state import LabState

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the objects are: in files ("-" is standard input) if there are any, else in a kubeconfig's cluster.

    kubeconfig: None for the one kubectl would take.
    """

    files: tuple[str, ...] = ()
    kubeconfig: Path | None = None

    def lab(self) -> LabState | None:
        """The lab whose cluster it is; None for files, and for another cluster."""
        if self.files:
            return None
        from fairway.cluster.state import LabState, labs  # not loaded for files

        path = self.kubeconfig or _default_kubeconfig()
        for state in [LabState.of(record.name) for record in labs()]:
            if path.exists() and state.kubeconfig.exists() and path.samefile(state.kubeconfig):
                return state
        return None


def read_objects(source: Source) -> list[Object]:
    """All objects, as they are written there.

    Raises Refused, naming the file and the place in it, for what cannot be read; ApiError and Retry as Client does.
    """
    with without_collector():
        if source.files:
            return read_files(source.files)
        from fairway.cluster.objects_api import list_objects  # a client costs a fifth of a second, and files need none

        return list_objects(source.kubeconfig or _default_kubeconfig())


def read_files(files: Sequence[str]) -> list[Object]:
    """The objects in files, in their order. Raises Refused as `read_objects` does."""
    return [obj for file in files for obj in parse_objects(_read(file), source="stdin" if file == STDIN else file)]


@contextmanager
def without_collector() -> Iterator[None]:
    """Leave memory alone for a while: a large cluster is millions of values, and none of them is garbage yet."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{file}: it is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None


def _default_kubeconfig() -> Path:
    """As kubectl finds it: the first of $KUBECONFIG that is there, else ~/.kube/config."""
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    home = Path("~/.kube/config").expanduser()
    path = next((path for path in [*named, home] if path.exists()), None)
    if path is None:
        if named:
            raise Refused(
                f"there is no kubeconfig {named[0]} ($KUBECONFIG); name a file of objects with -f, or another"
            )
        raise Refused(
            "no objects: name a file of them with -f, or a cluster with --kubeconfig or $KUBECONFIG "
            "(of a lab: export KUBECONFIG=$(fairway kubeconfig))"
        )
    return path
