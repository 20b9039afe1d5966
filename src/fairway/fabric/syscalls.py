"""System calls Python 3.11 has no name for: namespaces, mounts, signalfd. Raises OSError as the kernel answers."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
"""linux/prctl.h"""

_IFF_UP = 0x1
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFREQ_FLAGS = struct.Struct("16sH22x")
"""struct ifreq with ifr_flags (linux/if.h), linux/sockios.h for the requests."""

_SIOCETHTOOL = 0x8946
_ETHTOOL_GLINK = 0x0A
_IFREQ_POINTER = struct.Struct("16sP16x")
"""struct ifreq with ifr_data (linux/if.h), linux/sockios.h, linux/ethtool.h."""

_SIGINFO = struct.Struct("=IiIII108x")
"""struct signalfd_siginfo: signo, errno, code, pid, uid, and the rest of its 128 bytes (linux/signalfd.h)."""

_SYS_MOUNT_SETATTR = 442
"""The same on every architecture (mount_setattr(2), Linux 5.12); the C library has a name for it only since 2.36."""
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
"""The same on every architecture as well (open_tree(2), move_mount(2), Linux 5.2)."""
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
"""linux/mount.h"""
_MNT_DETACH = 2
"""linux/fs.h"""
_MOUNT_ATTR = struct.Struct("=QQQQ")
"""struct mount_attr: attr_set, attr_clr, propagation, userns_fd (linux/mount.h)."""
_MOUNT_ATTR_RDONLY = 1

_SFD_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK


class Namespace(IntFlag):
    """CLONE_NEW* of linux/sched.h."""

    MOUNT = 0x00020000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


HOST_NAMESPACES = Namespace.MOUNT | Namespace.UTS | Namespace.IPC | Namespace.NET
"""What each host has for itself."""

SHARED_NAMESPACES = Namespace.NET | Namespace.UTS
"""What a host within another has of that one."""


class MountFlag(IntFlag):
    """MS_* of linux/mount.h."""

    NONE = 0
    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    REMOUNT = 32
    BIND = 4096
    REC = 16384
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18


_QUIET = MountFlag.NOSUID | MountFlag.NODEV


def unshare(namespaces: Namespace) -> None:
    """Leave these namespaces for new ones; PID: only children to come are in the new one (unshare(2))."""
    _check(_libc.unshare(ctypes.c_int(namespaces)))


def setns(descriptor: int, namespaces: Namespace) -> None:
    """Enter namespaces: of the process a pidfd is for, or the one a /proc/PID/ns file is (setns(2), Linux 5.8)."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(namespaces)))


def mount(source: str, target: str, kind: str = "", flags: MountFlag = MountFlag.NONE, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, target)


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Mount what is at `source`, with all mounted below it, at `target` as well."""
    mount(source, target, flags=MountFlag.BIND | MountFlag.REC)
    if read_only:
        mount("", target, flags=MountFlag.REMOUNT | MountFlag.BIND | MountFlag.RDONLY | _QUIET)


def unmount(target: str) -> None:
    """Take what is mounted at a path out of sight, at once; who has something of it open or bound keeps that."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(_MNT_DETACH)), target)


def make_read_only(target: str) -> None:
    """Allow no writing through any mount at or below a directory, as the caller's mount namespace sees them."""
    _set_read_only(_AT_FDCWD, target, _AT_RECURSIVE, name=target)


def _set_read_only(directory: int, path: str, flags: int, *, name: str) -> None:
    attributes = _MOUNT_ATTR.pack(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(directory),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(flags),
        ctypes.c_char_p(attributes),
        ctypes.c_size_t(_MOUNT_ATTR.size),
    )
    _check(result, name)


def remount_read_only(target: str) -> None:
    """Allow no writing through the mount at a directory; those below it stay as they are."""
    _set_read_only(_AT_FDCWD, target, 0, name=target)


