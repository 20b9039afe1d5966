"""The program of a lab that keeps its faults: plants them, undoes them in time, and tells of them.

It lives in the lab's outermost namespaces and outlives the command that planted a fault. What is planted is written
down before it is done, so that a keeper that was killed knows, started again, what it has to undo.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fairway.base.errors import FairwayError, Refused
from fairway.cluster.fault.carry import Carrier
from fairway.cluster.fault.model import Fault, Planned, Told, Wanted
from fairway.cluster.fault.plan import check_contradictions, plan
from fairway.fabric import protocol
from fairway.fabric.unixsocket import listen

_log = logging.getLogger(__name__)

ALL = 0
"""The number that no fault has."""


class Plant(msgspec.Struct, frozen=True, kw_only=True, tag="plant"):
    """Answered with the one fault. for_s: seconds, None for until it is undone."""

    wanted: Wanted
    for_s: float | None = None


class Restart(msgspec.Struct, frozen=True, kw_only=True, tag="restart"):
    """A fault done and undone at once; answered, with no fault, when it is."""

    wanted: Wanted


class Undo(msgspec.Struct, frozen=True, kw_only=True, tag="undo"):
    """Answered with the faults that were undone. number: ALL for all."""

    number: int = ALL


class List(msgspec.Struct, frozen=True, kw_only=True, tag="list"):
    """Answered with all that are planted, oldest first."""


class Wait(msgspec.Struct, frozen=True, kw_only=True, tag="wait"):
    """Answered when that fault is over, at once where it is already. number: ALL for when none is planted."""

    number: int = ALL


Request = Plant | Restart | Undo | List | Wait


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="answer"):
    """Success."""

    faults: tuple[Told, ...] = ()


Reply = Answer | protocol.Failure

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The file of a keeper."""

    last: int = 0
    faults: tuple[Fault, ...] = ()


class Keeper:
    """The faults of a lab, in a running event loop. file: where they are written down."""

    def __init__(self, carrier: Carrier, file: Path) -> None:
        self._carrier = carrier
        self._file = file
        self._faults: dict[int, Fault] = {}
        self._last = 0
        self._over = asyncio.Condition()
        self._due: asyncio.Queue[int] = asyncio.Queue()

    def resume(self) -> None:
        """Take up what an earlier keeper left."""
        with suppress(FileNotFoundError):
            kept = msgspec.json.decode(self._file.read_bytes(), type=Kept)
            self._last = kept.last
            for fault in kept.faults:
                self._faults[fault.number] = fault
                self._carrier.resume(fault.planned.steps, fault.number)
                self._arm(fault)

    async def answer(self, request: Request) -> Answer:
        """Raises FairwayError for what is refused; then nothing is changed."""
        match request:
            case Plant(wanted=wanted, for_s=for_s):
                return Answer(faults=(_told(self._plant(wanted, for_s)),))
            case Restart(wanted=wanted):
                planned = self._planned(wanted)
                self._carrier.do(planned.steps, ALL)
                self._carrier.undo(planned.steps, ALL)
                return Answer()
            case Undo(number=number):
                undone = [self._find(number)] if number != ALL else list(self._faults.values())
                for fault in reversed(undone):
                    await self._undo(fault.number)
                return Answer(faults=tuple(map(_told, undone)))
            case Wait(number=number):
                async with self._over:
                    await self._over.wait_for(lambda: number not in self._faults if number != ALL else not self._faults)
        return Answer(faults=tuple(map(_told, self._faults.values())))

    def _planned(self, wanted: Wanted) -> Planned:
        planned = plan(wanted, self._carrier.world())
        check_contradictions(planned, self._faults.values())
        return planned

    def _plant(self, wanted: Wanted, for_s: float | None) -> Fault:
        planned = self._planned(wanted)
        self._last += 1
        fault = Fault(
            number=self._last,
            planned=planned,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            until=_now() + for_s if for_s is not None else None,
        )
        self._faults[fault.number] = fault
        self._write()
        try:
            self._carrier.do(planned.steps, fault.number)
        except BaseException:
            del self._faults[fault.number]
            self._write()
            raise
        _log.info("fault %s planted: %s", fault.number, planned.wanted)
        self._arm(fault)
        return fault

    def _arm(self, fault: Fault) -> None:
        if fault.until is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(max(fault.until - _now(), 0), lambda: self._due.put_nowait(fault.number))

    async def undo_in_time(self) -> None:
        """Undo each fault whose time is over; for ever."""
        while True:
            await self._undo(await self._due.get())

    async def _undo(self, number: int) -> None:
        fault = self._faults.pop(number, None)
        if fault is None:
            return
        self._carrier.undo(fault.planned.steps, number)
        self._write()
        _log.info("fault %s undone: %s", number, fault.planned.wanted)
        async with self._over:
            self._over.notify_all()

    def _find(self, number: int) -> Fault:
        if number not in self._faults:
            numbers = ", ".join(map(str, self._faults))
            raise Refused(f"there is no fault {number}; planted are: {numbers or 'none'}")
        return self._faults[number]

    def _write(self) -> None:
        temporary = self._file.with_suffix(".new")
        kept = Kept(last=self._last, faults=tuple(self._faults.values()))
        temporary.write_bytes(msgspec.json.encode(kept))
        temporary.rename(self._file)


def run(config: Mapping[str, Any]) -> int:
    """The program. config: "socket" of the first process, "faults" to listen at, "file", "ports" of the bridge,
    and the folder "skews" of probes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    carrier = Carrier(config["socket"], dict(config["ports"]), config["skews"])
    asyncio.run(_serve(carrier, config["faults"], config["file"]))
    return 0


async def _serve(carrier: Carrier, path: Path, file: Path) -> None:
    keeper = Keeper(carrier, file)
    keeper.resume()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            if line := await reader.readline():
                writer.write(msgspec.json.encode(await _reply(keeper, line)) + b"\n")
                await writer.drain()
        writer.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.undo_in_time())
        server = await asyncio.start_unix_server(talk, sock=listen(path), limit=protocol.MAX_LINE)
        group.create_task(server.serve_forever())


async def _reply(keeper: Keeper, line: bytes) -> Reply:
    try:
        return await keeper.answer(_requests.decode(line))
    except msgspec.DecodeError as error:
        refusal = Refused(f"the lab was started by another version of fairway: {error}; take it down and up")
        return protocol.failure_of(protocol.NO_REQUEST, refusal)
    except FairwayError as error:
        return protocol.failure_of(protocol.NO_REQUEST, error)
    except Exception as error:
        # A defect of ours must not end the keeper: others' faults are to be undone yet.
        _log.exception("a request failed")
        return protocol.failure_of(protocol.NO_REQUEST, Refused(f"the keeper of faults failed: {error!r}"))


def _told(fault: Fault) -> Told:
    left = max(fault.until - _now(), 0.0) if fault.until is not None else None
    return Told(number=fault.number, wanted=fault.planned.wanted, since=fault.since, left=left)


def _now() -> float:
    """Goes on while the machine sleeps, and is the same for a keeper that was started again."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
