"""What the first process's children do between fork and their own work. Every function here runs in a forked child.

A child tells its parent through a pipe: nothing at all when it has become the program it was to be (the pipe closes on
exec), READY when it is a host that stands, or a Failure.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import struct
import sys
import termios
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from fairway.base.errors import FairwayError, Refused, Unsupported
from fairway.fabric import containerroot, protocol
from fairway.fabric.hostfiles import furnish
from fairway.fabric.lack import why_no_namespaces
from fairway.fabric.mounts import mount_from_store
from fairway.fabric.syscalls import (
    HOST_NAMESPACES,
    SHARED_NAMESPACES,
    Namespace,
    kernel_setting,
    mount_proc,
    mount_sysfs,
    set_loopback_up,
    set_process_name,
    setns,
    unshare,
)

READY = b"ready\n"

Program = Callable[[Mapping[str, Any]], int]
"""A program of the lab itself: called with its configuration in a forked child; its result is the exit code."""

_NLMSG = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_RTM_DELLINK = 17
_NLM_F_REQUEST_ACK = 0x1 | 0x4
"""linux/netlink.h, linux/rtnetlink.h: nlmsghdr, ifinfomsg and the request that deletes a link."""

_CRASHED = 70
"""EX_SOFTWARE of sysexits.h: a program of ours ended by an exception."""


def fork(child: Callable[[], int]) -> int:
    """Fork; the child's exit code is what `child` returns. Returns the child's pid, to the parent only."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _exit_with(child)
    return pid


