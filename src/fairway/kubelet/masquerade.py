"""What leaves the pod network leaves under the node's address, as kind's ip-masq-agent has it.

Pods see each other's own addresses; machines outside know no way back to those, so to them a pod is its node. The
same goes for a pod that calls another node's address: the node entered must see the reply, or it cannot undo its DNAT.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from ipaddress import IPv4Network

from fairway.base.errors import Refused, Unsupported

CHAIN = "IP-MASQ-AGENT"
"""Named for kubernetes-sigs/ip-masq-agent, which does the same; kube-proxy's rules are not touched."""

_SUPERUSER_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian keeps iptables; not on an ordinary user's PATH."""

_WAIT = ("-w", "5")
"""Seconds to wait for xtables' lock, as kube-proxy does (pkg/util/iptables)."""


def jump(pod_network: IPv4Network) -> tuple[str, ...]:
    """The rule of POSTROUTING, as iptables takes it after -A or -C."""
    words = "-m addrtype ! --dst-type LOCAL -m comment --comment"
    return ("POSTROUTING", "-s", str(pod_network), *words.split(), "pods to where they are not known", "-j", CHAIN)


def chain(pod_network: IPv4Network) -> str:
    """Input of `iptables-restore --noflush`: the chain, made or made anew."""
    return "\n".join(
        (
            "*nat",
            f":{CHAIN} - [0:0]",
            f'-A {CHAIN} -d {pod_network} -m comment --comment "pods know each other" -j RETURN',
            f'-A {CHAIN} -m comment --comment "to others a pod is its node" -j MASQUERADE --random-fully',
            "COMMIT\n",
        )
    )


async def ensure_masquerade(pod_network: IPv4Network) -> None:
    """Put the rules in this network namespace, each once however often it is called.

    Raises Unsupported without iptables, Refused, with its words, where it refuses.
    """
    await _run(("iptables-restore", *_WAIT, "--noflush"), stdin=chain(pod_network))
    rule = jump(pod_network)
    code, _ = await _call(("iptables", *_WAIT, "-t", "nat", "-C", *rule))
    if code:
        await _run(("iptables", *_WAIT, "-t", "nat", "-A", *rule))


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
