"""Writes the files of a volume so that readers see all of the old ones or all of the new ones.

The layout is the kubelet's (`pkg/volume/util/atomic_writer.go`): the files lie in a directory named for its time,
`..data` is a link to that, and each name that people see is a link through `..data`. One rename changes them all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from fairway.kubelet.volume_files import File

_DATA = "..data"
_NEW_DATA = "..data_tmp"
_TIMED = "..%Y_%m_%d_%H_%M_%S."


def write_files(directory: Path, files: Mapping[str, File], now: datetime) -> None:
    """Make the files of a volume these. directory: the volume's, made if it is not there. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)
    before = _current(directory)
    fresh = Path(tempfile.mkdtemp(prefix=now.strftime(_TIMED), dir=directory))
    fresh.chmod(0o755)
    for path, file in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(file.mode)
    link = directory / _NEW_DATA
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    os.replace(link, directory / _DATA)
    _show(directory, {path.partition("/")[0] for path in files})
    if before is not None:
        shutil.rmtree(before)


def make_empty(directory: Path) -> None:
    """An emptyDir: what is in it stays. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)


def _current(directory: Path) -> Path | None:
    link = directory / _DATA
    return directory / link.readlink().name if link.is_symlink() else None


def _show(directory: Path, names: set[str]) -> None:
    """The names that people see: new ones come, and those of files that are no more go."""
    seen = {entry.name for entry in directory.iterdir() if not entry.name.startswith("..")}
    for name in sorted(names - seen):
        (directory / name).symlink_to(f"{_DATA}/{name}")
    for name in sorted(seen - names):
        (directory / name).unlink()
