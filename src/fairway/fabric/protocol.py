"""What is said on the first process's socket: one JSON object a line, file descriptors beside it (SCM_RIGHTS).

A client sends a Request and gets one Answer or Failure with the same `id`, in any order. For each process it has
spawned it gets one Exited, after the Answer that told its pid. The descriptors of a Spawn travel with its first byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from fairway.base.errors import FairwayError, Refused, Retry, Unsupported

MAX_LINE = 8 << 20
"""Bytes of one message; files of a host travel in it, and etcd's own limit of an object is 1.5 MiB."""

_HOST_NAME = re.compile(r"[a-z0-9][-a-z0-9._/]{0,316}")
"""A node's name, or namespace/pod: at most 63 + 1 + 253."""

_MAX_HOSTNAME = 64
"""__NEW_UTS_LEN (linux/utsname.h)"""

NO_REQUEST = 0
"""The `id` that no request has."""

SPAWN_DESCRIPTORS = 3
"""Standard input, output and error, in this order."""


class HostKind(Enum):
    """What a host stands for."""

    NODE = "node"
    CLIENT = "client"
    POD = "pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """A host to be: a node, a client or a pod's sandbox, each with network, mount, UTS and IPC namespaces of its own.

    name: unique in the lab, such as "myk8s-worker" or "default/webpod1".
    hostname: at most 64 bytes (the kernel's limit).
    files: absolute path -> text; each is mounted read-only over what the machine has there.
    hidden: directories and files covered by something empty; it wins over `visible`.
    visible: directories that stay although they lie under /run or /tmp, which are otherwise fresh and empty.
    read_only: the machine's own files cannot be written in it, only /run, /tmp and /dev/shm.
    store: a fresh directory in memory, whose parts its containers mount and which none of them sees; "" for none. It
    takes a host that is read_only, so that a place for a mount is never made on the machine's own disk.
    owner: free text that comes back in its HostRecord, so that whoever made it can tell it.
    tied: the host is removed when the connection that created it closes.
    within: a host whose network and name it shares, "" for none; then it ends no later than that one.
    """

    name: str
    kind: HostKind
    hostname: str
    files: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    visible: tuple[str, ...] = ()
    read_only: bool = False
    store: str = ""
    owner: str = ""
    tied: bool = False
    within: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host that is there.

    pid: its holder, in the lab's pid namespace: /proc/PID/ns/net is the host's network namespace.
    containers: its running processes that are the first of a pid namespace of their own, oldest first.
    """

    name: str
    kind: HostKind
    pid: int
    hostname: str
    owner: str = ""
    containers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A program the first process keeps running.

    pid: 0 while it waits to be started again, or is held. starts: how often it was started.
    last_exit: how it ended the last time (negative: the signal), None if it never did. held: it is kept from starting.
    """

    name: str
    host: str
    pid: int
    starts: int
    last_exit: int | None = None
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A part of a host's store in a container.

    source: path in the store. target: absolute path in the container; made where there is none. make: a source that is
    not there is made, as a directory.
    """

    source: str
    target: str
    read_only: bool = False
    make: bool = False


def check_host(spec: HostSpec) -> None:
    """Raises Refused, naming the field, for a host no kernel could make."""
    problem = next(_host_problems(spec), None)
    if problem is not None:
        raise Refused(f"host {spec.name!r}: {problem}")


def _host_problems(spec: HostSpec) -> Iterator[str]:
    if not _HOST_NAME.fullmatch(spec.name):
        yield "name must be lower case letters, digits, '-', '.', '/' and '_', at most 317 characters"
    if not 0 < len(spec.hostname.encode(errors="replace")) <= _MAX_HOSTNAME:
        yield f"hostname {spec.hostname!r} must be 1 to {_MAX_HOSTNAME} bytes"
    if spec.store and not spec.read_only:
        yield "store: only a host that is read_only has one"
    stores = (spec.store,) if spec.store else ()
    lists = (("files", spec.files), ("hidden", spec.hidden), ("visible", spec.visible), ("store", stores))
    for field_name, paths in lists:
        for path in paths:
            if not path.startswith("/") or "\0" in path or path == "/":
                yield f"{field_name}: {path!r} is no absolute path of something in the file system"


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="method"):
    """What a client asks; `id` is its own choice, unique among its requests in flight."""

    id: int


class CreateHost(Request, frozen=True, kw_only=True, tag="create_host"):
    """Answered with the one HostRecord once the host is complete."""

    spec: HostSpec


class RemoveHost(Request, frozen=True, kw_only=True, tag="remove_host"):
    """Answered when its processes are gone and its links with them."""

    name: str


class ListHosts(Request, frozen=True, kw_only=True, tag="hosts"):
    """Answered with all HostRecords, in the order they were made."""


class ListServices(Request, frozen=True, kw_only=True, tag="services"):
    """Answered with all ServiceRecords."""


