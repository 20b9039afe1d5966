"""What a container has at / where that is not its host's own: a folder of the machine, or its host's files and more.

A new root is put together of mounts, in a mount namespace of the container's own, and takes the old one's place. The
machine's files in it cannot be written; nothing is copied, and nothing is left when the container has ended.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from fairway.fabric.protocol import ContainerRoot
from fairway.fabric.syscalls import attach_tree, bind, change_root, clone_tree, mount_tmpfs, remount_read_only

_OF_HOST = ("dev", "proc", "run", "sys", "tmp")
"""Directories below / that a container has of its host, whatever folder is its root."""

_FILES_OF_HOST = ("hosts", "resolv.conf", "hostname")
"""Of its /etc, which are the pod's own."""

_TMP = "/tmp"  # noqa: S108 - the host's own, which is the pod's
_STAGE = _TMP
"""Where the root is put together: in a mount over the host's own, which is gone once the root is changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """Descriptors of detached mounts, which move into the container. programs: by name."""

    folder: int | None = None
    programs: Mapping[str, int] = field(default_factory=dict)


def gather(root: ContainerRoot) -> Trees:
    """Take hold of what a root has of the machine, where that can be seen: before a host is entered.

    Raises OSError, naming the path, for what is not there.
    """
    return Trees(
        folder=clone_tree(root.folder, read_only=True) if root.folder else None,
        programs={name: clone_tree(path, read_only=True) for name, path in root.programs.items()},
    )


def enter(root: ContainerRoot, trees: Trees) -> None:
    """Make it the root of the calling process, which is in a host and in a mount namespace of its own.

    Takes the trees over. Raises OSError, naming the path, for what cannot be mounted.
    """
    tmp = clone_tree(_TMP, read_only=False)
    mount_tmpfs(_STAGE, 0o700)
    new, folder = f"{_STAGE}/root", f"{_STAGE}/folder"
    os.mkdir(new)
    mount_tmpfs(new, 0o755)
    for name, text in root.scripts.items():
        _write_script(f"{new}/{name}", text)
    for name, tree in trees.programs.items():
        _attach(tree, _file(f"{new}/{name}"))
    own = (*root.scripts, *root.programs, _TMP.strip("/"))
    if trees.folder is None:
        _assemble("/", new, without=own)
    else:
        os.mkdir(folder)
        _attach(trees.folder, folder)
        _assemble(folder, new, without=(*own, *_OF_HOST, "etc"))
        _furnish(folder, new)
    os.mkdir(f"{new}{_TMP}")
    _attach(tmp, f"{new}{_TMP}")
    remount_read_only(new)
    change_root(new)


def _assemble(source: str, target: str, *, without: Collection[str]) -> None:
    """Have all that is in one directory in another one: a link as a link, anything else as a mount."""
    with os.scandir(source) as entries:
        for entry in entries:
            place = f"{target}/{entry.name}"
            if entry.name in without:
                continue
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif entry.is_dir():
                os.mkdir(place)
                bind(entry.path, place)
            else:
                bind(entry.path, _file(place))


def _furnish(folder: str, new: str) -> None:
    """Add what a root has of the host. Its /etc is put together anew: the folder's may lack a pod's files."""
    for name in _OF_HOST:
        if name != "tmp":
            os.mkdir(f"{new}/{name}")
            bind(f"/{name}", f"{new}/{name}")
    os.mkdir(f"{new}/etc")
    etc = f"{folder}/etc"
    if os.path.isdir(etc) and not os.path.islink(etc):
        _assemble(etc, f"{new}/etc", without=_FILES_OF_HOST)
    for name in _FILES_OF_HOST:
        if os.path.exists(f"/etc/{name}"):
            bind(f"/etc/{name}", _file(f"{new}/etc/{name}"))


def _attach(tree: int, target: str) -> None:
    attach_tree(tree, target)
    os.close(tree)


def _file(path: str) -> str:
    """An empty file to mount over; its path."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    return path


def _write_script(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o755)  # whatever the umask is
        file.write(text)
