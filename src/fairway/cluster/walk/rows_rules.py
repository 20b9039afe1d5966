"""S7 and S8: the kernel's rules under one call, and its two translations."""

from __future__ import annotations

from fairway.base.addresses import Family
from fairway.cluster.walk.conntrack import Connection, parse_connections
from fairway.cluster.walk.facts import (
    ENDPOINT_CHAINS,
    PROBABILITIES,
    SELECTOR,
    SERVICE_HASH,
    TARGET_PORT,
)
from fairway.cluster.walk.language import Unseen
from fairway.cluster.walk.rows_service import call, node_port
from fairway.cluster.walk.rules import Rule, matched, parse_rules
from fairway.cluster.walk.stage import Stage

SOURCE_PORT = 41001
"""The client's port of the call that is followed, so that it is found among the others."""

_SVC, _EXT = f"KUBE-SVC-{SERVICE_HASH}", f"KUBE-EXT-{SERVICE_HASH}"


async def chain_by_chain(stage: Stage) -> None:
    """S7."""
    node, chains = stage.scenario.control_plane, ENDPOINT_CHAINS[stage.family]
    iptables = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}[stage.family]
    await stage.run_in(node, iptables, "-t", "nat", "--zero")
    told = await call(stage, stage.node_addresses[node])
    stage.check("the call was answered", told is not None, told and told["os"]["hostname"])
    wanted = f"PREROUTING|POSTROUTING|KUBE-NODEPORTS|MARK-MASQ|SERVICES.*LOCAL|{SERVICE_HASH}|" + "|".join(
        name.removeprefix("KUBE-SEP-") for name in chains.values()
    )
    listing = await stage.sh(node, f"{iptables} -t nat -v -S | grep -E '{wanted}'")
    rules = parse_rules(listing.output)

    steps = [
        ("PREROUTING", "KUBE-SERVICES"),
        ("KUBE-SERVICES", "KUBE-NODEPORTS"),
        ("KUBE-NODEPORTS", _EXT),
        (_EXT, "KUBE-MARK-MASQ"),
        (_EXT, _SVC),
    ]
    for chain, target in steps:
        _judge_counted(stage, rules, chain, target)
    chosen = [rule.target for rule in rules if rule.chain == _SVC and rule.packets and rule.target != "KUBE-MARK-MASQ"]
    stage.check("{chain} chose one endpoint's chain", len(chosen) == 1, chosen, chain=_SVC)
    for endpoint in filter(None, chosen):
        counted = matched(rules, endpoint, "DNAT") == 1
        seen = _lines(rules, endpoint)
        stage.check("{chain} -> {target} counted the call", counted, seen, chain=endpoint, target="DNAT")
    for chain, target in (("POSTROUTING", "KUBE-POSTROUTING"), ("KUBE-POSTROUTING", "MASQUERADE")):
        _judge_counted(stage, rules, chain, target)

    local = [rule for rule in rules if (rule.chain, rule.target) == ("KUBE-SERVICES", "KUBE-NODEPORTS")]
    stage.check(
        "node ports are asked last, for the node's own addresses (--dst-type LOCAL)",
        [rule.option("--dst-type") for rule in local] == ["LOCAL"],
        [rule.line for rule in local],
    )
    destinations = {
        (rule.option("--to-destination") or ""): rule.chain
        for rule in rules
        if rule.target == "DNAT" and rule.chain in chains.values()
    }
    expected = {stage.at(address, TARGET_PORT): chain for address, chain in chains.items()}
    stage.check("the endpoints' chains have the study's very names", destinations == expected, destinations)
    cascade = [rule for rule in rules if rule.chain == _SVC and rule.target in chains.values()]
    probabilities = [rule.option("--probability") for rule in cascade]
    stage.check("the probabilities are 1/3, 1/2 and none", probabilities == PROBABILITIES, probabilities)


async def there_and_back(stage: Stage) -> None:
    """S8."""
    node = stage.scenario.control_plane
    address = stage.node_addresses[node]
    port = stage.client_port(SOURCE_PORT)
    told = await call(stage, address, local_port=port) or {}
    seen_peer = told.get("ip")
    stage.check("the pod sees the node that was entered as its peer", seen_peer == address, seen_peer)

    connection = await tracked(stage, node, local_port=port)
    original, reply = connection.original, connection.reply
    to_pod = reply.source in ENDPOINT_CHAINS[stage.family] and reply.source_port == TARGET_PORT
    stage.check(
        "DNAT: sent to the node port, the reply is expected from a pod's 8080",
        original.destination == address and to_pod,
        connection.line,
    )
    stage.check(
        "SNAT: the client's address is replaced by the node's, so the reply comes back to the node",
        original.source == stage.client_address and reply.destination == address,
        connection.line,
    )
    pod_node = await node_of_pod(stage, reply.source)
    ports = ("--orig-port-src", str(reply.destination_port), "--orig-port-dst", str(TARGET_PORT))
    arrived = await stage.run_in(pod_node, *_conntrack(stage), "--orig-src", address, *ports)
    seen = [(entry.original.destination, entry.reply.destination) for entry in parse_connections(arrived.output)]
    stage.check(
        "{node} carries it on from the node that was entered, and the pod's answer goes back there",
        seen == [(reply.source, address)],
        arrived.output.strip(),
        node=pod_node,
    )


async def tracked(stage: Stage, node: str, *, local_port: int) -> Connection:
    """The client's connection from `local_port` to the node port, as `node` tracks it.

    Raises Unseen where there is none.
    """
    port = str(await node_port(stage))
    client = ("--orig-src", stage.client_address, "--orig-port-src", str(local_port))
    listed = await stage.run_in(node, *_conntrack(stage), *client, "--orig-port-dst", port)
    connections = parse_connections(listed.output)
    if not connections:
        raise Unseen(
            "{node} tracks no connection of the client from port {source} to port {port}",
            node=node,
            source=local_port,
            port=port,
        )
    return connections[0]


def _conntrack(stage: Stage) -> tuple[str, ...]:
    """Lists what the kernel tracks of TCP in the row's family; IPv4 is conntrack's own choice."""
    return ("conntrack", "-L", *(("-f", "ipv6") if stage.family is Family.IPV6 else ()), "-p", "tcp")


async def node_of_pod(stage: Stage, address: str) -> str:
    """The node of the study's pod with that address."""
    pods = (await stage.get("pods", "-l", SELECTOR))["items"]
    return next(str(pod["spec"]["nodeName"]) for pod in pods if {"ip": address} in pod["status"].get("podIPs", ()))


def _judge_counted(stage: Stage, rules: list[Rule], chain: str, target: str) -> None:
    counted = matched(rules, chain, target) >= 1
    stage.check("{chain} -> {target} counted the call", counted, _lines(rules, chain), chain=chain, target=target)


def _lines(rules: list[Rule], chain: str) -> list[str]:
    return [rule.line for rule in rules if rule.chain == chain]
