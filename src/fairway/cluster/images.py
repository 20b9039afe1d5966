"""Images that a lab's user maps to software of the machine: looked at before anything is built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fairway.base.errors import Refused
from fairway.kubelet.images import MappedImage, Reference, parse_reference

OPTION = "--image"


def split_option(text: str) -> tuple[str, str]:
    """NAME and PATH of `--image NAME=PATH`. Raises Refused for what is none."""
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise Refused(f"{OPTION} {text}: write {OPTION} NAME=PATH, an image's name and a program or folder")
    return name, path


def from_options(options: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Paths by name, absolute; a relative one is of the working directory. Raises Refused for a name given twice."""
    found: dict[str, str] = {}
    for name, path in options:
        if any(_meant(name) == _meant(other) for other in found):
            raise Refused(f"{OPTION} {name}: the image is given twice; give it one path")
        found[name] = absolute(path, Path.cwd())
    return found


def absolute(path: str, folder: Path) -> str:
    """A path as it is written on a command line or in a file, where `~` is somebody's home."""
    return os.path.normpath(folder.absolute() / os.path.expanduser(path))


def together(file: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """The images of a lab file and those told beside it, which win."""
    told = {_meant(name) for name in options}
    return {**{name: path for name, path in file.items() if _meant(name) not in told}, **options}


def check_image(name: str, path: str, *, source: str, private: Path) -> MappedImage:
    """What an image is mapped to, once it is there and can be used.

    path: absolute. source: where a person gave it, for errors. private: the folder of all labs, which no pod may see.
    Raises Refused, naming source and path.
    """
    where = f"{source}: {path}"
    if _meant(name) is None:
        raise Refused(f"{source}: {name!r} is no name of an image; write it as a pod's `image`, such as shop/web:1.2")
    if not os.path.lexists(path):
        raise Refused(f"{where} is not there; give the path of a program or a folder of this machine")
    if os.path.isdir(path):
        return _folder(name, path, where, private)
    if not os.path.isfile(path):
        raise Refused(f"{where} is neither a program nor a folder")
    if not os.access(path, os.X_OK):
        raise Refused(f"{where} is not executable: chmod +x {path}")
    if os.path.lexists(f"/{os.path.basename(path)}"):
        raise Refused(
            f"{where} would be /{os.path.basename(path)} in its pods, which this machine has already; rename it"
        )
    return MappedImage(name=name, path=path, folder=False)


def _folder(name: str, path: str, where: str, private: Path) -> MappedImage:
    if not os.access(path, os.R_OK | os.X_OK):
        raise Refused(f"{where} cannot be read by this user")
    real, labs = Path(path).resolve(), private.resolve()
    if labs.is_relative_to(real) or real.is_relative_to(labs):
        raise Refused(f"{where} holds the labs' own keys ({labs}), or is among them; give another folder")
    return MappedImage(name=name, path=path, folder=True)


def _meant(name: str) -> Reference | None:
    return parse_reference(name, default_tag="")
