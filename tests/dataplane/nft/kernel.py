"""A kernel in memory that takes our messages: what it would hold after them, or a refusal."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fairway.dataplane.nft.decode import observed, shape_of
from fairway.dataplane.nft.diff import Observed
from fairway.netlink.elements import Value, element_list
from fairway.netlink.exchange import Failure, KernelRefused
from fairway.netlink.expressions import Expression, ImmediateVerdict, Lookup, Update, Verdict
from fairway.netlink.nftables import Kind, Request, SetInfo, body_of, decode_chain, decode_rule, decode_set, kind_of


@dataclass
class Kernel:
    """Bodies of messages as they came, by what they made; elements by set."""

    table: bytes | None = None
    chains: dict[str, bytes] = field(default_factory=dict)
    rules: dict[str, list[bytes]] = field(default_factory=dict)
    sets: dict[str, SetInfo] = field(default_factory=dict)
    elements: dict[str, dict[bytes, Value]] = field(default_factory=dict)

    def commit(self, requests: Sequence[Request]) -> None:
        """In order; raises KernelRefused as the kernel would, for the first that it would not take."""
        for index, each in enumerate(requests):
            try:
                self._take(each)
            except LookupError as error:
                raise KernelRefused([Failure(index, errno.ENOENT, each.about, str(error))]) from error

    def observed(self, family: int) -> Observed | None:
        if self.table is None:
            return None
        return observed(
            self.table,
            family,
            chains=self.chains.values(),
            rules=[rule for rules in self.rules.values() for rule in rules],
            sets=self.sets,
            elements=self.elements,
        )

    def _take(self, each: Request) -> None:
        kind, body = kind_of(each.kind), body_of(each.body)
        match kind:
            case Kind.DELTABLE:
                if self.table is None:
                    raise LookupError("there is no table")
                self.__init__()  # as new
            case Kind.NEWTABLE:
                self.table = body
            case Kind.NEWSET:
                info = decode_set(body)
                self.sets[info.name], self.elements[info.name] = info, {}
            case Kind.NEWCHAIN:
                self.chains[decode_chain(body).name] = body
            case Kind.NEWRULE:
                rule = decode_rule(body)
                self._find(rule.expressions)
                self.rules.setdefault(self._chain(rule.chain), []).append(body)
            case Kind.DELRULE:
                self.rules.pop(self._chain(decode_rule(body).chain), None)
            case Kind.NEWSETELEM | Kind.DELSETELEM:
                self._take_elements(kind, body)
            case Kind.DELCHAIN:
                name = self._chain(decode_chain(body).name)
                if name in set(self._referred()):
                    raise LookupError(f"chain {name} is in use")
                del self.chains[name]
                self.rules.pop(name, None)
            case Kind.DELSET:
                name = decode_set(body).name
                if name in set(self._referred()):
                    raise LookupError(f"set {name} is in use")
                del self.sets[name], self.elements[name]
            case _:
                raise AssertionError(f"no message of a transaction: {kind}")

    def _take_elements(self, kind: Kind, body: bytes) -> None:
        _, name, data = element_list(body)
        held = self.elements[name]
        for key, value in shape_of(self.sets[name]).unpack(data).items() if kind is Kind.NEWSETELEM else ():
            if key in held:
                raise LookupError(f"element {key.hex()} of {name} is there")
            if isinstance(value, bytes) and self.sets[name].field_lengths:
                self._may_not_overlap(name, key, value)
            if isinstance(value, Verdict) and value.chain:
                self._chain(value.chain)
            held[key] = value
        for key in _keys(self.sets[name], data) if kind is Kind.DELSETELEM else ():
            del held[key]

    def _may_not_overlap(self, name: str, first: bytes, last: bytes) -> None:
        """Ranges of concatenations meet where those of each field do (nft_pipapo_insert)."""
        for low, high in self.elements[name].items():
            assert isinstance(high, bytes)
            fields = [slice(start, start + 4) for start in range(0, len(first), 4)]
            if all(low[field] <= last[field] and first[field] <= high[field] for field in fields):
                raise LookupError(f"ranges of {name} overlap")

    def _chain(self, name: str) -> str:
        if name not in self.chains:
            raise LookupError(f"there is no chain {name}")
        return name

    def _find(self, expressions: Iterable[Expression]) -> None:
        for each in expressions:
            if isinstance(each, ImmediateVerdict) and each.verdict.chain:
                self._chain(each.verdict.chain)
            if isinstance(each, Lookup | Update) and each.set not in self.sets:
                raise LookupError(f"there is no set {each.set}")

    def _referred(self) -> Iterable[str]:
        for rules in self.rules.values():
            for body in rules:
                for each in decode_rule(body).expressions:
                    if isinstance(each, ImmediateVerdict):
                        yield each.verdict.chain
                    elif isinstance(each, Lookup | Update):
                        yield each.set
        for elements in self.elements.values():
            for value in elements.values():
                if isinstance(value, Verdict):
                    yield value.chain


def _keys(info: SetInfo, data: bytes) -> Iterable[bytes]:
    """Deletions leave out values, so that they are read without."""
    return dict(shape_of(info)._unpack(data))
