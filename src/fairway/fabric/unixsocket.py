"""Unix stream sockets by path, however long it is, and the descriptors sent over them."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from fairway.base.errors import Refused

_MAX_PATH = 107
"""sun_path is 108 bytes with its terminating zero (linux/un.h)."""

_UCRED = struct.Struct("=iII")
"""struct ucred: pid, uid, gid (linux/socket.h)."""


def listen(path: Path) -> socket.socket:
    """Listen at `path` with mode 0600, in the place of a socket nobody answers at.

    Raises Refused where one does answer, or where the directory cannot be written.
    """
    if _answers(path):
        raise Refused(f"{path}: another lab is running here")
    try:
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The mode must be right from the first moment, and fchmod does not reach a socket's file.
        mask = os.umask(0o177)
        try:
            _at(path, listener.bind)
        finally:
            os.umask(mask)
        listener.listen(64)
    except OSError as error:
        raise Refused(f"{path}: cannot make the lab's socket: {error.strerror or error}") from error
    return listener


def connect(path: Path) -> socket.socket:
    """Connect to the socket at `path`. Raises Refused when none answers."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _at(path, connection.connect)
    except OSError as error:
        connection.close()
        raise Refused(f"no lab is running: {path}: {error.strerror or error}") from error
    return connection


def peer_uid(connection: socket.socket) -> int:
    """The effective user of the other end when it connected, as this end's user namespace sees it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])


def peer_pid(connection: socket.socket) -> int:
    """The process that listened at the other end, in this end's pid namespace; 0 where it is not in it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[0])


def send_with_descriptors(connection: socket.socket, data: bytes, descriptors: Sequence[int]) -> int:
    """Send what the socket takes of `data`, the descriptors with its first byte; the count of bytes sent."""
    if not descriptors:
        return connection.send(data)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    return connection.sendmsg([data], [rights])


def receive_with_descriptors(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Receive up to `size` bytes and the descriptors that came with them, close-on-exec.

    Raises Refused for more than `most`, and closes them.
    """
    item = array.array("i").itemsize
    data, ancillary, flags, _ = connection.recvmsg(size, socket.CMSG_SPACE(most * item), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[: len(payload) - len(payload) % item])
    if flags & socket.MSG_CTRUNC:
        for descriptor in descriptors:
            os.close(descriptor)
        raise Refused(f"more than {most} file descriptors in one message")
    return data, list(descriptors)


def _answers(path: Path) -> bool:
    try:
        connect(path).close()
    except Refused:
        return False
    return True


def _at(path: Path, use: Callable[[str], None]) -> None:
    """Call bind or connect with `path`, by its directory's descriptor where it is too long for a sockaddr."""
    name = os.fspath(path)
    if len(os.fsencode(name)) <= _MAX_PATH:
        use(name)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