class HoldService(Request, frozen=True, kw_only=True, tag="hold_service"):
    """Kill a service and keep it from starting, or let it start again; answered when it has ended, or has started.

    name: of its ServiceRecord.
    """

    name: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRoot:
    """What a container has at / in the place of its host's own files; the machine's own in it cannot be written.

    folder: of the machine, "" for the host's files. With one, /dev, /proc, /run, /sys, /tmp, /etc/hosts, /etc/hostname
    and /etc/resolv.conf are still the host's. programs: by their name below /, the machine's file that is there.
    scripts: by their name below /, the text of an executable file.
    """

    folder: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)


class Spawn(Request, frozen=True, kw_only=True, tag="spawn"):
    """Run a program; answered with its pid once it has been executed, or with why it could not.

    join: pid of a container's first process whose pid and mount namespaces to enter; 0 for none.
    mounts: of the host's store, for the first process of a pid namespace.
    hold_sigterm: SIGTERM starts blocked, for a program that unblocks it once it has its handler. The first process of
    a pid namespace loses a signal that is neither blocked nor handled (pid_namespaces(7)).
    root: of a container of its own (`new_pid_namespace`), None for its host's.
    """

    host: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/"
    new_pid_namespace: bool = False
    controlling_tty: bool = False
    hold_sigterm: bool = False
    join: int = 0
    root: ContainerRoot | None = None
    mounts: tuple[Mount, ...] = ()


class Kill(Request, frozen=True, kw_only=True, tag="kill"):
    """Signal a process this connection spawned, or its whole process group; one that has ended is no error."""

    pid: int
    signal: int
    group: bool = False


AnyRequest = CreateHost | RemoveHost | ListHosts | ListServices | HoldService | Spawn | Kill


class Reason(Enum):
    """Why a request failed, as the one who asked must handle it."""

    REFUSED = "refused"
    UNSUPPORTED = "unsupported"
    RETRY = "retry"
    NOT_FOUND = "not found"
    NOT_EXECUTABLE = "not executable"


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="answer", omit_defaults=True):
    """Success; which field is filled goes by the request."""

    id: int
    pid: int = 0
    hosts: tuple[HostRecord, ...] = ()
    services: tuple[ServiceRecord, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="failure"):
    """The request changed nothing; `message` is one line for a person.

    `id` is NO_REQUEST where it is the connection that is refused; it is closed after that.
    """

    id: int
    reason: Reason
    message: str


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="exited"):
    """A process of this connection ended; `status` is its exit code, or minus the signal that ended it."""

    pid: int
    status: int


Reply = Answer | Failure | Exited


class CannotExecute(Refused):
    """A program could not be started; `exit_code` is what a shell would exit with (POSIX.1-2017, XCU 2.8.2)."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


NOT_EXECUTABLE_CODE = 126
NOT_FOUND_CODE = 127

_RETRY_AFTER_S = 1.0

_request_decoder: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def encode(message: msgspec.Struct) -> bytes:
    """The message as one line. Raises Refused for text that is not Unicode."""
    try:
        return msgspec.json.encode(message) + b"\n"
    except UnicodeEncodeError as error:
        raise Refused(f"not valid UTF-8: {error.object[:80]!r}") from error


def decode_request(line: bytes) -> AnyRequest:
    """One line as a request. Raises Refused, naming the field."""
    try:
        return _request_decoder.decode(line)
    except msgspec.DecodeError as error:
        raise Refused(f"not a request of this lab: {error}") from error


def decode_reply(line: bytes) -> Reply:
    """One line as a reply. Raises Refused where the other end speaks another version."""
    try:
        return _reply_decoder.decode(line)
    except msgspec.DecodeError as error:
        raise Refused(f"the lab was started by another version of fairway: {error}; take it down and up") from error


def failure_of(request_id: int, error: FairwayError) -> Failure:
    """The error as it travels."""
    match error:
        case CannotExecute(exit_code=code):
            reason = Reason.NOT_FOUND if code == NOT_FOUND_CODE else Reason.NOT_EXECUTABLE
        case Unsupported():
            reason = Reason.UNSUPPORTED
        case Retry():
            reason = Reason.RETRY
        case _:
            reason = Reason.REFUSED
    return Failure(id=request_id, reason=reason, message=str(error))


def error_of(failure: Failure) -> FairwayError:
    """The error to raise at the end that asked."""
    match failure.reason:
        case Reason.NOT_FOUND:
            return CannotExecute(failure.message, exit_code=NOT_FOUND_CODE)
        case Reason.NOT_EXECUTABLE:
            return CannotExecute(failure.message, exit_code=NOT_EXECUTABLE_CODE)
        case Reason.UNSUPPORTED:
            return Unsupported(failure.message)
        case Reason.RETRY:
            return Retry(failure.message, after_s=_RETRY_AFTER_S)
        case Reason.REFUSED:
            return Refused(failure.message)


class Lines:
    """Cuts a byte stream into lines; holds the unfinished rest."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newline. Raises Refused for one longer than MAX_LINE."""
        start = len(self._rest)
        self._rest += data
        if self._rest.find(b"\n", start) < 0:
            if len(self._rest) > MAX_LINE:
                raise Refused(f"a message of more than {MAX_LINE} bytes")
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return lines
