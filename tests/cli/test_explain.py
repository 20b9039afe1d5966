"""`fairway explain`: the command line, its output, and one clear line for each wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from fairway.base.errors import Refused
from fairway.cli.explain import explain
from fairway.cluster.kubeadm import config_maps
from fairway.plan.options import Mode

RULES = Path(__file__).parent.parent / "golden" / "rules"
OBJECTS = str(RULES / "nodeport-cluster" / "objects.json")
NETWORKS = ("--cluster-cidr", "10.10.0.0/16")
PACKET = ("--from", "172.18.0.100", "--to", "myk8s-worker:31303")


def run(*arguments: str, given: str | None = None, files: str = OBJECTS) -> Result:
    return CliRunner().invoke(explain, ["-f", files, *arguments], input=given)


def answered(*arguments: str, given: str | None = None, files: str = OBJECTS) -> str:
    result = run(*arguments, given=given, files=files)
    assert result.exception is None, result.output
    return result.stdout


def refusal(*arguments: str, files: str = OBJECTS) -> str:
    result = run(*arguments, files=files)
    assert isinstance(result.exception, Refused), result.output
    assert result.stdout == ""
    return str(result.exception)


def test_a_packet_is_told_in_words() -> None:
    lines = answered(*PACKET, *NETWORKS).splitlines()
    assert lines[:2] == [
        "172.18.0.100 -> myk8s-worker:31303 (172.18.0.5:31303/tcp), at myk8s-worker (nftables)",
        "DNAT: it goes to one of 3 endpoints, and its source becomes an address of myk8s-worker",
    ]
    assert "The way back" in lines


def test_prose_is_broken_and_what_is_for_copying_is_not() -> None:
    lines = answered(*PACKET, *NETWORKS, "--mode", "iptables").splitlines()
    rules = [line.strip() for line in lines if line.strip().startswith("iptables nat: ")]
    assert any(len(rule) > 100 for rule in rules)
    prose = [line for line in lines if not line.strip().startswith("iptables nat: ")]
    assert max(map(len, prose)) <= 100
    assert "    myk8s-worker." in prose  # step 2 goes on below its own words


def test_json_and_markdown_say_the_same() -> None:
    answer = json.loads(answered(*PACKET, *NETWORKS, "-o", "json"))
    assert (answer["action"], answer["masquerade"], len(answer["backends"])) == ("DNAT", True, 3)
    assert answered(*PACKET, *NETWORKS, "-o", "markdown").startswith("### 172.18.0.100 -\\> myk8s-worker:31303")


def test_what_flags_leave_out_the_cluster_tells(tmp_path: Path) -> None:
    objects = json.loads(Path(OBJECTS).read_text())
    objects["items"] += config_maps(
        mode=Mode.IPTABLES, pod_cidrs=["10.10.0.0/16"], service_cidrs=["10.200.1.0/24"], domain="cluster.local"
    )
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(objects))
    answer = json.loads(answered(*PACKET, "-o", "json", files=str(file)))
    assert answer["mode"] == "iptables"
    assert answer["steps"][1]["text"].endswith("neither in the pod network 10.10.0.0/16 nor myk8s-worker")


def test_a_service_is_told_as_a_table() -> None:
    lines = answered("svc/svc-nodeport", "--matrix", *NETWORKS).splitlines()
    assert lines[0] == "Service default/svc-nodeport"
    assert any(line.startswith("outside") and "DNAT 3 SNAT" in line for line in lines)


def test_a_service_is_drawn_as_a_picture() -> None:
    root = ElementTree.fromstring(answered("svc/svc-nodeport", "--matrix", *NETWORKS, "-o", "svg"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_a_service_is_told_as_json_and_as_markdown() -> None:
    assert json.loads(answered("svc/svc-nodeport", "--matrix", "-o", "json"))["service"] == "default/svc-nodeport"
    assert answered("svc-nodeport", "--matrix", "-o", "markdown").startswith("### Service default/svc-nodeport\n")


LINE = json.dumps({"from": "172.18.0.100", "to": "172.18.0.5", "port": 31303})


def test_packets_on_standard_input_are_answered_line_by_line() -> None:
    lines = answered("--packets", "-", *NETWORKS, given=f"{LINE}\n{LINE}\n").splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["DNAT", "DNAT"]


def test_a_bad_line_leaves_the_others_alone_and_is_counted() -> None:
    result = run("--packets", "-", given=f"nothing\n{LINE}\n")
    assert result.exit_code == 1
    bad, good = (json.loads(line) for line in result.stdout.splitlines())
    assert bad["line"] == 1
    assert good["action"] == "DNAT"
    assert result.stderr == "fairway: 1 of 2 lines are no packet; their answers say why\n"


def test_objects_of_other_kinds_are_left_aside_and_counted(tmp_path: Path) -> None:
    objects = json.loads(Path(OBJECTS).read_text())
    objects["items"].append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}})
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(objects))
    result = run(*PACKET, files=str(file))
    assert result.exit_code == 0
    assert result.stderr == "fairway: 1 objects of other kinds are left aside: 1 Deployment\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((*PACKET, "--node", "nope"), "there is no Node nope; the nodes are: myk8s-control-plane, "),
        (("--from", "mypc", "--to", "svc/svc-nodeport"), "--from mypc: nobody has that name"),
        (("--from", "outside", "--to", "10.1.1.300:80"), "'10.1.1.300' is an address of no family"),
        (("--from", "outside", "--to", "myk8s-worker:0"), "there is no port 0; ports are from 1 to 65535"),
        (("--from", "outside", "--to", "myk8s-worker:70000"), "there is no port 70000"),
        (("svc/web", "--matrix"), "svc/web: there is no Service default/web; the Services are: default/kubernetes, "),
        (("--packets", "/nowhere"), "/nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_answered_is_one_clear_line(arguments: tuple[str, ...], error: str) -> None:
    assert error in refusal(*arguments)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"apiVersion": "v1",\n "kind": ]', "line 2, column 10: Expecting value"),
        ("kind: Service\n  metadata: x\n", "line 2, column 11: mapping values are not allowed in this context"),
        ("just words\n", "line 1, column 1: expected an object, got a text"),
    ],
)
def test_a_file_that_holds_no_objects_is_told_with_the_place(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "bad"
    file.write_text(text)
    assert refusal(*PACKET, files=str(file)) == f"{file}: {error}"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "say which packet: --from WHO --to WHERE; or SERVICE --matrix; or --packets FILE"),
        (("--from", "outside"), "--to is missing: a packet has two ends"),
        (("--to", "svc/web"), "--from is missing: a packet has two ends"),
        (("--matrix",), "--matrix needs a SERVICE, as in: fairway explain svc/NAME --matrix"),
        (("svc/web", *PACKET), "ask one thing: SERVICE with --matrix, or --from and --to, or --packets"),
        ((*PACKET, "-o", "svg"), "-o svg draws a matrix: name a SERVICE"),
        (("--packets", "-", "-o", "markdown"), "--packets answers in lines of JSON"),
    ],
)
def test_a_command_line_that_asks_for_nothing_or_too_much_is_wrong(arguments: tuple[str, ...], error: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert error in result.stderr
