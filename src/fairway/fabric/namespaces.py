"""The namespaces of a lab and of a host: entered, left, and asked for on a machine that may not give them."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TypeVar

from fairway.base.errors import Unsupported
from fairway.fabric.children import fork
from fairway.fabric.lack import why_no_namespaces
from fairway.fabric.rtnl import RouteSocket, RtnlError, new_bridge, new_veth
from fairway.fabric.syscalls import (
    HOST_NAMESPACES,
    Namespace,
    keep_mounts_private,
    kernel_setting,
    mount_proc,
    setns,
    unshare,
)

T = TypeVar("T")

LAB_NAMESPACES = HOST_NAMESPACES | Namespace.PID
"""What the whole lab has for itself, beside a user namespace where it needs one."""

_CAP_NET_ADMIN = 12
_CAP_SYS_ADMIN = 21
"""linux/capability.h"""

_OLDEST_KERNEL = (5, 8)
"""setns(2) takes a pidfd since Linux 5.8."""

_NFT_GET_GENERATION = struct.pack("=IHHIIBBH", 20, 10 << 8 | 16, 0x1 | 0x4, 1, 0, 0, 0, 0)
"""nlmsghdr and nfgenmsg of NFT_MSG_GETGEN, the smallest question to nf_tables (linux/netfilter/nf_tables.h)."""

_NLMSG_ERROR = 2
_NETLINK_NETFILTER = 12
"""linux/netlink.h"""


def needs_user_namespace() -> bool:
    """Whether the caller lacks what making the other namespaces takes."""
    wanted = 1 << _CAP_SYS_ADMIN | 1 << _CAP_NET_ADMIN
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16) & wanted != wanted
    return True


def leave_machine(namespaces: Namespace = LAB_NAMESPACES) -> None:
    """Give the calling process namespaces of its own, a lab's by default; a pid namespace begins with its next child.

    A caller without the privilege becomes root of a user namespace in which it is the only user. Raises Unsupported.
    """
    user, group = os.geteuid(), os.getegid()
    rootless = needs_user_namespace()
    try:
        unshare(namespaces | Namespace.USER if rootless else namespaces)
        if rootless:
            # One user and one group are all that user_namespaces(7) lets an unprivileged process map.
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as error:
        raise Unsupported(why_no_namespaces(error.errno or 0, rootless=rootless, setting=kernel_setting)) from error


def settle() -> None:
    """As the first process of the new pid namespace: see only its processes, and let no mount in or out.

    Raises Unsupported.
    """
    keep_mounts_private()
    try:
        mount_proc()
    except OSError as error:
        raise Unsupported(
            f"a /proc of the lab's own cannot be mounted ({error.strerror}): the container around it hides parts of "
            "/proc; start that with --privileged or --security-opt systempaths=unconfined"
        ) from error


def check_support(*, ipv6: bool = False) -> list[Unsupported]:
    """What this machine lacks for a lab, each with the way to get it; none where a lab can be made.

    ipv6: whether the lab is to have both families. It tries the real things in namespaces of their own, and leaves
    nothing behind.
    """
    if sys.platform != "linux":
        return [Unsupported(f"a lab needs Linux, this is {platform.system()}: use a Linux machine or a virtual one")]
    release = platform.release()
    if _version(release) < _OLDEST_KERNEL:
        return [Unsupported(f"a lab needs Linux 5.8 or newer, this is {release}: upgrade the kernel")]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = fork(lambda: _probe(writing, ipv6=ipv6))
    os.close(writing)
    with open(reading, encoding="utf-8") as report:
        text = report.read()
    os.waitpid(child, 0)
    return [Unsupported(message) for message in json.loads(text or '["the check of this machine was ended"]')]


def in_network_of(pid: int, function: Callable[[], T]) -> T:
    """Run a function in the network namespace of a process, in a thread of its own that ends with it.

    A thread, because a namespace belongs to a thread: neither the caller's nor a pool's may be left elsewhere. Sockets
    the function makes stay in that namespace. Raises what it raises, and OSError when there is no such process.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            descriptor = os.pidfd_open(pid)
            try:
                setns(descriptor, Namespace.NET)
            finally:
                os.close(descriptor)
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = Thread(target=run, name=f"netns-of-{pid}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _probe(report: int, *, ipv6: bool) -> int:
    """In a child: leave the machine and try what a lab needs; write the problems as a JSON list."""
    try:
        leave_machine()
    except Unsupported as error:
        os.write(report, json.dumps([str(error)]).encode())
        return 0

    def try_all() -> int:
        probes = (_probe_proc, _probe_links, _probe_rules, *((_probe_ipv6,) if ipv6 else ()))
        problems = [problem for probe in probes if (problem := probe())]
        os.write(report, json.dumps(problems).encode())
        return 0

    os.waitpid(fork(try_all), 0)
    return 0


def _probe_proc() -> str | None:
    try:
        settle()
    except Unsupported as error:
        return str(error)
    return None


def _probe_links() -> str | None:
    kind = "bridge"
    try:
        with RouteSocket() as routes:
            routes.exchange([new_bridge("probe0", mac="02:42:00:00:00:01")])
            kind = "veth"
            routes.exchange([new_veth("probe1", peer="probe2")])
    except (OSError, RtnlError) as error:
        return f"the kernel makes no {kind} links ({error}): as root run: modprobe {kind}"
    return None


def _probe_rules() -> str | None:
    if Path("/proc/net/ip_tables_names").exists() or _has_nf_tables():
        return None
    return "the kernel has neither nf_tables nor ip_tables: as root run: modprobe nf_tables"


def _probe_ipv6() -> str | None:
    if Path("/proc/sys/net/ipv6/conf").exists():
        return None
    return "the kernel has no IPv6 (it was started with ipv6.disable=1, or lacks the module): leave --dual-stack out"


def _has_nf_tables() -> bool:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as netlink:
            netlink.send(_NFT_GET_GENERATION)
            kind: int
            _, kind, *_, error = struct.unpack_from("=IHHIIi", netlink.recv(4096))
            return kind != _NLMSG_ERROR or error == 0
    except OSError:
        return False


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])