def clone_tree(path: str, *, read_only: bool) -> int:
    """A descriptor of a detached copy of the mounts at and below a file or directory.

    It can be attached in another mount namespace, where the path may lead elsewhere.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    result = _libc.syscall(
        ctypes.c_long(_SYS_OPEN_TREE),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(flags),
    )
    tree = int(_check(result, path))
    if read_only:
        _set_read_only(tree, "", _AT_EMPTY_PATH | _AT_RECURSIVE, name=path)
    return tree


def attach_tree(tree: int, target: str) -> None:
    """Mount what `clone_tree` has taken; the descriptor stays the caller's to close."""
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOVE_MOUNT),
        ctypes.c_int(tree),
        ctypes.c_char_p(b""),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )
    _check(result, target)


def change_root(target: str) -> None:
    """Make a mount the root of the caller's mount namespace, and let go of all that was mounted before."""
    os.chdir(target)
    # The old root lands on top of the new one, from where it is taken away (pivot_root(2), NOTES).
    _check(_libc.pivot_root(ctypes.c_char_p(b"."), ctypes.c_char_p(b".")), target)
    _check(_libc.umount2(ctypes.c_char_p(b"."), ctypes.c_int(_MNT_DETACH)), target)
    os.chdir("/")


def mount_tmpfs(target: str, mode: int) -> None:
    """Cover a directory with an empty one, readable and writable by `mode`."""
    mount("tmpfs", target, "tmpfs", _QUIET, f"mode={mode:o}")


def mount_proc() -> None:
    """A /proc for the pid namespace of the caller."""
    mount("proc", "/proc", "proc", _QUIET | MountFlag.NOEXEC)


def mount_sysfs() -> bool:
    """A /sys whose class/net is that of the caller's network namespace; False where the kernel does not allow one."""
    try:
        mount("sysfs", "/sys", "sysfs", _QUIET | MountFlag.NOEXEC)
    except OSError:
        return False
    return True


def keep_mounts_private() -> None:
    """Let no mount made from here on reach the namespace this one was copied from, nor the other way."""
    mount("", "/", flags=MountFlag.REC | MountFlag.PRIVATE)


def set_process_name(name: str) -> None:
    """What `ps` and /proc/PID/comm show; the kernel keeps 15 bytes."""
    _libc.prctl(ctypes.c_int(_PR_SET_NAME), ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def die_with_parent() -> None:
    """Let the kernel kill the calling process when the thread that forked it ends, however that ends."""
    _check(_libc.prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL), 0, 0, 0))


def signal_descriptor(numbers: Iterable[signal.Signals]) -> int:
    """A descriptor that becomes readable on these signals, which must be blocked (signalfd(2))."""
    # sigset_t of the C library holds 1024 signals; number n is bit n-1.
    mask = (ctypes.c_uint64 * 16)(sum(1 << (number - 1) for number in numbers))
    return int(_check(_libc.signalfd(ctypes.c_int(-1), ctypes.byref(mask), ctypes.c_int(_SFD_FLAGS))))


def read_signals(descriptor: int) -> list[tuple[signal.Signals, int]]:
    """The pending signals of such a descriptor, each with its sender's pid: 0 for one outside this pid namespace."""
    try:
        data = os.read(descriptor, 16 * _SIGINFO.size)
    except BlockingIOError:
        return []
    return [(signal.Signals(number), pid) for number, _, _, pid, _ in _SIGINFO.iter_unpack(data)]


def set_loopback_up() -> None:
    """Take `lo` of the caller's network namespace up; the kernel gives it its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        request = _IFREQ_FLAGS.pack(b"lo", 0)
        _, flags = _IFREQ_FLAGS.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ_FLAGS.pack(b"lo", flags | _IFF_UP))


def settle_link(name: str) -> None:
    """Wait until a link of the caller's network namespace whose peer is up carries packets.

    The kernel gets a link ready that was up before its peer when it finds the time, and loses what is sent until then;
    unless it is asked for the link's state, which does that at once (linkwatch_sync_dev in net/core/link_watch.c).
    """
    question = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_GLINK, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, _IFREQ_POINTER.pack(name.encode(), ctypes.addressof(question)))


def kernel_setting(name: str) -> str | None:
    """A file under /proc/sys; None where this kernel has no such file, or does not show it."""
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _check(result: int, name: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result
