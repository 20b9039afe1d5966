"""What leaves the pod network leaves under the node's address, as kind's ip-masq-agent has it.

Pods see each other's own addresses; machines outside know no way back to those, so to them a pod is its node. The
same goes for a pod that calls another node's address: the node entered must see the reply, or it cannot undo its DNAT.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.base.addresses import Family, IPNetwork
from fairway.base.errors import Refused, Unsupported
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.expressions import (
    Bitwise,
    Cmp,
    CmpOp,
    Expression,
    FibType,
    Masquerade,
    Payload,
    PayloadBase,
)
from fairway.netlink.nftables import (
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    ChainInfo,
    Hook,
    Request,
    delete_table,
    new_chain,
    new_rule,
    new_table,
)
from fairway.netlink.socket import NetlinkSocket
from fairway.netlink.userdata import comment_record
from fairway.plan.options import Mode

TABLE = "fairway-masq"
"""Of mode nftables: a table of its own, so that whoever writes the Services' never sees it."""

_CHAIN_NAME = "postrouting"
_PRIORITY = 110
"""After kube-proxy's and the agent's postrouting (NF_IP_PRI_NAT_SRC, 100), whose marks are for them to clear."""

_RTN_LOCAL = 2
"""linux/rtnetlink.h: the address is this machine's."""

CHAIN = "IP-MASQ-AGENT"
"""Named for kubernetes-sigs/ip-masq-agent, which does the same; kube-proxy's rules are not touched."""

_SUPERUSER_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian keeps iptables; not on an ordinary user's PATH."""

_WAIT = ("-w", "5")
"""Seconds to wait for xtables' lock, as kube-proxy does (pkg/util/iptables)."""


@dataclass(frozen=True, slots=True)
class _Words:
    """What differs between families. saddr, daddr, length: in bytes, of the addresses in the header."""

    protocol: int
    saddr: int
    daddr: int
    length: int
    iptables: str


_WORDS = {
    Family.IPV4: _Words(NFPROTO_IPV4, saddr=12, daddr=16, length=4, iptables="iptables"),
    Family.IPV6: _Words(NFPROTO_IPV6, saddr=8, daddr=24, length=16, iptables="ip6tables"),
}
"""RFC 791, section 3.1; RFC 8200, section 3."""


def jump(pod_network: IPNetwork) -> tuple[str, ...]:
    """The rule of POSTROUTING, as iptables takes it after -A or -C."""
    words = "-m addrtype ! --dst-type LOCAL -m comment --comment"
    return ("POSTROUTING", "-s", str(pod_network), *words.split(), "pods to where they are not known", "-j", CHAIN)


def chain(pod_network: IPNetwork) -> str:
    """Input of `iptables-restore --noflush`, or of ip6tables-restore: the chain, made or made anew."""
    return "\n".join(
        (
            "*nat",
            f":{CHAIN} - [0:0]",
            f'-A {CHAIN} -d {pod_network} -m comment --comment "pods know each other" -j RETURN',
            f'-A {CHAIN} -m comment --comment "to others a pod is its node" -j MASQUERADE --random-fully',
            "COMMIT\n",
        )
    )


async def ensure_masquerade(pod_network: IPNetwork, mode: Mode) -> None:
    """Put the rules of the network's family in this network namespace, each once however often it is called.

    mode: the node's, so that a node of mode nftables needs no iptables. Raises Unsupported for what the machine lacks,
    Refused, with its words, where iptables or the kernel refuses.
    """
    if mode is Mode.NFTABLES:
        _put_table(pod_network)
    else:
        await _put_chain(pod_network)


def table(pod_network: IPNetwork) -> list[Request]:
    """The transaction of mode nftables: the table, made or made anew."""
    chain = ChainInfo(TABLE, _CHAIN_NAME, int(Hook.POSTROUTING), _PRIORITY, kind="nat")
    comment = comment_record("to those who do not know it a pod is its node")
    protocol = _words(pod_network).protocol
    return [
        new_table(protocol, TABLE),
        delete_table(protocol, TABLE),  # which must be there to be deleted
        new_table(protocol, TABLE, comment_record("pods to the world outside, written by fairway")),
        new_chain(protocol, chain),
        new_rule(protocol, TABLE, _CHAIN_NAME, _rule(pod_network), comment),
    ]


def _words(network: IPNetwork) -> _Words:
    return _WORDS[Family(network.version)]


def _rule(pod_network: IPNetwork) -> tuple[Expression, ...]:
    return (
        *_in_network(pod_network, _words(pod_network).saddr, CmpOp.EQ),
        *_in_network(pod_network, _words(pod_network).daddr, CmpOp.NEQ),
        FibType(source=False),
        Cmp(CmpOp.NEQ, _RTN_LOCAL.to_bytes(4, sys.byteorder)),
        Masquerade(),
    )


def _in_network(network: IPNetwork, offset: int, op: CmpOp) -> tuple[Expression, ...]:
    length = _words(network).length
    mask = Bitwise(network.netmask.packed, bytes(length))
    return Payload(PayloadBase.NETWORK, offset, length), mask, Cmp(op, network.network_address.packed)


def _put_table(pod_network: IPNetwork) -> None:
    try:
        with NetlinkSocket() as kernel:
            kernel.commit(table(pod_network))
    except KernelRefused as error:
        raise Refused(f"nf_tables: {error}") from error


async def _put_chain(pod_network: IPNetwork) -> None:
    iptables = _words(pod_network).iptables
    await _run((f"{iptables}-restore", *_WAIT, "--noflush"), stdin=chain(pod_network))
    rule = jump(pod_network)
    code, _ = await _call((iptables, *_WAIT, "-t", "nat", "-C", *rule))
    if code:
        await _run((iptables, *_WAIT, "-t", "nat", "-A", *rule))


async def _run(argv: Sequence[str], *, stdin: str = "") -> None:
    code, said = await _call(argv, stdin=stdin)
    if code:
        raise Refused(f"{argv[0]}: {said.strip() or f'exit status {code}'}")


async def _call(argv: Sequence[str], *, stdin: str = "") -> tuple[int, str]:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SUPERUSER_PATH}", "LC_ALL": "C"}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
    except FileNotFoundError as error:
        raise Unsupported(f"{argv[0]} is not installed; as root run: apt-get install iptables") from error
    said, _ = await process.communicate(stdin.encode())
    return process.returncode or 0, said.decode(errors="replace")
