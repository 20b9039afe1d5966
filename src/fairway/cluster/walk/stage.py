"""Where the walk happens: commands are run and recorded here, claims are judged."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from fairway.base.addresses import Family, format_host, parse_address
from fairway.base.errors import FairwayError
from fairway.cluster.noderules import NFTTRACE, own_program, rules_programs
from fairway.cluster.scenario import Scenario
from fairway.cluster.walk.language import Language, Unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that was run: as a person would type it, what it printed, its exit status."""

    command: str
    output: str
    code: int

    def json(self) -> Any:
        """The output as JSON; raises FairwayError that shows the output where it is none."""
        try:
            return json.loads(self.output)
        except ValueError:
            raise FairwayError(f"`{self.command}` answered no JSON (exit {self.code}): {self.output[:200]!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be true, and what was seen of it."""

    what: str
    ok: bool
    seen: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A row of the study: it holds if each of its checks does. over: as of Heading."""

    id: str
    claim: str
    ok: bool
    evidence: tuple[Check, ...]
    over: str = ""

    def to_json(self) -> dict[str, Any]:
        evidence = [{"check": check.what, "ok": check.ok, "seen": check.seen} for check in self.evidence]
        over = {"over": self.over} if self.over else {}
        return {"id": self.id, **over, "claim": self.claim, "ok": self.ok, "evidence": evidence}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A row begins. over: in a dual-stack lab which family its packets are of, "" for a row of none and elsewhere."""

    id: str
    title: str
    over: str = ""


Shown = Heading | Ran | Check | Claim


@dataclass(slots=True)
class Trace:
    """What the kernel told of a packet."""

    output: str = ""


class Hosts(Protocol):
    """Runs programs in the lab's nodes, pods and clients."""

    async def run(
        self, host: str, argv: Sequence[str], *, extra: Mapping[str, str] | None = None
    ) -> tuple[int, str]: ...

    async def stream(
        self, host: str, argv: Sequence[str], *, extra: Mapping[str, str] | None = None
    ) -> tuple[AsyncIterator[str], Callable[[], None]]: ...


class KubectlLike(Protocol):
    """kubectl, or what stands in for it: arguments in, exit status and output back."""

    async def run(self, args: Sequence[str]) -> tuple[int, str]: ...

    def watch(self, args: Sequence[str]) -> Watching: ...


class Watching(Protocol):
    """A `get -w` that runs: entered once what was there is printed, so that nothing after is missed."""

    lines: list[str]

    async def __aenter__(self) -> Watching: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def until(self, satisfied: Callable[[list[str]], bool]) -> bool: ...


@dataclass(slots=True, kw_only=True)
class Stage:
    """The lab as the walk sees it.

    show is called for everything worth printing, in order. family: of the packets of the row that is being walked.
    language: of every sentence that is shown; they are given in English, with {placeholders}.
    """

    scenario: Scenario
    hosts: Hosts
    kubectl_like: KubectlLike
    show: Callable[[Shown], None]
    family: Family = Family.IPV4
    language: Language = Language.ENGLISH
    claims: list[Claim] = field(default_factory=list)
    _checks: list[Check] = field(default_factory=list)

    @property
    def node_addresses(self) -> dict[str, str]:
        """By node, of the row's family."""
        return self.scenario.node_addresses_of(self.family)

    @property
    def client_address(self) -> str:
        """Of the row's family."""
        return self.scenario.client_address_of(self.family)

    def client_port(self, number: int) -> int:
        """A port for the client to call from, another for each family.

        A socket of IPv6 takes its number in IPv4 too, where the last call from it may still rest (TIME_WAIT).
        """
        return number + 100 * self.scenario.families.index(self.family)

    def curl(self, *args: str) -> tuple[str, ...]:
        """curl for an address of the row's family, silent; -g takes its brackets for what they are."""
        return ("curl", "-s", *(("-g", "-6") if self.family is Family.IPV6 else ()), *args)

    def at(self, address: str, port: int | None = None) -> str:
        """Where curl calls: "172.18.0.3:30000", "[fd00::3]:30000"."""
        host = format_host(parse_address(address))
        return host if port is None else f"{host}:{port}"

    async def kubectl(self, *args: str, quiet: bool = False) -> Ran:
        """Run kubectl; `quiet` leaves the output out of what is shown."""
        code, output = await self.kubectl_like.run(args)
        return self._record(shlex.join(("kubectl", *args)), output, code, quiet=quiet)

    async def run_in(self, host: str, *argv: str, quiet: bool = False) -> Ran:
        """Run a program in a node, pod or client."""
        code, output = await self.hosts.run(host, argv)
        return self._record(f"fairway exec {host} -- {shlex.join(argv)}", output, code, quiet=quiet)

    async def sh(self, host: str, script: str, *, quiet: bool = False) -> Ran:
        """Run a shell line in a node, pod or client; only for lines written in this package."""
        return await self.run_in(host, "sh", "-c", script, quiet=quiet)

    async def rules(self, node: str, pattern: str = "", *, quiet: bool = False) -> str:
        """`fairway rules` of the row's family, all of it; shown are the lines that match a pattern, one that grep -E
        takes too."""
        (program,) = rules_programs(self.scenario.mode, [self.family])
        code, output = await self.hosts.run(node, program.argv, extra=program.extra)
        if code:
            raise FairwayError(f"the rules of {node} cannot be read: {output.strip()}")
        found = [line for line in output.splitlines() if re.search(pattern, line)]
        several = len(self.scenario.families) > 1
        family = f" --family {self.family.api_name.lower()}" if several else ""
        command = f"fairway rules {node}{family} | grep -E {shlex.quote(pattern)}"
        self._record(command, "\n".join(found), code, quiet=quiet)
        return output

    @asynccontextmanager
    async def tracing(self, node: str, port: int) -> AsyncIterator[Trace]:
        """A node's kernel traces what the client calls from a port inside the block; shown and there after it."""
        six = ("-6",) if self.family is Family.IPV6 else ()
        program, trace = own_program(NFTTRACE, *six, str(port)), Trace()
        lines, stop = await self.hosts.stream(node, program.argv, extra=program.extra)
        try:
            first = await anext(lines, "it said nothing")
            if first != "ready":
                raise FairwayError(f"the kernel of {node} does not trace: {first}")
            yield trace
        finally:
            stop()
            trace.output = "\n".join([line async for line in lines])
        when = self.language.tell("during the call")
        self._record(f"fairway exec {node} -- {shlex.join(program.argv)}   # {when}", trace.output, 0, quiet=False)

    async def get(self, *args: str) -> Any:
        """`kubectl get ARGS -o json`, decoded and not shown: what a judge looks up."""
        return (await self.kubectl("get", *args, "-o", "json", quiet=True)).json()

    def check(self, what: str, ok: bool, seen: Any, /, **values: object) -> bool:
        """Note one check of the row that is being walked. values: of the placeholders of what must be true."""
        check = Check(what=self.language.tell(what, **values), ok=bool(ok), seen=seen)
        self._checks.append(check)
        self.show(check)
        return check.ok

    async def row(
        self, number: str, title: str, claim: str, walk: Callable[[Stage], Awaitable[None]], *, over: str = ""
    ) -> Claim:
        """Walk one row; whatever fails unexpectedly fails its claim and the next row goes on. over: as of Heading."""
        self.show(Heading(id=number, title=self.language.tell(title), over=over))
        self._checks = []
        try:
            await walk(self)
        except Unseen as unseen:
            self._not_walked(unseen.tell(self.language))
        except (FairwayError, LookupError, ValueError) as error:
            self._not_walked(f"{type(error).__name__}: {error}")
        held = bool(self._checks) and all(check.ok for check in self._checks)
        judged = Claim(id=number, claim=self.language.tell(claim), ok=held, evidence=tuple(self._checks), over=over)
        self.claims.append(judged)
        self.show(judged)
        return judged

    def _not_walked(self, why: str) -> None:
        self.check("the row could be walked to its end", False, why)

    def _record(self, command: str, output: str, code: int, *, quiet: bool) -> Ran:
        ran = Ran(command=command, output=output, code=code)
        if not quiet:
            self.show(ran)
        return ran
