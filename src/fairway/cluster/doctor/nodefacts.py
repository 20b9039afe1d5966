"""Run on a node (`python -m fairway.cluster.doctor.nodefacts [QUESTIONS]`): prints what the doctor asks of it.

QUESTIONS and the answer are JSON (`facts`). It only reads: nothing on the node is changed, no table made.
Without the privilege for nf_tables, and without programs that the node lacks, it says less.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from fairway.base.addresses import Family
from fairway.base.errors import FairwayError
from fairway.cluster.doctor.facts import Link, Listener, NodeFacts, ProxyProcess, Questions
from fairway.cluster.doctor.filters import FilterTable
from fairway.cluster.doctor.iptables_rules import read_tables
from fairway.cluster.doctor.nft_rules import FAMILIES, read_table
from fairway.cluster.doctor.sockets import STATES, listening
from fairway.cluster.nftrules import listing
from fairway.cluster.tools import HOST_PATH
from fairway.dataplane.nft.backend import NftBackend
from fairway.dataplane.nft.decode import shape_of
from fairway.dataplane.nft.ruleset import TABLE
from fairway.netlink.elements import CATCHALL, dump_elements, element_list
from fairway.netlink.exchange import KernelRefused
from fairway.netlink.nftables import (
    ChainInfo,
    Kind,
    SetFlag,
    SetInfo,
    body_of,
    decode_chain,
    decode_rule,
    decode_set,
    dump,
    family_of,
    request,
)
from fairway.netlink.socket import NetlinkSocket
from fairway.netlink.wire import NLM_F_DUMP

LOOPBACK = "127.0.0.1"
HEALTHZ_PORT = 10256
"""kube-proxy's, and the agent's (`healthzBindAddress`)."""
OURS = (TABLE, f"{TABLE}-masq")
KUBE_PROXY_TABLE = "kube-proxy"
"""pkg/proxy/nftables/proxier.go, kubeProxyTable."""

_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_local_reserved_ports",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)
_PER_LINK = ("net/ipv4/conf/*/rp_filter",)
_LEGACY_TABLES = {"ip": Path("/proc/net/ip_tables_names"), "ip6": Path("/proc/net/ip6_tables_names")}
_XTABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})
_TIMEOUT_S = 20
_ANSWER_S = 2
_PROXY_NAMES = ("kube-proxy",)
_SYS = Path("/proc/sys")


def gather(questions: Questions) -> NodeFacts:
    """Everything about the network namespace this process is in."""
    tables, kube_proxy = _nft_tables()
    saved = dict(_saved({(table.family, table.name) for table in tables}))
    told = [
        table
        for program, text in saved.items()
        for table in read_tables(text, program, family="ip6" if program.startswith("ip6") else "ip")
    ]
    links = tuple(_links())
    by_nft = {(table.family, table.name) for table in told if "legacy" not in table.program}
    return NodeFacts(
        hostname=socket.gethostname(),
        sysctls=dict(_sysctls()),
        links=links,
        routes=dict(_routes(questions.routes_to)),
        listeners=tuple(_listeners()),
        tables=(*(table for table in tables if (table.family, table.name) not in by_nft), *told),
        services=_services(),
        saved=saved,
        kube_proxy=kube_proxy,
        proxies=tuple(_proxies()),
        agent=_status([LOOPBACK], HEALTHZ_PORT, "/healthz"),
        health_checks={port: _status(own_addresses(links), port, "/") for port in questions.health_checks},
    )


def _sysctls() -> Iterator[tuple[str, str]]:
    for path in [_SYS / name for name in _SYSCTLS] + [path for glob in _PER_LINK for path in sorted(_SYS.glob(glob))]:
        try:
            yield str(path.relative_to(_SYS)), path.read_text().strip()
        except OSError:
            continue  # not in this kernel, or not in a namespace


def _links() -> Iterator[Link]:
    with IPRoute() as netlink:  # type: ignore[no-untyped-call]  # pyroute2 has no types here
        addresses: dict[int, list[str]] = {}
        for message in netlink.get_addr():
            local = message.get("local") or message.get("address")
            addresses.setdefault(message["index"], []).append(f"{local}/{message['prefixlen']}")
        for message in netlink.get_links():
            yield Link(
                name=message.get("ifname"),
                kind=(message.get("linkinfo") or {}).get("kind") or "",
                up=message.get("state") == "up",
                addresses=tuple(addresses.get(message["index"], ())),
            )


def _routes(addresses: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """By which link the kernel would send, its rules of policy routing included."""
    with IPRoute() as netlink:  # type: ignore[no-untyped-call]  # pyroute2 has no types here
        names = {message["index"]: message.get("ifname") for message in netlink.get_links()}
        for address in addresses:
            try:
                found = netlink.route("get", dst=address)
                yield address, names.get(found[0].get("oif"), "") if found else ""
            except NetlinkError:
                yield address, ""


def _listeners() -> Iterator[Listener]:
    owners = _owners()
    for file, state in STATES.items():
        try:
            text = Path("/proc/self/net", file).read_text()
        except OSError:
            continue  # no IPv6
        for each in listening(text, state):
            pid, process = owners.get(each.inode, (0, ""))
            yield Listener(
                protocol=file.removesuffix("6"), port=each.port, address=each.address, pid=pid, process=process
            )


def _owners() -> dict[int, tuple[int, str]]:
    """Process and its name by the number of a socket, for those that may be seen."""
    owners: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (folder / "fd").iterdir()]
            name = (folder / "comm").read_text().strip()
        except OSError:
            continue  # ended meanwhile, or somebody else's
        for link in links:
            if link.startswith("socket:["):
                owners.setdefault(int(link[len("socket:[") : -1]), (int(folder.name), name))
    return owners


def _proxies() -> Iterator[ProxyProcess]:
    """kube-proxy and agents of this network namespace, by their command lines."""
    own = os.stat("/proc/self/ns/net").st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if (folder / "ns" / "net").stat().st_ino != own:
                continue
        except OSError:
            continue
        name = _proxy_name(words)
        if name:
            yield ProxyProcess(pid=int(folder.name), name=name, node=_hostname_override(words))


def _proxy_name(words: list[str]) -> str:
    programs = [Path(word).name for word in words[:3]]
    if programs and programs[0] in _PROXY_NAMES:
        return programs[0]
    return "fairway proxy" if "fairway" in programs and "proxy" in words[1:4] else ""


def _hostname_override(words: list[str]) -> str:
    for index, word in enumerate(words):
        option, given, value = word.partition("=")
        if option == "--hostname-override":
            name = value if given else words[index + 1] if index + 1 < len(words) else ""
            return name.strip().lower()
    return socket.gethostname().strip().lower()


# -- packet filters


def _nft_tables() -> tuple[list[FilterTable], tuple[str, ...]]:
    """The tables that are no proxy's, and the names of kube-proxy's; nothing where they may not be read."""
    try:
        with NetlinkSocket() as kernel:
            return _read_tables(kernel)
    except FairwayError:
        return [], ()


def _read_tables(kernel: NetlinkSocket) -> tuple[list[FilterTable], tuple[str, ...]]:
    tables: list[FilterTable] = []
    kube_proxy: list[str] = []
    for family in FAMILIES:
        chains = [decode_chain(body) for body in _dump(kernel, Kind.GETCHAIN, family)]
        for name in dict.fromkeys(chain.table for chain in chains):
            if name == KUBE_PROXY_TABLE:
                kube_proxy.append(f"{FAMILIES[family][0]} {name}")
            elif name not in OURS:
                tables.append(_table(kernel, family, name, [chain for chain in chains if chain.table == name]))
    return tables, tuple(kube_proxy)


def _table(kernel: NetlinkSocket, family: int, name: str, chains: list[ChainInfo]) -> FilterTable:
    rules = [info for info in map(decode_rule, _dump(kernel, Kind.GETRULE, family, name)) if info.table == name]
    sets = [info for info in map(decode_set, _dump(kernel, Kind.GETSET, family, name)) if info.table == name]
    return read_table(family, name, chains, rules, dict(_elements(kernel, family, sets)))


def _elements(kernel: NetlinkSocket, family: int, sets: list[SetInfo]) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """The keys of sets that hold single keys of one field and that packets do not fill."""
    for info in sets:
        if info.flags & (SetFlag.INTERVAL | SetFlag.MAP | SetFlag.EVAL | SetFlag.TIMEOUT | SetFlag.CONCAT):
            continue
        try:
            shape = shape_of(info)
            answers = kernel.ask(dump_elements(family, info.table, info.name))
            keys = [key for _, body in answers for key in shape.unpack(element_list(body_of(body))[2])]
        except (KernelRefused, ValueError):
            continue
        if CATCHALL not in keys:
            yield info.name, tuple(key[: info.key_length] for key in keys)


def _dump(kernel: NetlinkSocket, kind: Kind, family: int, table: str = "") -> list[bytes]:
    """The bodies of all that there is in a family, or in a table of it."""
    asked = dump(kind, family, table) if table else request(kind, family, flags=NLM_F_DUMP, about=f"all of {kind.name}")
    try:
        return [body_of(body) for _, body in kernel.ask(asked) if family_of(body) == family]
    except KernelRefused:
        return []


def _services() -> Mapping[str, Any]:
    """Our own tables, as `fairway rules -o json` has them."""
    found: dict[str, Any] = {}
    try:
        backend = NftBackend()
    except FairwayError:
        return found
    try:
        for family in Family:
            seen = backend.look(family)
            if seen is not None:
                told = listing(seen, family)
                found[told["table"]] = told
    except FairwayError:
        pass
    finally:
        backend.close()
    return found


def _saved(tables: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What iptables-save says, each variant only where the kernel holds something of it: to ask would make it."""
    for family, prefix in (("ip", "iptables"), ("ip6", "ip6tables")):
        if any((family, name) in tables for name in _XTABLES):
            yield from _run_save(f"{prefix}-nft-save")
        try:
            legacy = _LEGACY_TABLES[family].read_text().split()
        except OSError:
            legacy = []
        if legacy:
            yield from _run_save(f"{prefix}-legacy-save")


def _run_save(program: str) -> Iterator[tuple[str, str]]:
    path = shutil.which(program, path=HOST_PATH)
    if path is None:
        return
    try:
        done = subprocess.run([path], capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    text = done.stdout.decode(errors="replace")
    if done.returncode == 0 and "*" in text:
        yield program, text


def own_addresses(links: Iterable[Link]) -> list[str]:
    """Those that others call, then loopback; not those of one link alone, which need its name."""
    found = [text.partition("/")[0] for link in links for text in link.addresses]
    return [*(each for each in found if not each.startswith(("127.", "fe80:")) and each != "::1"), LOOPBACK]


def _status(addresses: list[str], port: int, path: str) -> int:
    """What an HTTP server of this node answers, at the first of these addresses where one does; 0 where none does."""
    for address in addresses:
        connection = http.client.HTTPConnection(address, port, timeout=_ANSWER_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return 0


def main() -> int:
    questions = msgspec.json.decode(sys.argv[1] if len(sys.argv) > 1 else "{}", type=Questions)
    sys.stdout.buffer.write(msgspec.json.encode(gather(questions)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
