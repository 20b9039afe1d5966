"""The tutorial's commands, typed in one lab in the order of the page, do what the page says and print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.lab import Block, alike, blocks, shell
from tests.docs.tutorial import PAGES
from tests.lab.command import User

pytestmark = pytest.mark.lab

SEEN = {
    "NPORT=$(kubectl get svc svc-nodeport": ["echo created\n.*nodeport created\n", "echo unchanged\n.*port unchanged"],
    "kubectl get nodes -o wide": ["deploy-echo +3/3", "myk8s-control-plane +Ready", "successfully rolled out"],
    "curl -s $POD:8080/a/path": ['"path": ?"/a/path"', '"hostname": ?"10\\.10\\.'],
    "ss -tlnp": [">> node myk8s-worker3 <<", ":10250", ":10256"],
    "$i:$NPORT | grep deploy-echo; done\n": ["(.*deploy-echo-.*\n){4}"],
    "for i in \\$(seq 300)": ["( *\\d+ deploy-echo-.*\n){3}"],
    "iptables -t nat -v -S": ["KUBE-NODEPORTS", "KUBE-SVC-", "KUBE-SEP-", "KUBE-MARK-MASQ"],
    "--orig-port-src 41001": ["src=172.18.0.100 dst=172.18.0.4 sport=41001 .*src=10\\.10\\..* dst=172\\.18\\.0\\.4"],
    "chain affinity-cluster": ["( *10 deploy-echo-.*\n){3}"],
    "grep 'TrafficPolicy\"'": ['"externalTrafficPolicy": "Local"', "(.*172.18.0.100.*\n(.*\n)?){3}", "\n28\n$"],
    "kubectl exec net-pod -- curl -s 172.18.0.5": ["deploy-echo"],
    "HPORT=$(kubectl get svc svc-lb": ["172.18.0.100", "503\n200\n200\n200\n", "lladdr"],
    "loadBalancerSourceRanges": ["\n28\n"],
    "touch /tmp/unready": ["condition met\n(.*\n)*.*0/1", "ready: false", "condition met\n$"],
    "many-pods.yaml": ["svc-many-.*\n.*svc-many-", "scaled"],
    "$CIP:9000; echo $?": ["deploy-echo", "\n(7|28)\n$"],
}
"""What the page says of blocks whose answer it does not show: by some words of the commands, what is printed."""


def text_of(page: Path) -> list[Block]:
    return blocks(page.read_text(encoding="utf-8"))


def test_the_languages_show_the_same_answers_to_the_same_commands() -> None:
    """So one lab is enough for both."""
    first, *others = ([(block.commands, alike(block.output or "")) for block in text_of(page)] for page in PAGES)
    assert others
    assert [each for each in others if each != first] == []


def test_all_that_is_told_to_be_typed_is_true(tmp_path: Path) -> None:
    page = text_of(PAGES[0])
    seen: dict[str, str] = {}
    with shell(User(state=tmp_path).environment()) as typing:
        try:
            for block in page:
                status, printed = typing.type(block.commands)
                seen[block.commands] = printed
                assert status == 0, f"{block.commands}{printed}"
                assert block.output is None or alike(printed) == alike(block.output), block.commands
        finally:
            typing.type("fairway down; fairway down --name chains")
    for words, patterns in SEEN.items():
        [printed] = [printed for commands, printed in seen.items() if words in commands]
        assert [pattern for pattern in patterns if not re.search(pattern, printed)] == [], f"{words}\n{printed}"
