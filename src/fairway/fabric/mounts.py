"""What a container sees beside its host's files: parts of the host's store, mounted where it wants them.

Nothing of it reaches the host or the machine: every change is a mount in the container's own mount namespace.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from fairway.base.errors import Refused
from fairway.fabric.protocol import Mount
from fairway.fabric.syscalls import MountFlag, bind, change_root, mount, mount_tmpfs, unmount

_NEW_ROOT = ".root"
"""In the store: where a container's own root folder is put together."""

_UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def mount_from_store(mounts: Iterable[Mount], store: str) -> None:
    """Put parts of a host's store in their places, outer ones first, and take the store itself out of sight.

    A place that is not there is made, in memory. The caller is in a mount namespace of its own, and nothing of the
    machine can be written in it. Raises Refused, naming the place, for one that cannot be had.
    """
    for wanted in sorted(mounts, key=lambda one: one.target.rstrip("/").count("/")):
        try:
            _put(wanted, store)
        except OSError as error:
            why = error.strerror if error.filename in (None, wanted.target) else f"{error.filename}: {error.strerror}"
            raise Refused(f"{wanted.target}: cannot be put in its place: {why}") from error
    unmount(store)


def _put(wanted: Mount, store: str) -> None:
    source = os.path.join(store, wanted.source)
    if not os.path.exists(source):
        if not wanted.make:
            raise Refused(f"{wanted.target}: there is no {wanted.source.partition('/')[2] or wanted.source} in it")
        os.makedirs(source)
    target = _place_for(wanted.target, store, directory=os.path.isdir(source))
    bind(source, target, read_only=wanted.read_only)


def _place_for(path: str, store: str, *, directory: bool) -> str:
    """Something of the right kind to mount over, where `path` leads; made if it is not there."""
    target = os.path.realpath(path)
    if os.path.exists(target):
        if os.path.isdir(target) != directory:
            here, given = ("a file", "a folder") if directory else ("a folder", "a file")
            raise Refused(f"{path}: it is {here} here, and {given} is to be mounted on it")
        return target
    try:
        _make(target, directory=directory)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _mirror(_nearest_directory(target), store)
        _make(target, directory=directory)
    return target


def _make(path: str, *, directory: bool) -> None:
    os.makedirs(path if directory else os.path.dirname(path), exist_ok=True)
    if not directory:
        Path(path).touch()


def _mirror(directory: str, store: str) -> None:
    """Cover a directory with one in memory that shows the same and takes new names.

    Not with an overlay: that shows nothing of what is mounted below, and cannot be stacked on a second one, which the
    machine's own root folder may be.
    """
    descriptor = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        below = f"/proc/self/fd/{descriptor}"
        names = os.listdir(directory)
        if directory != "/":
            mount_tmpfs(directory, 0o755)
            _show(below, names, directory)
            return
        root = os.path.join(store, _NEW_ROOT)
        os.makedirs(root, exist_ok=True)  # another container of the host may have made it
        mount_tmpfs(root, 0o755)
        mount("", root, flags=MountFlag.UNBINDABLE)  # or it would be shown in itself, as it is below /run
        _show(below, names, root)
        change_root(root)
    finally:
        os.close(descriptor)


def _show(below: str, names: Iterable[str], top: str) -> None:
    """Give the directory `top` the entries of another with all that is mounted there."""
    for name in names:
        source, target = f"{below}/{name}", os.path.join(top, name)
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
            continue
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            Path(target).touch()
        bind(source, target)


def _nearest_directory(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
