"""An ordinary user of this machine, with a copy of the program he can read and an interpreter he can run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import fairway

ORDINARY_UID = 65534
"""nobody on Debian."""

_DEBIAN = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")


def command_for_everyone(folder: Path) -> list[str]:
    """`fairway` for a user who may read nothing of ours: sources and libraries copied below `folder`."""
    sources = Path(fairway.__file__).parent
    libraries = Path(next(path for path in sys.path if path.endswith("site-packages")))
    shutil.copytree(sources, folder / "src" / "fairway", ignore=shutil.ignore_patterns("__pycache__"))
    wanted = shutil.ignore_patterns("mypy*", "ruff*", "__pycache__", "hypothesis", "grimp", "pip", "setuptools")
    shutil.copytree(libraries, folder / "lib", ignore=wanted)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o044 | (0o011 if path.is_dir() else 0))
    script = folder / "fairway.py"
    script.write_text(
        f"import sys\nsys.path[:0] = [{str(folder / 'src')!r}, {str(folder / 'lib')!r}]\n"
        "from fairway.cli.main import main\nmain()\n"
    )
    return [str(_interpreter()), str(script)]


def _interpreter() -> Path:
    """The one that runs the tests where everyone can, else Debian's of the same version."""
    own = Path(sys.executable).resolve()
    readable = all(parent.stat().st_mode & 0o001 for parent in own.parents)
    return own if readable else _DEBIAN


def is_root() -> bool:
    return os.geteuid() == 0
