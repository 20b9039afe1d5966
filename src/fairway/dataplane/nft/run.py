"""Send a packet through a Ruleset: what the kernel would do with it, without a kernel. Pure.

Each random choice is followed both ways, so that the answer holds every backend with its probability. The packet is
the first of a connection: later ones meet no rule of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from fairway.base.addresses import IPAddress
from fairway.dataplane.nft.machine import End, Found, Machine, State, Visit
from fairway.dataplane.nft.ruleset import Chain, Ruleset
from fairway.flow.packet import Packet
from fairway.flow.trace import Disposition
from fairway.netlink.expressions import Code, Verdict
from fairway.netlink.nftables import Hook

__all__ = ["Branch", "Found", "Visit", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of the ways a packet may go.

    probability: of this one; those of all branches sum to 1. destination: address and port it was sent on to, for
    DNAT. masquerade: its source is rewritten on the way out; that a backend in this node's own network is delivered
    without leaving, and so without the hook postrouting, is left aside. mark, priority: what the packet has in the end.
    visits: the rules it met, in order.
    """

    probability: Fraction
    disposition: Disposition
    visits: tuple[Visit, ...]
    destination: tuple[IPAddress, int] | None = None
    masquerade: bool = False
    mark: int = 0
    priority: int = 0


def run(
    ruleset: Ruleset,
    packet: Packet,
    *,
    is_own: Callable[[IPAddress], bool],
    remembered: frozenset[str] = frozenset(),
    mark: int = 0,
) -> tuple[Branch, ...]:
    """The ways of `packet` on a machine that has no other rules.

    is_own: whether an address is one of this machine. remembered: the names of the sets of clients that hold the
    packet's source. mark: what others marked it with before. Raises ValueError for rules that none of ours are.
    """
    return tuple(_Run(ruleset, Machine(ruleset, packet, is_own, remembered)).branches(packet, mark))


_Live = tuple[Fraction, State]
_Ended = tuple[Fraction, State, End]


class _Run:
    def __init__(self, ruleset: Ruleset, machine: Machine) -> None:
        self._ruleset = ruleset
        self._machine = machine

    def branches(self, packet: Packet, mark: int) -> Iterator[Branch]:
        first = State(packet.destination, packet.port, mark)
        if packet.destination.version != self._ruleset.family:
            yield _branch(Fraction(1), first, Disposition.NONE)  # it never meets a table of the other family
            return
        for chance, state, end in self._hook(Hook.OUTPUT if packet.from_node else Hook.PREROUTING, Fraction(1), first):
            if end is not End.ACCEPT:
                yield _branch(chance, state, Disposition[end.name])
            elif state.dnat:
                yield from self._leave(chance, state)
            else:
                yield _branch(chance, state, Disposition.NONE)

    def _leave(self, chance: Fraction, entering: State) -> Iterator[Branch]:
        for part, state, end in self._hook(Hook.POSTROUTING, chance, entering):
            yield _branch(part, state, Disposition.DNAT if end is End.ACCEPT else Disposition[end.name])

    def _hook(self, hook: Hook, chance: Fraction, entering: State) -> Iterator[_Ended]:
        """The base chains of a hook in their order; their policy is to accept."""
        live = [(chance, entering)]
        for chain in _base_chains(self._ruleset, hook):
            passed: list[_Live] = []
            for some in live:
                ended, returned = self._chain(chain.name, *some)
                passed += returned
                passed += [(part, state) for part, state, end in ended if end is End.ACCEPT]
                yield from (each for each in ended if each[2] is not End.ACCEPT)
            live = passed
        yield from ((part, state, End.ACCEPT) for part, state in live)

    def _chain(self, name: str, chance: Fraction, entering: State) -> tuple[list[_Ended], list[_Live]]:
        """The rules of one chain: those a verdict ended, and those that go on behind the jump that led here."""
        ended: list[_Ended] = []
        returned: list[_Live] = []
        live = [(chance, entering)]
        for rule in self._ruleset.chains[name].rules:
            passing: list[_Live] = []
            for before, state in live:
                for way in self._machine.carry_out(name, rule, state):
                    part = before * way.chance
                    match way.verdict:
                        case End():
                            ended.append((part, way.state, way.verdict))
                        case Verdict(Code.JUMP | Code.GOTO as code, chain):
                            inner_ended, inner_returned = self._chain(chain, part, way.state)
                            ended += inner_ended
                            (passing if code is Code.JUMP else returned).extend(inner_returned)
                        case Verdict(Code.RETURN):
                            returned.append((part, way.state))
                        case _:
                            passing.append((part, way.state))
            live = passing
        return ended, returned + live


def _base_chains(ruleset: Ruleset, hook: Hook) -> list[Chain]:
    hooked = [
        (chain.hook.priority, chain) for chain in ruleset.chains.values() if chain.hook and chain.hook.hook is hook
    ]
    return [chain for _, chain in sorted(hooked, key=lambda pair: pair[0])]


def _branch(chance: Fraction, state: State, disposition: Disposition) -> Branch:
    translated = disposition is Disposition.DNAT
    return Branch(
        probability=chance,
        disposition=disposition,
        visits=state.visits,
        destination=(state.destination, state.port) if translated else None,
        masquerade=state.masquerade and translated,
        mark=state.mark,
        priority=state.priority,
    )
