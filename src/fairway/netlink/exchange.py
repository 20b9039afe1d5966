"""The conversation with the kernel: what a batch looks like, and what its answers mean. Pure.

A batch is one transaction: all of it or nothing. The kernel works through it inside the call that sends it, so when
that call returns every answer lies in the socket's buffer. Only the last message asks for an acknowledgement, which
comes when all is in; errors come unasked, one for each message that had one (nfnetlink_rcv_batch in
net/netfilter/nfnetlink.c).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from struct import Struct

from fairway.base.errors import Retry
from fairway.netlink.nftables import Request, begin, end
from fairway.netlink.wire import (
    HEADER,
    NLM_F_ACK,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_OVERRUN,
    Received,
    attributes,
    encode_message,
    to_text,
)

_ERRNO = Struct("=i")
_RETRY_S = 0.1
_NLM_F_ACK_TLVS, _NLM_F_CAPPED = 0x200, 0x100
_NLMSGERR_ATTR_MSG, _NLMSGERR_ATTR_OFFS = 1, 2


@dataclass(frozen=True, slots=True)
class Failure:
    """One message the kernel refused.

    index: of the message in its batch; -1 for the batch as a whole, which failed when it was to take effect.
    number: errno. about: what the message was about. words: what the kernel adds (extended acknowledgement), mostly "".
    offset: in the message, of the attribute that is wrong; None where the kernel does not say.
    """

    index: int
    number: int
    about: object
    words: str = ""
    offset: int | None = None

    def __str__(self) -> str:
        added = f" ({self.words})" if self.words else ""
        subject = f"{self.about}: " if self.about is not None else ""
        return f"{subject}{os.strerror(self.number)}{added}"


class KernelRefused(Exception):
    """The kernel refused a request or a batch; of a batch nothing was done."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(str(failure) for failure in failures[:3]))
        self.failures = tuple(failures)

    @property
    def number(self) -> int:
        """errno of the first failure."""
        return self.failures[0].number


class AnswerLost(Retry):
    """What the kernel answered was lost or is no answer: what it holds now is unknown until it is read."""

    def __init__(self, message: str) -> None:
        super().__init__(message, after_s=_RETRY_S)


class Interrupted(Exception):
    """What was being dumped changed meanwhile: the dump is worth nothing, ask again."""


def encode_batch(requests: Sequence[Request], first: int, generation: int | None = None) -> bytes:
    """A transaction: begin has sequence number `first`, each message the next one."""
    last = len(requests) - 1
    parts = [_encode(begin(generation), first)]
    for index, request in enumerate(requests):
        flags = request.flags | NLM_F_ACK if index == last else request.flags
        parts.append(encode_message(request.kind, flags, first + 1 + index, request.body))
    parts.append(_encode(end(), first + 1 + len(requests)))
    return b"".join(parts)


def size_of(requests: Iterable[Request]) -> int:
    """Bytes of the batch that `requests` make."""
    envelope = len(encode_batch((), 0, generation=0))
    return envelope + sum(HEADER.size + len(request.body) for request in requests)


def parts_within(requests: Sequence[Request], limit: int) -> Iterator[list[Request]]:
    """The requests in order, cut into batches of at most `limit` bytes; one that is larger stands alone."""
    envelope = size_of(())
    part: list[Request] = []
    size = envelope
    for request in requests:
        length = HEADER.size + len(request.body)
        if part and size + length > limit:
            yield part
            part, size = [], envelope
        part.append(request)
        size += length
    if part:
        yield part


def check_batch(answers: Iterable[Received], requests: Sequence[Request], first: int) -> None:
    """Whether the batch is in. Raises KernelRefused, or AnswerLost where the acknowledgement is not among `answers`."""
    failures: list[Failure] = []
    acknowledged = False
    for answer in answers:
        if not first <= answer.sequence <= first + 1 + len(requests):
            continue  # of an earlier conversation that was given up
        failure = _failure(answer, requests, first)
        if failure is not None and failure.number:
            failures.append(failure)
        elif failure is not None and failure.index == len(requests) - 1:
            acknowledged = True
    if failures:
        raise KernelRefused(failures)
    if requests and not acknowledged:
        raise AnswerLost("the kernel did not acknowledge a batch")


class Reply:
    """The answers to one request as they come in: a dump, or a message and its acknowledgement."""

    def __init__(self, request: Request, sequence: int) -> None:
        self._request = request
        self._sequence = sequence
        self.bodies: list[tuple[int, bytes]] = []
        """Message type and body of each answer."""

    def feed(self, answers: Iterable[Received]) -> bool:
        """Take answers; whether that was all. Raises KernelRefused, Interrupted and AnswerLost."""
        for answer in answers:
            if answer.sequence != self._sequence:
                continue
            if answer.flags & NLM_F_DUMP_INTR:
                raise Interrupted(str(self._request.about))
            if answer.kind == NLMSG_OVERRUN:
                raise AnswerLost("the kernel dropped answers")
            if answer.kind in (NLMSG_DONE, NLMSG_ERROR):
                failure = _failure(answer, [self._request], self._sequence - 1)
                if failure is not None and failure.number == errno.EINTR:
                    raise Interrupted(str(self._request.about))
                if failure is not None and failure.number:
                    raise KernelRefused([failure])
                return True
            self.bodies.append((answer.kind, answer.body))
        return False


def _encode(request: Request, sequence: int) -> bytes:
    return encode_message(request.kind, request.flags, sequence, request.body)


def _failure(answer: Received, requests: Sequence[Request], first: int) -> Failure | None:
    """What an NLMSG_ERROR, or the end of a dump, says; errno 0 is an acknowledgement."""
    if answer.kind not in (NLMSG_ERROR, NLMSG_DONE) or len(answer.body) < _ERRNO.size:
        return None
    (number,) = _ERRNO.unpack_from(answer.body)
    index = answer.sequence - first - 1
    about = requests[index].about if 0 <= index < len(requests) else None
    failure = Failure(index if about is not None or 0 <= index < len(requests) else -1, -number, about)
    has_words = answer.kind == NLMSG_ERROR and len(answer.body) >= _ERRNO.size + HEADER.size
    if has_words and answer.flags & _NLM_F_ACK_TLVS:
        failure = _with_words(failure, answer)
    return failure


def _with_words(failure: Failure, answer: Received) -> Failure:
    """Add what follows the message that is repeated in an error, or its header where it is capped."""
    length = HEADER.size
    if not answer.flags & _NLM_F_CAPPED:
        (length, *_) = HEADER.unpack_from(answer.body, _ERRNO.size)
    found = attributes(answer.body[_ERRNO.size + (length + 3 & ~3) :])
    offset = found.get(_NLMSGERR_ATTR_OFFS)
    return replace(
        failure,
        words=to_text(found.get(_NLMSGERR_ATTR_MSG, b"")),
        offset=int.from_bytes(offset, sys.byteorder) if offset is not None else None,
    )
