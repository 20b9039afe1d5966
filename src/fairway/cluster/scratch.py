"""Where a bench or a proof works: network namespaces of its own, each held by a forked child and gone with it.

Nothing of the machine's own network is touched, however the work ends: a child dies with its parent, and the kernel
takes a namespace away with its last process. As an ordinary user the child is root of a user namespace.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fairway.base.errors import FairwayError
from fairway.cluster.tools import HOST_PATH
from fairway.fabric.children import fork, reset_handlers
from fairway.fabric.namespaces import leave_machine
from fairway.fabric.syscalls import (
    Namespace,
    die_with_parent,
    keep_mounts_private,
    mount_sysfs,
    mount_tmpfs,
    set_loopback_up,
    setns,
    unshare,
)

T = TypeVar("T")

_HELD = b"."


def in_scratch(function: Callable[[], T]) -> T:
    """What `function` returns in a forked child, in a fresh network namespace; it must pickle.

    The child also has its own mounts, with an empty /run: xtables' lock is there. Raises Unsupported where the machine
    gives no namespaces, FairwayError as the function does, and RuntimeError with the child's traceback for a defect.
    """
    return _in_child(_enter_scratch, function)


def in_child_of(pid: int, function: Callable[[], T]) -> T:
    """What `function` returns in a forked child, in the network namespace of a process; raises as `in_scratch`."""
    return _in_child(lambda: _enter_network_of(pid), function)


def _enter_scratch() -> None:
    leave_machine(Namespace.MOUNT | Namespace.NET)
    keep_mounts_private()
    mount_tmpfs("/run", 0o755)
    mount_sysfs()
    set_loopback_up()


def _enter_network_of(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    setns(descriptor, Namespace.NET)
    os.close(descriptor)


def in_scratches(functions: Iterable[Callable[[], T]], *, at_once: int) -> Iterator[T]:
    """What each of these returns in a scratch namespace of its own, in their order; so many run at a time.

    Raises as `in_scratch`; then, or where nobody takes the rest, those that run are ended.
    """
    running: deque[_Child] = deque()
    try:
        for function in functions:
            running.append(_begin(_enter_scratch, function))
            if len(running) == at_once:
                yield _end(running.popleft())
        while running:
            yield _end(running.popleft())
    finally:
        for child in running:
            _stop(child)


_Child = tuple[int, int]
"""Its pid, and the end of a pipe that it tells its outcome by."""


def _in_child(enter: Callable[[], None], function: Callable[[], T]) -> T:
    return _end(_begin(enter, function))  # type: ignore[no-any-return] # what `function` returned, through pickle


def _begin(enter: Callable[[], None], function: Callable[[], object]) -> _Child:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = fork(lambda: _tell(writing, enter, function))
    os.close(writing)
    return child, reading


def _end(child: _Child) -> Any:
    """What its function returned."""
    try:
        with open(child[1], "rb", closefd=False) as answer:
            told = answer.read()
    finally:
        # Where the parent was interrupted the child is in the way; otherwise it has nothing left to do.
        _stop(child)
    if not told:
        raise RuntimeError("a child in a scratch namespace was killed")
    error, value = pickle.loads(told)  # noqa: S301 - from our own child
    if error is not None:
        raise error
    return value


def _stop(child: _Child) -> None:
    pid, reading = child
    os.close(reading)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _tell(writing: int, enter: Callable[[], None], function: Callable[[], object]) -> int:
    reset_handlers()
    die_with_parent()
    outcome: tuple[Exception | None, object]
    try:
        enter()
        outcome = None, function()
    except FairwayError as error:
        # As a plain one: a subclass may not pickle, and nobody tells them apart.
        outcome = FairwayError(str(error)), None
    except Exception:
        outcome = RuntimeError(f"in a scratch namespace:\n{traceback.format_exc()}"), None
    with open(writing, "wb") as answer:
        answer.write(pickle.dumps(outcome))
    return 0


@contextmanager
def network(begin: Callable[[], object] = lambda: None) -> Iterator[int]:
    """One more network namespace for the time of the block: the pid of the process that holds it.

    Only in `in_scratch`. begin: what the process does there before anything else, such as to listen; it may start
    threads. Enter the namespace with `in_child_of`, or with `in_network_of` of fairway.fabric.namespaces.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def hold() -> int:
        os.close(reading)
        die_with_parent()
        unshare(Namespace.NET)
        set_loopback_up()
        begin()
        os.write(writing, _HELD)
        os.close(writing)
        while True:
            signal.pause()

    holder = fork(hold)
    os.close(writing)
    try:
        with open(reading, "rb") as ready:
            if ready.read() != _HELD:
                raise RuntimeError("a scratch network namespace could not be made")
        yield holder
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)


def find_program(name: str) -> str | None:
    """The path of a program of the machine, also where an ordinary user's PATH lacks it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{HOST_PATH}")
