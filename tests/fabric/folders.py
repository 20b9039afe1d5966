"""Folders that are a root of their own: a shell with the libraries it is linked with."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path


def make_root(folder: Path, *programs: str) -> Path:
    """A folder with programs of the machine in its /bin, and the libraries they need where they look for them."""
    for name in programs:
        path = shutil.which(name)
        assert path is not None
        _copy(Path(path).resolve(), folder / "bin" / name)
        linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", linked):
            _copy(Path(library).resolve(), folder / library.lstrip("/"))
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)
