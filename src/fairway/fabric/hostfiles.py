"""The file system of a host: the machine's own, with some places fresh, some covered and some files replaced.

Nothing of it reaches the machine: every change is a mount in the host's own mount namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fairway.base.errors import Refused
from fairway.fabric.syscalls import bind, make_read_only, mount, mount_tmpfs

FRESH = {"/run": 0o755, "/tmp": 0o1777}  # noqa: S108 - mounted fresh, for this host only
"""Directories every host has to itself, empty at first, with their modes. iptables locks /run/xtables.lock, for one."""

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - mounted fresh, as FRESH
"""Fresh as well where the rest cannot be written: POSIX shared memory lives there (shm_open(3))."""

_SCRATCH = "/tmp"  # noqa: S108 - mounted fresh, as FRESH
"""Where the host's files are kept: under the fresh /tmp, where no path leads any more."""


def furnish(
    files: Mapping[str, str], *, hidden: Iterable[str], visible: Iterable[str], read_only: bool, store: str = ""
) -> None:
    """Give the calling process, in a mount namespace of its own, a host's view of the files.

    read_only: nothing of the machine's own can be written, by root either; the fresh directories can.
    store: a directory to be made and kept empty and in memory, below one of the fresh ones.

    Raises Refused, naming the path, when a file or directory cannot be put in its place.
    """
    if read_only:
        make_read_only("/")
    kept = [(path, _open(path)) for path in visible if _is_covered(path)]
    mount_tmpfs(_SCRATCH, 0o700)
    scratch = _open(_SCRATCH)
    sources = [(path, _write(scratch, index, text)) for index, (path, text) in enumerate(files.items())]
    for directory, mode in FRESH.items():
        mount_tmpfs(directory, mode)
    if read_only and os.path.isdir(_SHARED_MEMORY):
        mount_tmpfs(_SHARED_MEMORY, 0o1777)
    for path, descriptor in kept:
        os.makedirs(path, exist_ok=True)
        _put(descriptor, path, read_only=False)
    for index, (path, descriptor) in enumerate(sources):
        _put(descriptor, _place_for(path, scratch, index), read_only=True)
    for path in hidden:
        _hide(path)
    if store:
        os.makedirs(store)
        mount_tmpfs(store, 0o755)
    os.close(scratch)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error


def _write(scratch: int, index: int, text: str) -> int:
    name = f"file{index}"
    writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=scratch)
    with open(writer, "w", encoding="utf-8") as file:
        file.write(text)
    return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=scratch)


def _put(descriptor: int, target: str, *, read_only: bool) -> None:
    try:
        bind(_path_of(descriptor), target, read_only=read_only)
    except OSError as error:
        raise Refused(f"{target}: cannot be put in its place: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _place_for(path: str, scratch: int, index: int) -> str:
    """A file to mount over, where `path` leads. If there is none one is made, but never on the machine's own disk."""
    target = os.path.realpath(path)
    if os.path.isfile(target):
        return target
    parent = _nearest_directory(target)
    if parent == "/":
        # The root folder cannot be overlaid under a process that stands in it.
        raise Refused(f"{path}: this machine has no such file and no folder for it below /; choose another path")
    try:
        if not _is_fresh(parent):
            _overlay(parent, scratch, index)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    except OSError as error:
        raise Refused(f"{path}: this machine has no such file, and none can be made: {error.strerror}") from error
    return target


def _overlay(directory: str, scratch: int, index: int) -> None:
    """Let what is made in `directory` from now on go to memory (Documentation/filesystems/overlayfs.rst)."""
    for name in (f"upper{index}", f"work{index}"):
        os.mkdir(name, dir_fd=scratch)
    top = _path_of(scratch)
    layers = f"lowerdir={directory},upperdir={top}/upper{index},workdir={top}/work{index}"
    mount("overlay", directory, "overlay", data=layers)


def _hide(path: str) -> None:
    target = os.path.realpath(path)
    if os.path.isdir(target):
        mount_tmpfs(target, 0o555)
    elif os.path.exists(target):
        bind("/dev/null", target)


def _is_covered(path: str) -> bool:
    return any(Path(path).resolve().is_relative_to(directory) for directory in FRESH)


def _is_fresh(directory: str) -> bool:
    return os.stat(directory).st_dev in {os.stat(fresh).st_dev for fresh in FRESH}


def _nearest_directory(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _path_of(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
