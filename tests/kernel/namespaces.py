"""Run a test's function where it can do no harm: a fresh network namespace in a forked child.

The child has its own mount namespace too, with an empty /run (xtables' lock, named namespaces), and a user namespace
where the caller is not root. All of it is gone with the child; the machine's own network is never touched.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import fcntl
import os
import pickle
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
"""linux/sched.h, linux/mount.h, linux/prctl.h, linux/sockios.h, linux/if.h."""

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


class ChildError(AssertionError):
    """The function failed in the child; the text is its traceback there."""


def in_namespaces(function: Callable[..., T], *args: Any) -> T:
    """`function(*args)` in a fresh network namespace: its result, which must pickle.

    Raises ChildError with the child's traceback where it raises, and for a child that dies without a word.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(writer, function, args)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        told = answer.read()
    _, status = os.waitpid(child, 0)
    if not told:
        raise ChildError(f"the child ended with status {os.waitstatus_to_exitcode(status)} and said nothing")
    ok, value = pickle.loads(told)
    if not ok:
        raise ChildError(f"in the namespace:\n{value}")
    return value


@contextmanager
def network_namespace() -> Iterator[int]:
    """A second network namespace, kept by a process of its own; its pid, for the time of the block.

    Only inside `in_namespaces`. Enter it with `in_network_of`, give it links by pid.
    """
    ready_reader, ready_writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        die_with_parent()
        unshare(CLONE_NEWNET)
        bring_loopback_up()
        os.write(ready_writer, b".")
        signal.pause()
        os._exit(0)
    os.close(ready_writer)
    try:
        assert os.read(ready_reader, 1) == b"."
        yield holder
    finally:
        os.close(ready_reader)
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)


@contextmanager
def in_network_of(pid: int) -> Iterator[None]:
    """The block runs in the network namespace of process `pid`: sockets opened there stay there."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(other, CLONE_NEWNET))
        yield
    finally:
        _check(_libc.setns(own, CLONE_NEWNET))
        os.close(own)
        os.close(other)


def unshare(flags: int) -> None:
    """Raises OSError where the kernel does not allow it."""
    _check(_libc.unshare(flags))


def die_with_parent() -> None:
    """A test that is killed takes its children with it."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def bring_loopback_up() -> None:
    """`ip link set lo up`, without a program."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _child(writer: int, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Never returns: neither pytest nor anything it registered may run twice."""
    status = 0
    try:
        die_with_parent()
        _enter()
        told = pickle.dumps((True, function(*args)))
    except BaseException:
        told, status = pickle.dumps((False, traceback.format_exc())), 1
    with os.fdopen(writer, "wb") as answer:
        answer.write(told)
    os._exit(status)


def _enter() -> None:
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    # After the maps: a network namespace's /proc files belong to the root its user namespace had when it was made.
    unshare(CLONE_NEWNS | CLONE_NEWNET)
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", "/run", "tmpfs", 0)
    _mount("sysfs", "/sys", "sysfs", 0)
    bring_loopback_up()


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    _check(_libc.mount(_bytes(source), target.encode(), _bytes(kind), flags, None))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
