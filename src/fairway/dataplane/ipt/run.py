"""Send a packet through a Ruleset: what the kernel would do with it, without a kernel. Pure.

Each random choice is followed both ways, so that the answer holds every backend with its probability. The packet is
the first of a connection: conntrack calls it NEW, and what conntrack would do by itself with later ones is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import assert_never

from fairway.base.addresses import IPAddress
from fairway.dataplane.ipt.ruleset import (
    STATISTIC_ONE,
    Address,
    AddrTypeLocal,
    Comment,
    Conntrack,
    Dnat,
    Jump,
    Mark,
    Masquerade,
    Match,
    Nfacct,
    RecentCheck,
    RecentSet,
    Reject,
    Rule,
    Ruleset,
    SetXmark,
    Side,
    State,
    Statistic,
    Table,
    Transport,
    Verdict,
)
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A rule whose matches held."""

    table: Table
    chain: str
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of the ways a packet may go.

    probability: of this one; those of all branches sum to 1. destination: address and port it was sent on to, for
    DNAT. masquerade: its source is rewritten on the way out; that a backend in this node's own network is delivered
    without leaving, and so without POSTROUTING, is left aside. visits: the rules it met, in order.
    """

    probability: Fraction
    disposition: Disposition
    visits: tuple[Visit, ...]
    destination: tuple[IPAddress, int] | None = None
    masquerade: bool = False


def run(
    ruleset: Ruleset,
    packet: Packet,
    *,
    is_own: Callable[[IPAddress], bool],
    remembered: frozenset[str] = frozenset(),
) -> tuple[Branch, ...]:
    """The ways of `packet` on a machine whose builtin chains hold nothing but our jumps.

    is_own: whether an address is one of this machine. remembered: the names of the xt_recent lists that hold the
    packet's source and have not timed out.
    """
    return tuple(_Run(ruleset, packet, is_own, remembered).branches())


@dataclass(frozen=True, slots=True)
class _State:
    """A packet under way, and how likely it came here."""

    probability: Fraction
    destination: IPAddress
    port: int
    mark: int = 0
    dnat: bool = False
    masquerade: bool = False
    let_in: bool = False
    visits: tuple[Visit, ...] = ()


_Ended = tuple[_State, Verdict | Reject | Dnat | Masquerade]


class _Run:
    def __init__(
        self, ruleset: Ruleset, packet: Packet, is_own: Callable[[IPAddress], bool], remembered: frozenset[str]
    ) -> None:
        self._ruleset = ruleset
        self._packet = packet
        self._interface = "" if packet.from_node else packet.interface
        self._is_own = is_own
        self._remembered = remembered

    def branches(self) -> Iterator[Branch]:
        first = _State(Fraction(1), self._packet.destination, self._packet.port)
        for state in self._translate(first):
            yield from self._deliver(state)

    def _translate(self, state: _State) -> Iterator[_State]:
        """Table nat on the way in: for a connection's first packet only, which is this one."""
        ended, passed = self._hook(Table.NAT, "OUTPUT" if self._packet.from_node else "PREROUTING", state)
        yield from passed
        for some, target in ended:
            assert isinstance(target, Dnat | Verdict)
            if isinstance(target, Dnat):
                yield replace(some, destination=target.address, port=target.port, dnat=True)
            else:
                yield some

    def _deliver(self, state: _State) -> Iterator[Branch]:
        """Table filter as the route has it, then nat on the way out."""
        own = self._is_own(state.destination)
        if self._packet.from_node:
            hooks = ["OUTPUT", "INPUT"] if own else ["OUTPUT"]
        else:
            hooks = ["INPUT"] if own else ["FORWARD"]
        states = [state]
        for hook in hooks:
            ended, passed = self._hook_all(Table.FILTER, hook, states)
            states = passed
            for some, verdict in ended:
                match verdict:
                    case Verdict.DROP:
                        yield _branch(some, Disposition.DROP)
                    case Reject():
                        yield _branch(some, Disposition.REJECT)
                    case _:
                        states.append(replace(some, let_in=hook == "INPUT"))
        for some in states:
            if some.dnat:
                yield from self._leave(some)
            else:
                yield _branch(some, Disposition.ACCEPT if some.let_in else Disposition.NONE)

    def _leave(self, state: _State) -> Iterator[Branch]:
        ended, passed = self._hook(Table.NAT, "POSTROUTING", state)
        yield from (_branch(some, Disposition.DNAT) for some in passed)
        for some, target in ended:
            masquerade = isinstance(target, Masquerade)
            yield _branch(replace(some, masquerade=masquerade), Disposition.DNAT)

    def _hook_all(self, table: Table, hook: str, states: Sequence[_State]) -> tuple[list[_Ended], list[_State]]:
        ended, passed = [], []
        for state in states:
            some_ended, some_passed = self._hook(table, hook, state)
            ended += some_ended
            passed += some_passed
        return ended, passed

    def _hook(self, table: Table, hook: str, state: _State) -> tuple[list[_Ended], list[_State]]:
        """A builtin chain: those a verdict ended, and those its policy lets pass."""
        jumps = [jump.rule for jump in reversed(self._ruleset.jumps) if jump.table is table and jump.chain == hook]
        return self._rules(table, hook, jumps, state)

    def _rules(
        self, table: Table, chain: str, rules: Sequence[Rule], entering: _State
    ) -> tuple[list[_Ended], list[_State]]:
        """The rules of one chain: those a verdict ended, and those that return from it."""
        ended: list[_Ended] = []
        returned: list[_State] = []
        live = [entering]
        for rule in rules:
            passing: list[_State] = []
            for state in live:
                chance = self._chance(rule, state)
                if chance < 1:
                    passing.append(replace(state, probability=state.probability * (1 - chance)))
                if chance == 0:
                    continue
                visits = (*state.visits, Visit(table=table, chain=chain, rule=rule))
                met = replace(state, probability=state.probability * chance, visits=visits)
                match rule.target:
                    case None:
                        passing.append(met)
                    case SetXmark(value, mask):
                        passing.append(replace(met, mark=met.mark & ~mask ^ value))
                    case Jump(name):
                        inner_ended, inner_returned = self._rules(table, name, self._ruleset.chains[table][name], met)
                        ended += inner_ended
                        passing += inner_returned
                    case Verdict.RETURN:
                        returned.append(met)
                    case verdict:
                        ended.append((met, verdict))
            live = passing
        return ended, returned + live

    def _chance(self, rule: Rule, state: _State) -> Fraction:
        """How likely the packet matches: 0, 1, or what `statistic` says."""
        holds = (
            (rule.protocol is None or rule.protocol is self._packet.protocol)
            and _holds(rule.source, self._packet.source)
            and _holds(rule.destination, state.destination)
            and (rule.interface is None or rule.interface.holds(self._interface))
        )
        chance = Fraction(int(holds))
        for match in rule.matches:
            if not chance:
                break
            chance *= self._match_chance(match, state)
        return chance

    def _match_chance(self, match: Match, state: _State) -> Fraction | int:
        match match:
            case Comment() | Nfacct() | RecentSet():
                return 1
            case Transport(protocol, port):
                return protocol is self._packet.protocol and port in (None, state.port)
            case Conntrack(states, negated):
                current = {State.NEW, State.DNAT} if state.dnat else {State.NEW}
                return bool(states & current) is not negated
            case AddrTypeLocal(side):
                return self._is_own(self._packet.source if side is Side.SOURCE else state.destination)
            case Mark(value, mask, negated):
                return (state.mark & mask == value) is not negated
            case Statistic(threshold):
                return Fraction(threshold, STATISTIC_ONE)
            case RecentCheck(name):
                return name in self._remembered
            case _:
                assert_never(match)


def _holds(pattern: Address | None, address: IPAddress) -> bool:
    return pattern is None or pattern.holds(address)


def _branch(state: _State, disposition: Disposition) -> Branch:
    translated = disposition is Disposition.DNAT
    return Branch(
        probability=state.probability,
        disposition=disposition,
        visits=state.visits,
        destination=(state.destination, state.port) if translated else None,
        masquerade=state.masquerade and translated,
    )
