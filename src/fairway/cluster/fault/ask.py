"""Asks the keeper of a lab's faults, for the command line."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fairway.base.errors import Refused, Retry
from fairway.cluster.fault.keeper import Answer, List, Plant, Reply, Request, Restart, Undo, Wait
from fairway.cluster.fault.model import Told, Wanted
from fairway.cluster.state import LabState
from fairway.fabric import protocol
from fairway.fabric.unixsocket import connect

_LIMIT_S = 30.0
"""A fault is planted within milliseconds, and what is killed ends at once; a keeper that is stopped never answers."""

_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def plant(state: LabState, wanted: Wanted, for_s: float | None) -> Told:
    """Plant a fault, for so many seconds or until it is undone. Raises Refused, and then nothing is changed."""
    (fault,) = _ask(state, Plant(wanted=wanted, for_s=for_s))
    return fault


def restart(state: LabState, wanted: Wanted) -> None:
    """Do a fault and undo it at once."""
    _ask(state, Restart(wanted=wanted))


def undo(state: LabState, number: int) -> Sequence[Told]:
    """Undo a fault, or all for 0; those that were undone. Raises Refused for a number that is none."""
    return _ask(state, Undo(number=number))


def planted(state: LabState) -> Sequence[Told]:
    """All faults that are planted now, oldest first."""
    return _ask(state, List())


def wait(state: LabState, number: int) -> None:
    """Return when a fault is over, or for 0 when none is planted."""
    _ask(state, Wait(number=number), limit_s=None)


def _ask(state: LabState, request: Request, *, limit_s: float | None = _LIMIT_S) -> tuple[Told, ...]:
    state.living()
    try:
        connection = connect(state.faults)
    except Refused as error:
        raise Retry(f"the keeper of the faults of lab {state.name!r} does not answer: {error}", after_s=1.0) from error
    with connection, connection.makefile("rb") as lines:
        connection.settimeout(limit_s)
        try:
            connection.sendall(msgspec.json.encode(request) + b"\n")
            line = lines.readline()
        except OSError:
            line = b""
    if not line:
        raise Retry(
            f"the keeper of the faults of lab {state.name!r} gave no answer: {state.logs}/faults.log", after_s=1.0
        )
    match _replies.decode(line):
        case Answer(faults=faults):
            return faults
        case protocol.Failure() as failure:
            raise protocol.error_of(failure)
