"""`fairway render`: equal to the recordings, and one clear line for each wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fairway.base.errors import Refused
from fairway.cli.render import render
from fairway.cluster.kubeadm import config_maps
from fairway.plan.options import Mode
from tests.dataplane.ipt.golden import POD_NETWORK, RECORDED, Recorded, normal

STUDY = Recorded("nodeport-cluster", "myk8s-worker")


def run(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(render, [str(argument) for argument in arguments], input=given)


def rendered(*arguments: str | Path, given: str | None = None, mode: str = "iptables") -> str:
    result = run(*arguments, "--mode", mode, given=given)
    assert result.exception is None, result.output
    return result.stdout


def refusal(*arguments: str | Path, given: str | None = None) -> str:
    result = run(*arguments, "--mode", "iptables", given=given)
    assert isinstance(result.exception, Refused)
    assert result.stdout == ""
    return str(result.exception)


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
def test_the_rules_are_the_recorded_ones(recorded: Recorded) -> None:
    text = rendered("-f", recorded.objects, "--node", recorded.node, "--cluster-cidr", POD_NETWORK)
    assert normal(text) == normal(recorded.text())


def test_tables_come_as_iptables_save_prints_them() -> None:
    lines = rendered("-f", STUDY.objects, "--node", STUDY.node, "--cluster-cidr", POD_NETWORK).splitlines()
    assert [line for line in lines if line.startswith(("*", "COMMIT"))] == ["*nat", "COMMIT", "*filter", "COMMIT"]


def test_yaml_documents_on_standard_input_say_the_same() -> None:
    items = json.loads(STUDY.objects.read_text())["items"]
    text = rendered("-f", "-", "--node", STUDY.node, "--cluster-cidr", POD_NETWORK, given=yaml.safe_dump_all(items))
    assert normal(text) == normal(STUDY.text())


def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    files: list[str | Path] = []
    for number, item in enumerate(json.loads(STUDY.objects.read_text())["items"]):
        (tmp_path / f"{number}.json").write_text(json.dumps(item))
        files += ["-f", tmp_path / f"{number}.json"]
    text = rendered(*files, "--node", STUDY.node, "--cluster-cidr", POD_NETWORK)
    assert normal(text) == normal(STUDY.text())


def test_options_of_the_node_change_its_rules() -> None:
    text = rendered(
        *("-f", STUDY.objects, "--node", STUDY.node, "--masquerade-all"),
        *("--nodeport-addresses", "172.18.0.0/16", "--node-address", "172.18.9.9"),
    )
    assert '-d 10.200.1.60/32 -p tcp -m comment --comment "default/svc-nodeport:svc-webport cluster IP"' in text
    assert "-s 10.10.0.0/16" not in text
    assert '-A KUBE-SERVICES -d 172.18.9.9/32 -m comment --comment "kubernetes service nodeports;' in text
    assert "nfacct-name  localhost_nps_accepted_pkts" not in text


def test_json_tells_the_reason_of_each_rule() -> None:
    document = json.loads(rendered("-f", STUDY.objects, "--node", STUDY.node, "-o", "json"))
    assert (document["node"], document["mode"], document["notes"]) == ("myk8s-worker", "iptables", [])
    nat = document["tables"]["nat"]
    assert [(jump["chain"], jump["rule"].split()[-1]) for jump in nat["jumps"]] == [
        ("POSTROUTING", "KUBE-POSTROUTING"),
        ("PREROUTING", "KUBE-SERVICES"),
        ("OUTPUT", "KUBE-SERVICES"),
    ]
    rule = nat["chains"]["KUBE-NODEPORTS"][-1]
    assert rule["rule"].endswith("-m tcp --dport 31303 -j KUBE-EXT-VTR7MTHHNMFZ3OFS")
    assert (rule["origin"]["kind"], rule["origin"]["name"]) == ("Service", "svc-nodeport")
    assert nat["chains"]["KUBE-MARK-MASQ"] == [{"rule": "-j MARK --set-xmark 0x4000/0x4000", "origin": None}]


def test_what_cannot_be_used_is_named_on_standard_error() -> None:
    items = json.loads(STUDY.objects.read_text())["items"]
    for item in items:
        if item["metadata"]["name"] == "svc-nodeport" and item["kind"] == "Service":
            item["spec"]["externalIPs"] = ["not-an-address"]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    result = run("-f", "-", "--node", STUDY.node, "--mode", "iptables", given=given)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        (
            "fairway: Service default/svc-nodeport: spec.externalIPs[0]=not-an-address: "
            "'not-an-address' is not an IP address; it is left out"
        )
    ]


def test_an_unknown_node_is_refused_with_those_there_are() -> None:
    text = refusal("-f", STUDY.objects, "--node", "myk8s-worker9")
    assert text == (
        "there is no Node myk8s-worker9; the nodes are: myk8s-control-plane, myk8s-worker, myk8s-worker2, myk8s-worker3"
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal("-f", tmp_path / "none", "--node", "n") == f"{tmp_path}/none: No such file or directory"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal("-f", tmp_path, "--node", "n") == f"{tmp_path}: Is a directory"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_bytes(b"\x7fELF\xff")
    assert refusal("-f", tmp_path / "a.out", "--node", "n").startswith(f"{tmp_path}/a.out: it is not UTF-8 text")


def test_a_file_of_something_else_is_refused() -> None:
    assert "stdin" in refusal("-f", "-", "--node", "n", given="just words")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--cluster-cidr", "10.10.0.0"),
        ("--nodeport-addresses", "everywhere"),
        ("--node-address", "172.18.0.0/16"),
    ],
)
def test_a_wrong_address_is_refused_by_the_name_of_its_flag(flag: str, value: str) -> None:
    text = refusal("-f", STUDY.objects, "--node", STUDY.node, flag, value)
    assert flag in text
    assert value in text


def test_a_wrong_service_cidr_is_refused() -> None:
    text = refusal("-f", STUDY.objects, "--node", STUDY.node, "--service-cidr", "10.200.0.0")
    assert "--service-cidr: '10.200.0.0' is not a network" in text


def test_mode_nftables_prints_the_table_as_nft_lists_it() -> None:
    """What a kernel lists is compared with it in tests/kernel/test_nft_kernel.py."""
    text = rendered("-f", STUDY.objects, "--node", STUDY.node, "--cluster-cidr", POD_NETWORK, mode="nftables")
    lines = text.splitlines()
    assert lines[:3] == [
        "table ip fairway {",
        '\tcomment "Kubernetes Services, written by fairway"',
        "\tmap services {",
    ]
    assert lines[-1] == "}"
    assert "\t\telements = { tcp . 31303 : 22:3 }" in lines
    assert "\t\tip saddr != 10.10.0.0/16 meta mark set meta mark | 0x00004000" in lines


def test_mode_nftables_takes_node_ports_at_the_primary_address_alone_unless_told() -> None:
    words = ("-f", STUDY.objects, "--node", STUDY.node, "--node-address", "172.18.9.9,172.18.9.10")
    rule = "ip daddr @nodeport-ips meta priority set meta l4proto . th dport map @nodeports goto dispatch"
    alone = rendered(*words, mode="nftables")
    assert rule in alone
    assert "elements = { 172.18.9.9 }" in alone
    everywhere = rendered(*words, "--nodeport-addresses", "0.0.0.0/0", mode="nftables")
    assert rule not in everywhere
    assert "fib daddr type local ip daddr != 127.0.0.0/8 meta priority set" in everywhere


def test_a_service_cidr_drops_what_no_service_has_in_mode_nftables_alone() -> None:
    words = ("-f", STUDY.objects, "--node", STUDY.node)
    drop = "ip daddr 10.200.0.0/16 fib daddr type != local drop"
    assert drop not in rendered(*words, mode="nftables")
    assert drop in rendered(*words, "--service-cidr", "10.200.0.0/16", mode="nftables")
    assert rendered(*words, "--service-cidr", "10.200.0.0/16") == rendered(*words)


def test_json_of_mode_nftables_has_sets_elements_and_chains_as_they_are_printed() -> None:
    document = json.loads(rendered("-f", STUDY.objects, "--node", STUDY.node, "-o", "json", mode="nftables"))
    assert (document["node"], document["mode"], document["notes"]) == ("myk8s-worker", "nftables", [])
    (table,) = document["tables"]
    assert table == "ip fairway"
    sets, chains = document["tables"][table]["sets"], document["tables"][table]["chains"]
    assert sets["nodeports"] == {
        "typeof": "meta l4proto . th dport : meta priority",
        "comment": "node port : its class",
        "elements": ["tcp . 31303 : 22:3"],
    }
    assert sets["source-ranges"]["elements"] == []
    assert chains["nat-prerouting"] == {
        "hook": "type nat hook prerouting priority dstnat; policy accept;",
        "comment": "",
        "rules": ["jump services"],
    }
    assert chains["dispatch"] == {"hook": None, "comment": "", "rules": ["meta priority vmap @classes"]}


def test_a_node_is_asked_for() -> None:
    result = run("-f", STUDY.objects)
    assert result.exit_code == 2
    assert "--node" in result.stderr


def test_without_files_or_a_kubeconfig_both_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert refusal("--node", STUDY.node).startswith("no objects: name a file of them with -f, or a cluster with ")
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert refusal("--node", STUDY.node).startswith("there is no kubeconfig /nowhere ($KUBECONFIG); ")


def test_objects_of_other_kinds_are_counted_on_standard_error() -> None:
    others = [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}} for name in "ab"]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    result = run(
        "-f", "-", "--node", "n", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": [node, *others]})
    )
    assert "fairway: 2 objects of other kinds are left aside: 2 Deployment\n" in result.stderr


def test_what_the_flags_leave_out_is_told_by_the_clusters_own_settings() -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n"},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]},
    }
    maps = config_maps(mode=Mode.IPTABLES, pod_cidrs=["10.9.0.0/16"], service_cidrs=["10.8.0.0/16"], domain="local")
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": [node, *maps]})
    assert run("-f", "-", "--node", "n", given=given).stdout.startswith("*nat\n")
    assert "ip daddr 10.8.0.0/16" in run("-f", "-", "--node", "n", "--mode", "nftables", given=given).stdout


def test_a_node_that_tells_its_mode_is_taken_at_its_word(tmp_path: Path) -> None:
    told = json.loads(STUDY.objects.read_text())
    for item in told["items"]:
        if (item["kind"], item["metadata"]["name"]) == ("Node", STUDY.node):
            item["metadata"]["annotations"] = {"fairway.dev/proxy-mode": "iptables"}
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(told))
    others = [item["metadata"]["name"] for item in told["items"] if item["kind"] == "Node"]
    modes = {node: json.loads(run("-f", file, "--node", node, "-o", "json").stdout)["mode"] for node in others}
    assert modes == dict.fromkeys(others, "nftables") | {STUDY.node: "iptables"}