def _exit_with(child: Callable[[], int]) -> NoReturn:
    # Whatever happens, the child must never return into its parent's frames.
    code = _CRASHED
    try:
        code = child()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def reset_handlers() -> None:
    """Every signal's action as Python itself starts with, but for SIGINT, which ends the process; the mask stays.

    Python ignores SIGPIPE and SIGXFSZ, so that a write fails with an exception and does not end the process.
    """
    ignored = {signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        action = signal.SIG_IGN if number in ignored else signal.SIG_DFL
        if signal.getsignal(number) != action:
            signal.signal(number, action)


def _default_signals(blocked: Iterable[int] = ()) -> None:
    """Every signal as a program that is executed expects to find it: its default, and unblocked but for those given."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor above standard error that is not to be kept."""
    low = 3
    for descriptor in sorted(descriptor for descriptor in keep if descriptor >= low):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def redirect_output(log: Path) -> None:
    """Standard input from nothing, output and error to the end of a log file."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    # The caller's own may be anything by now; a traceback must find its way into the log. None is ever closed.
    sys.stdout, sys.stderr = (
        open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )


def hold_host(spec: protocol.HostSpec, report: int, visible: tuple[str, ...], *, around: int | None) -> int:
    """Be a host: make its namespaces and furnish them, say so, and keep them until SIGTERM; then delete its links.

    visible: directories every host of the lab needs to see, beside those of the spec. around: pidfd of the holder of
    the host whose network and name this one shares, if any; its links stay.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
    close_all_but({report} if around is None else {report, around})
    set_process_name(spec.name)
    try:
        if around is None:
            _leave_lab(HOST_NAMESPACES)
            socket.sethostname(spec.hostname)
        else:
            setns(around, SHARED_NAMESPACES)
            os.close(around)
            _leave_lab(HOST_NAMESPACES & ~SHARED_NAMESPACES)
        mount_sysfs()
        furnish(
            {**_own_name(), **spec.files},
            hidden=spec.hidden,
            visible=dict.fromkeys((*visible, *spec.visible)),
            read_only=spec.read_only,
            store=spec.store,
        )
        if around is None:
            set_loopback_up()
    except (OSError, FairwayError) as error:
        return fail(report, _about(f"host {spec.name}", error))
    os.chdir("/")
    os.write(report, READY)
    os.close(report)
    signal.sigwait({signal.SIGTERM})
    if around is None:
        delete_links()
    return 0


def _own_name() -> dict[str, str]:
    """hostname(5), which is to say the same as the kernel; a machine that does without it does so in its hosts too."""
    path = "/etc/hostname"
    return {path: f"{socket.gethostname()}\n"} if os.path.isfile(path) else {}


def delete_links() -> None:
    """Delete every link of this network namespace that can be, and with it its peer elsewhere.

    The kernel does so too when the namespace goes, but later, when nobody waits for it any more.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        for index, name in socket.if_nameindex():
            if name == "lo":
                continue
            body = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, 0, 0)
            header = _NLMSG.pack(_NLMSG.size + len(body), _RTM_DELLINK, _NLM_F_REQUEST_ACK, index, 0)
            netlink.send(header + body)
            netlink.recv(4096)


def execute(
    request: protocol.Spawn, place: int, joined: int | None, descriptors: list[int], report: int, *, store: str
) -> int:
    """Become a program in a host. Returns only when that fails, after telling why.

    place: pidfd of the host's holder; joined: pidfd of the container to join, if any. store: of the host, or "".
    """
    try:
        os.setsid()
        trees = containerroot.gather(request.root) if request.root else containerroot.Trees()
        setns(place, HOST_NAMESPACES)
        if joined is not None:
            setns(joined, Namespace.MOUNT)
        if request.new_pid_namespace:
            unshare(Namespace.MOUNT)
            if request.root:
                containerroot.enter(request.root, trees)
            mount_proc()
            if store:
                mount_from_store(request.mounts, store)
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
        if request.controlling_tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        _change_directory(request.cwd)
    except (OSError, FairwayError) as error:
        return fail(report, _about(f"host {request.host}", error))
    _default_signals((signal.SIGTERM,) if request.hold_sigterm else ())
    try:
        _become(request.argv, request.env)
    except (OSError, ValueError) as error:
        return fail(report, _cannot_execute(request, error))


def run_service(
    program: Program,
    config: Mapping[str, Any],
    *,
    name: str,
    place: int | None,
    descriptors: Mapping[str, int],
    log: Path,
) -> int:
    """Be a program of the lab in a host (its holder's pidfd), or in the lab's own namespaces for None."""
    redirect_output(log)
    os.setsid()
    set_process_name(name)
    if place is not None:
        setns(place, HOST_NAMESPACES)
    os.chdir("/")
    close_all_but(descriptors.values())
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return program({**config, "fds": dict(descriptors)} if descriptors else config)


def _become(argv: tuple[str, ...], env: Mapping[str, str]) -> NoReturn:
    """Execute a program, looked up in PATH as a shell does it: a folder that cannot be searched is passed by."""
    name = argv[0]
    folders = [""] if "/" in name else env.get("PATH", os.defpath).split(os.pathsep)
    found: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in folders:
        candidate = os.path.join(folder, name)
        try:
            os.execve(candidate, argv, env)  # noqa: S606 - a list, no shell
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) and (len(folders) == 1 or os.path.isfile(candidate)):
                found = error
    raise found


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise Refused(f"cannot go to {path}: {error.strerror}") from error


def _cannot_execute(request: protocol.Spawn, error: OSError | ValueError) -> protocol.CannotExecute:
    program = request.argv[0]
    if isinstance(error, ValueError):
        return protocol.CannotExecute(f"{program!r}: {error}", exit_code=protocol.NOT_EXECUTABLE_CODE)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return protocol.CannotExecute(f"{program}: not found", exit_code=protocol.NOT_FOUND_CODE)
    return protocol.CannotExecute(f"{program}: {error.strerror}", exit_code=protocol.NOT_EXECUTABLE_CODE)


def fail(report: int, error: FairwayError) -> int:
    """Tell the parent why, as a Failure; the exit code to end with."""
    os.write(report, protocol.encode(protocol.failure_of(protocol.NO_REQUEST, error)))
    return 1


def _about(what: str, error: OSError | FairwayError) -> FairwayError:
    """The error as one of ours that begins with the name of the object."""
    if isinstance(error, Unsupported):
        return Unsupported(f"{what}: {error}")
    if isinstance(error, FairwayError):
        return Refused(f"{what}: {error}")
    return Refused(f"{what}: {error.filename}: {error.strerror}" if error.filename else f"{what}: {error.strerror}")


def _leave_lab(namespaces: Namespace) -> None:
    try:
        unshare(namespaces)
    except OSError as error:
        why = why_no_namespaces(error.errno or 0, rootless=False, setting=kernel_setting)
        raise Unsupported(why) from error
