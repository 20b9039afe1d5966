"""393 packets of kube-proxy's own tests, and its topology table, through `fairway explain --packets` in a mode each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fairway.cli.explain import explain
from tests.plan.test_golden_flows import CASES, TOPOLOGY, expected_answer


def config_map(proxy: dict[str, Any]) -> dict[str, Any]:
    """How kubeadm keeps what no flag of the command line says."""
    config = {"iptables": {"localhostNodePorts": proxy.get("localhostNodePorts", False)}}
    metadata = {"name": "kube-proxy", "namespace": "kube-system"}
    data = {"config.conf": json.dumps(config)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def arguments(proxy: dict[str, Any]) -> list[str]:
    flags = {
        "--cluster-cidr": [proxy["localDetector"].get("clusterCIDR")],
        "--node-address": proxy["localAddresses"],
        "--nodeport-addresses": proxy.get("nodePortAddresses") or (),
        "--service-cidr": [proxy.get("serviceCIDRs")],
    }
    given = [part for flag, values in flags.items() for value in values if value for part in (flag, value)]
    masquerade = ["--masquerade-all"] if proxy["masqueradeAll"] else []
    return ["--node", proxy["nodeName"], "--mode", proxy["mode"], *given, *masquerade]


def ask(tmp_path: Path, objects: list[dict[str, Any]], packets: list[dict[str, Any]], *args: str) -> list[Any]:
    """Each packet's answer, by way of the command."""
    files = tmp_path / "objects.json", tmp_path / "packets.jsonl"
    files[0].write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    files[1].write_text("".join(json.dumps(packet) + "\n" for packet in packets))
    result = CliRunner().invoke(explain, ["-f", str(files[0]), "--packets", str(files[1]), *args])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def node(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels or {}}}


def packet_line(flow: dict[str, Any]) -> dict[str, Any]:
    return {
        "from": flow["sourceIP"],
        "to": flow["destIP"],
        "port": flow["destPort"],
        "protocol": flow["protocol"],
        "fromNode": flow["sourceKind"] in ("node", "localhost"),
    }


def place(backend: dict[str, Any]) -> str:
    address = backend["address"]
    return f"[{address}]:{backend['port']}" if ":" in address else f"{address}:{backend['port']}"


def answered(answer: dict[str, Any], expect: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"action": answer["action"], "endpoints": {place(each) for each in answer["backends"]}}
    if expect["masqueradeSignificant"]:
        told["masquerade"] = {place(each): each["masquerade"] for each in answer["backends"]}
    return told


def test_all_packets_meet_the_fate_they_have_under_kube_proxy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, right = [], 0
    for case in CASES:
        proxy = case["proxy"]
        objects = [*case["services"], *case["endpointSlices"], node(proxy["nodeName"]), config_map(proxy)]
        answers = ask(tmp_path, objects, [packet_line(flow) for flow in case["flows"]], *arguments(proxy))
        for flow, answer in zip(case["flows"], answers, strict=True):
            told, expected = answered(answer, flow["expect"]), expected_answer(flow["expect"])
            if told == expected:
                right += 1
            else:
                wrong.append((case["id"], flow["name"], told, expected))
    with capsys.disabled():
        print(f"\nfairway explain --packets: {right} of {right + len(wrong)}")
    assert wrong == []
    assert right == 393


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_endpoints_are_chosen_as_in_kube_proxys_topology_table(tmp_path: Path, mode: str) -> None:
    for case in TOPOLOGY:
        service = {"apiVersion": "v1", "kind": "Service", **case["service"]}
        objects = [service, case["endpointSlice"], node(case["nodeName"], case["nodeLabels"])]
        where = {"to": service["spec"]["clusterIP"], "port": service["spec"]["ports"][0]["port"], "from": "10.9.9.9"}
        (answer,) = ask(tmp_path, objects, [where], "--node", case["nodeName"], "--mode", mode)
        local = service["spec"].get("internalTrafficPolicy") == "Local"
        expected = case["expected"]["localEndpoints" if local else "clusterEndpoints"]
        assert {place(each) for each in answer["backends"]} == set(expected), case["name"]
