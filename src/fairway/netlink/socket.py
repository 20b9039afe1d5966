"""The netlink socket: the only module of this package that does I/O."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from struct import Struct
from types import TracebackType

from fairway.base.errors import Retry, Unsupported
from fairway.netlink.exchange import (
    AnswerLost,
    Interrupted,
    Reply,
    check_batch,
    encode_batch,
    parts_within,
    size_of,
)
from fairway.netlink.nftables import Generation, Request, body_of, decode_generation, get_generation
from fairway.netlink.wire import NLMSG_ERROR, Received, decode_messages, encode_message

# linux/netlink.h, asm-generic/socket.h
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP = 1, 2
NETLINK_CAP_ACK, NETLINK_EXT_ACK = 10, 11
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SO_ATTACH_FILTER = 26
CLONE_NEWNET = 0x40000000

_RECEIVE = 1 << 18
"""Bytes to read at once; the kernel fills up to 32 KiB of a dump into one datagram."""
_OVERHEAD = 32
"""What netlink_sendmsg keeps of the send buffer for itself."""
_ACK_SIZE = 1024
"""Generous for one error with its words, as the receive buffer is charged for it."""
_SMALLEST_BUFFER = 1 << 20
_SMALLEST_BATCH = 4096
_DUMP_TRIES = 10
_FILTER = Struct("=HBBI")
"""struct sock_filter: code, jump if true, jump if false, operand."""
_FILTER_PROGRAM = Struct("@HP")
"""struct sock_fprog: number of steps, where they are."""
_U32 = Struct("=I")
_PORT_OFFSET = 12
"""Of nlmsg_pid in a message: who asked for what it tells of."""
_TIMEOUT = Struct("@ll")
"""struct timeval: seconds, microseconds."""
_TIMEOUT_S = 30
"""A dump is answered at once; only a kernel that hangs takes longer."""


class NetlinkSocket:
    """A socket of NETLINK_NETFILTER. Not for several threads at once.

    namespace: a file descriptor of the network namespace to open it in, None for the caller's.
    Raises Unsupported for a kernel without nf_tables.

    messages, bytes: of all batches that were sent, ever.
    """

    def __init__(self, *, namespace: int | None = None) -> None:
        self._socket = _open(namespace)
        try:
            self._prepare()
        except BaseException:
            self._socket.close()
            raise

    def _prepare(self) -> None:
        # Not Python's timeout, which would wait before every read, also those that must not wait.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT.pack(_TIMEOUT_S, 0))
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0
        self._send_room = self._receive_room = 0
        self.messages = self.bytes = 0

    @property
    def port(self) -> int:
        """What the kernel knows this socket by: notifications of its own changes have it."""
        return int(self._socket.getsockname()[0])

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def join(self, group: int) -> None:
        """Hear a multicast group. Raises Unsupported without the privilege."""
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except PermissionError as error:
            raise _unprivileged(error) from error

    def leave(self, group: int) -> None:
        self._socket.setsockopt(SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, group)

    def be_deaf_to(self, ports: Collection[int]) -> None:
        """Never hear a notification of what these sockets did (`port`): the kernel drops it before it takes room."""
        if not ports:
            return
        load, same, accept, drop = 0x20, 0x15, 0x06, 0x06  # linux/filter.h: BPF_LD | BPF_ABS, BPF_JEQ, BPF_RET
        wanted = [int.from_bytes(_U32.pack(port), "big") for port in ports]  # as the program loads them
        program = [(load, 0, 0, _PORT_OFFSET)]
        program += [(same, len(wanted) - index, 0, port) for index, port in enumerate(wanted)]
        program += [(accept, 0, 0, 0xFFFFFFFF), (drop, 0, 0, 0)]
        code = ctypes.create_string_buffer(b"".join(_FILTER.pack(*step) for step in program))
        told = _FILTER_PROGRAM.pack(len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, told)

    def reserve(self, received: int) -> None:
        """Make room for so many bytes of answers or notifications, as far as the machine lets."""
        self._receive_room = self._grow(SO_RCVBUFFORCE, socket.SO_RCVBUF, received, self._receive_room)

    def generation(self) -> Generation:
        """nf_tables' count of commits, as of now."""
        for _, body in self.ask(get_generation()):
            return decode_generation(body_of(body))
        raise AnswerLost("the kernel told no generation")

    def commit(self, requests: Sequence[Request], *, generation: int | None = None) -> int:
        """Send a batch; gives how many transactions it took, which is more than one only where buffers are small.

        Each part is a transaction, in the order given, and those before a failure stay in. generation: what nf_tables'
        must be before the first part, else the kernel's answer is ERESTART. Raises KernelRefused, AnswerLost, and
        Unsupported without the privilege.
        """
        wanted = size_of(requests)
        self._send_room = self._grow(SO_SNDBUFFORCE, socket.SO_SNDBUF, wanted + _OVERHEAD, self._send_room)
        self.reserve(_ACK_SIZE * min(len(requests), 1000))
        parts = sent = 0
        while sent < len(requests):
            part = next(parts_within(requests[sent:], max(self._send_room - _OVERHEAD, _SMALLEST_BATCH)))
            try:
                self._commit_part(part, generation + parts if generation is not None else None)
            except OSError as error:
                if error.errno != errno.EMSGSIZE or self._send_room <= _SMALLEST_BATCH:
                    raise _lost(error) from error
                self._send_room //= 2  # the kernel counts more than we did
                continue
            sent += len(part)
            parts += 1
        return parts

    def _commit_part(self, part: Sequence[Request], generation: int | None) -> None:
        """One transaction. Raises OSError where it could not be sent at all."""
        first = self._next(len(part) + 2)
        batch = encode_batch(part, first, generation)
        self._send(batch)
        self.messages += len(part)
        self.bytes += len(batch)
        check_batch(self._received(), part, first)

    def ask(self, request: Request) -> list[tuple[int, bytes]]:
        """The answers to one request, or a dump: message types and bodies.

        Raises KernelRefused; Retry for a dump that is interrupted again and again; Unsupported without the privilege.
        """
        for _ in range(_DUMP_TRIES):
            reply = Reply(request, self._next(1))
            self._send(encode_message(request.kind, request.flags, self._sequence, request.body))
            try:
                while not reply.feed(self._receive()):
                    pass
            except Interrupted:
                self._discard()
                continue
            return reply.bodies
        raise Retry(f"{request.about} changed during each of {_DUMP_TRIES} looks", after_s=0.1)

    def tell(self, data: bytes) -> int:
        """Send messages that ask for no answer; the errno of the first that the kernel refused, 0 for none."""
        self._send(data)
        for each in list(self._received()):
            if each.kind == NLMSG_ERROR and (number := int.from_bytes(each.body[:4], sys.byteorder, signed=True)):
                return -number
        return 0

    def notifications(self) -> Iterator[Received]:
        """What waits in the buffer, without waiting for more. Raises AnswerLost where the kernel dropped some."""
        return self._received()

    def _next(self, count: int) -> int:
        """The first of `count` sequence numbers."""
        if self._sequence + count >= 1 << 31:
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += count
        return first

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except PermissionError as error:
            raise _unprivileged(error) from error

    def _receive(self) -> Iterator[Received]:
        try:
            return decode_messages(self._socket.recv(_RECEIVE))
        except OSError as error:
            raise _lost(error) from error

    def _received(self) -> Iterator[Received]:
        """All that waits."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                raise _lost(error) from error
            yield from decode_messages(data)

    def _discard(self) -> None:
        for _ in self._received():
            pass

    def _grow(self, forced: int, plain: int, wanted: int, have: int) -> int:
        """Make a buffer at least that large, beyond the machine's limit where root may; gives what it is."""
        if wanted <= have:
            return have
        wanted = max(wanted, _SMALLEST_BUFFER)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, wanted)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, plain, wanted)
        # The kernel doubles what is asked for, and counts its own bookkeeping against it.
        return self._socket.getsockopt(socket.SOL_SOCKET, plain) // 2


def _open(namespace: int | None) -> socket.socket:
    """In a thread of its own where it is another namespace's: the caller stays where it is."""
    if namespace is None:
        return _new_socket()
    opened: list[socket.socket | BaseException] = []

    def enter() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace, CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            opened.append(_new_socket())
        except BaseException as error:
            opened.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    (result,) = opened
    if isinstance(result, BaseException):
        raise result
    return result


def _new_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as error:
        raise Unsupported(
            f"this kernel has no netfilter over netlink (CONFIG_NETFILTER_NETLINK): {error.strerror}"
        ) from error


def _lost(error: OSError) -> AnswerLost:
    if error.errno == errno.ENOBUFS:
        return AnswerLost("the kernel dropped messages: the receive buffer was full")
    return AnswerLost(f"netlink: {error.strerror or error}")


def _unprivileged(error: OSError) -> Unsupported:
    return Unsupported(
        f"nf_tables cannot be changed without CAP_NET_ADMIN in this network namespace: run as root ({error.strerror})"
    )
