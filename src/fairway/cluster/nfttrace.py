"""Run on a node (`python -m fairway.cluster.nfttrace [-6] PORT`): follows calls from a TCP port through nf_tables.

Calls over IPv4, or over IPv6 with -6.

The kernel traces by itself what a rule marks to be traced. That rule, for the first packet of a connection, is in a
table of this program's own, which the kernel removes when the program ends, however it ends. A line "ready", then for
each hook the packet comes to its addresses, and below them each rule that matched: its chain and what it decided. Ends
when its standard input is closed.
"""

from __future__ import annotations

import os
import selectors
import sys
from collections.abc import Iterator

from fairway.base.addresses import Family
from fairway.base.errors import FairwayError
from fairway.cluster.nftrules import rule_text, specs_of
from fairway.dataplane.nft.decode import decode_sets
from fairway.dataplane.nft.ruleset import TABLE as SERVICES_TABLE
from fairway.dataplane.nft.ruleset import Rule
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.expressions import (
    Bitwise,
    Cmp,
    CmpOp,
    Code,
    Expression,
    Immediate,
    Meta,
    MetaKey,
    MetaSet,
    Payload,
    PayloadBase,
    Verdict,
)
from fairway.netlink.nftables import (
    NFNLGRP_NFTRACE,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    ChainInfo,
    Hook,
    Kind,
    Request,
    TableFlag,
    body_of,
    decode_rule,
    dump,
    kind_of,
    new_chain,
    new_rule,
    new_table,
)
from fairway.netlink.socket import NetlinkSocket
from fairway.netlink.trace import Traced, TraceKind, decode_trace

TABLE = "fairway-trace"
_CHAIN = "prerouting"
_RAW = -300
"""NF_IP_PRI_RAW: before anything else is done with the packet."""

_LAST_PORT = 65535
_TCP = b"\x06"
_SPORT_OFFSET, _FLAGS_OFFSET = 0, 13
_SYN, _OTHERS = b"\x02", b"\x17"
"""Of FIN, SYN, RST and ACK the first packet of a connection has SYN alone."""


_PROTOCOLS = {Family.IPV4: NFPROTO_IPV4, Family.IPV6: NFPROTO_IPV6}


def table(port: int, family: Family = Family.IPV4) -> list[Request]:
    """The transaction that makes the kernel trace the first packet of connections from a TCP port."""
    chain = ChainInfo(TABLE, _CHAIN, int(Hook.PREROUTING), _RAW, kind="filter")
    first_packet: tuple[Expression, ...] = (
        Meta(MetaKey.L4PROTO),
        Cmp(CmpOp.EQ, _TCP),
        Payload(PayloadBase.TRANSPORT, _SPORT_OFFSET, 2),
        Cmp(CmpOp.EQ, port.to_bytes(2, "big")),
        Payload(PayloadBase.TRANSPORT, _FLAGS_OFFSET, 1),
        Bitwise(_OTHERS, b"\0"),
        Cmp(CmpOp.EQ, _SYN),
    )
    trace = (Immediate(b"\x01"), MetaSet(MetaKey.NFTRACE))
    protocol = _PROTOCOLS[family]
    return [
        new_table(protocol, TABLE, flags=TableFlag.OWNER),
        new_chain(protocol, chain),
        new_rule(protocol, TABLE, _CHAIN, (*first_packet, *trace), b""),
    ]


class RuleTexts:
    """The rules of the table of Services in nft's words, by what a trace calls them: their handles."""

    def __init__(self, kernel: NetlinkSocket, family: Family = Family.IPV4) -> None:
        self._kernel = kernel
        self._family = family
        self._texts: dict[int, str] = {}

    def of(self, step: Traced) -> str:
        """ "" for a rule of another table, or one that is gone."""
        if step.table != SERVICES_TABLE or not step.handle:
            return ""
        if step.handle not in self._texts:
            self._read()
        return self._texts.get(step.handle, "")

    def _read(self) -> None:
        specs = specs_of(decode_sets(self._bodies(Kind.GETSET)), self._family)
        rules = [decode_rule(body) for body in self._bodies(Kind.GETRULE)]
        self._texts |= {rule.handle: rule_text(Rule(rule.expressions), specs, self._family) for rule in rules}

    def _bodies(self, kind: Kind) -> list[bytes]:
        return [body_of(body) for _, body in self._kernel.ask(dump(kind, _PROTOCOLS[self._family], SERVICES_TABLE))]


def lines(step: Traced, rule: str) -> Iterator[str]:
    """A step as it is printed, below its packet where that is new; nothing for those in our own table."""
    if step.table == TABLE:
        return
    if step.headers is not None:
        yield str(step.headers)
    decided = told(step)
    yield f"  {step.chain:22}  {decided:28}  {rule if rule != decided else ''}".rstrip()


def told(step: Traced) -> str:
    """What was decided, in nft's words."""
    if step.kind is TraceKind.RETURN:
        return "return"
    decided = "?" if step.verdict is None else verdict_text(step.verdict)
    return f"policy {decided}" if step.kind is TraceKind.POLICY else decided


def verdict_text(verdict: Verdict) -> str:
    return f"{Code(verdict.code).name.lower()} {verdict.chain}".rstrip()


def main() -> int:
    family, words = (Family.IPV6, sys.argv[2:]) if sys.argv[1:2] == ["-6"] else (Family.IPV4, sys.argv[1:])
    if len(words) != 1 or not words[0].isdecimal() or int(words[0]) > _LAST_PORT:
        print("usage: python -m fairway.cluster.nfttrace [-6] PORT, the TCP port that calls come from", file=sys.stderr)
        return 2
    try:
        with NetlinkSocket() as kernel, NetlinkSocket() as owner:
            kernel.join(NFNLGRP_NFTRACE)
            owner.commit(table(int(words[0]), family))
            _follow(kernel, RuleTexts(owner, family))
    except KernelRefused as error:
        print(f"fairway: nf_tables refused: {error}", file=sys.stderr)
        return 1
    except FairwayError as error:
        print(f"fairway: {error}", file=sys.stderr)
        return 1
    return 0


def _follow(kernel: NetlinkSocket, rules: RuleTexts) -> None:
    selector = selectors.DefaultSelector()
    selector.register(kernel, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        # The kernel tells before the packet goes on: what came before standard input was closed is in the buffer.
        for step in _steps(kernel):
            for line in lines(step, rules.of(step)):
                print(line, flush=True)
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
            return


def _steps(kernel: NetlinkSocket) -> list[Traced]:
    told = [message for message in kernel.notifications() if kind_of(message.kind) is Kind.TRACE]
    return [decode_trace(body_of(message.body)) for message in told]


if __name__ == "__main__":
    sys.exit(main())
