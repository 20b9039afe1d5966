"""S7 in mode nftables: the maps and chains of one node, and the kernel's own trace of one packet through them."""

from __future__ import annotations

from fairway.base.addresses import Family
from fairway.cluster.walk.facts import ENDPOINT_CHAINS, TARGET_PORT
from fairway.cluster.walk.nftables import Step, Table, parse_table, parse_trace
from fairway.cluster.walk.rows_service import call, node_port
from fairway.cluster.walk.stage import Stage

TRACED_PORT = 41003
"""The client's port of the call that is traced."""


def _endpoints(stage: Stage) -> list[str]:
    """The study's, as a map holds them."""
    return [f"{address} . {TARGET_PORT}" for address in ENDPOINT_CHAINS[stage.family]]


def _protocol(stage: Stage) -> str:
    """As nft calls the row's family."""
    return {Family.IPV4: "ip", Family.IPV6: "ip6"}[stage.family]


async def chain_by_chain(stage: Stage) -> None:
    """S7."""
    node = stage.scenario.control_plane
    address = stage.node_addresses[node]
    port = await node_port(stage)
    elements, rules = rf"tcp \. {port} |= \{{ {address}|nodeport-masquerade", "@nodeport-(ips|backends)|vmap @classes"
    table = parse_table(await stage.rules(node, f"{elements}|{rules}|masquerade fully-random"))
    door_class = table.value("nodeports", f"tcp . {port}")
    stage.check("the map nodeports holds {port}", door_class is not None, table.sets.get("nodeports"), port=port)
    chain = (table.value("classes", str(door_class)) or "").removeprefix("goto ")
    stage.check("the map classes leads from its class to a chain", chain in table.chains, {door_class: chain})
    _judge_choice(stage, table, port, chain)
    _judge_node_port_rule(stage, table, address)

    steps = parse_trace(await _traced_call(stage, node, address))
    _judge_way(stage, steps, chain)
    packets = list(dict.fromkeys(step.packet for step in steps))
    came, went = (packets[0].split(" -> ")[-1], packets[-1].split(" -> ")[-1]) if packets else ("", "")
    stage.check("the packet came to the node port", came == stage.at(address, port), packets)
    endpoints = [stage.at(endpoint, TARGET_PORT) for endpoint in ENDPOINT_CHAINS[stage.family]]
    stage.check("and goes on to one of the three endpoints", went in endpoints, packets)


def _judge_choice(stage: Stage, table: Table, port: int, chain: str) -> None:
    """Each endpoint has one slot of three, and the rule takes a slot at random: a third each."""
    prefix = f"tcp . {port} . "
    elements = [
        each.removeprefix(prefix) for each in table.sets.get("nodeport-backends", ()) if each.startswith(prefix)
    ]
    slots = dict(each.split(" : ", 1) for each in elements)
    stage.check(
        "each of the study's three endpoints is in one slot of three",
        sorted(slots) == ["0", "1", "2"] and sorted(slots.values()) == sorted(_endpoints(stage)),
        slots,
    )
    last = table.chains.get(chain, [""])[-1]
    stage.check(
        "{chain} takes one of the three slots at random, each as likely as the next",
        f"dnat {_protocol(stage)} to meta l4proto . th dport . numgen random mod 3 map @nodeport-backends" in last,
        last,
        chain=chain,
    )


def _judge_node_port_rule(stage: Stage, table: Table, address: str) -> None:
    rules = table.chains.get("services", [])
    asked = [rule for rule in rules if "map @nodeports" in rule]
    stage.check(
        "node ports are asked after the Services' addresses, and for the node's own address alone",
        len(asked) == 1
        and asked[0].startswith(f"{_protocol(stage)} daddr @nodeport-ips ")
        and table.sets.get("nodeport-ips") == [address]
        and "map @services" in "".join(rules[: rules.index(asked[0])]),
        {"rule": asked, "nodeport-ips": table.sets.get("nodeport-ips")},
    )


def _judge_way(stage: Stage, steps: list[Step], chain: str) -> None:
    """The kernel's trace, step by step: no more and no less than the way the study tells of."""
    way = [
        ("nat-prerouting", "jump services", "jump services"),
        ("services", "goto dispatch", "map @nodeports"),
        ("dispatch", f"goto {chain}", "vmap @classes"),
        (chain, "continue", "meta mark set meta mark | 0x00004000"),
        (chain, "accept", f"dnat {_protocol(stage)} to"),
        ("nat-postrouting", "jump masquerading", "jump masquerading"),
        ("masquerading", "accept", "masquerade fully-random"),
    ]
    for index, (name, verdict, words) in enumerate(way):
        step = steps[index] if index < len(steps) else None
        held = step is not None and (step.chain, step.verdict) == (name, verdict) and words in step.rule
        seen = None if step is None else f"{step.chain}: {step.rule}"
        match verdict.split():
            case [_, onward]:
                stage.check("traced: {chain} -> {next}", held, seen, chain=name, next=onward)
            case ["continue"]:
                stage.check("traced: {chain} marks the packet: its source is to be rewritten", held, seen, chain=name)
            case _ if name == "masquerading":
                stage.check("traced: {chain} rewrites its source (MASQUERADE)", held, seen, chain=name)
            case _:
                stage.check("traced: {chain} rewrites its destination (DNAT)", held, seen, chain=name)
    stage.check("and nothing else", len(steps) == len(way), [step.chain for step in steps])


async def _traced_call(stage: Stage, node: str, address: str) -> str:
    """Call the node port at an address while its node traces the call; what it printed."""
    port = stage.client_port(TRACED_PORT)
    async with stage.tracing(node, port) as trace:
        told = await call(stage, address, local_port=port)
        stage.check("the call was answered", told is not None, told and told["os"]["hostname"])
    return trace.output
