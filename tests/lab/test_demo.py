"""The main job: the study's thirteen claims hold, in both modes, for root and for an ordinary user.

Mode nftables, with kubectl and without, also where no program is installed that writes rules.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from fairway.cluster.tools import HOST_PATH
from fairway.plan.options import Mode
from tests.lab.command import Answer, User
from tests.lab.lacking import RULE_PROGRAMS, machine_without, path_without
from tests.lab.ordinary import ORDINARY_UID, command_for_everyone, is_root
from tests.lab.traces import machine, processes_of

pytestmark = pytest.mark.lab

CLAIMS = [f"S{number}" for number in range(1, 14)]


def assert_all_hold(answer: Answer) -> None:
    assert answer.out, answer.err[-3000:]
    claims = answer.json()["claims"]
    failed = [check for claim in claims for check in claim["evidence"] if not check["ok"]]
    assert failed == [], answer.err[-3000:]
    assert [claim["id"] for claim in claims] == CLAIMS
    assert all(claim["ok"] and claim["evidence"] for claim in claims)
    assert answer.code == 0


@pytest.mark.parametrize("mode", Mode)
def test_the_thirteen_claims_hold_and_nothing_is_left(user: User, mode: Mode) -> None:
    before, running = machine(), processes_of(user)
    answer = user.fairway("demo", "--name", "demo-kubectl", "--proxy-mode", mode, "-o", "json")
    assert_all_hold(answer)
    assert answer.json()["mode"] == mode
    assert machine() == before
    assert processes_of(user) == running
    assert not (user.state / "demo-kubectl").exists()


def test_in_korean_the_same_holds(user: User) -> None:
    told = user.fairway("demo", "--name", "demo-korean", "--lang", "ko")
    assert told.code == 0, told.err[-3000:]
    lines = told.out.splitlines()
    assert lines[-1] == "13개 항목 중 13개를 통과했습니다."
    assert [line.split()[0] for line in lines if line.endswith("──")] == [*CLAIMS, "패킷"]
    words = [line for line in lines if line.startswith(("  ✔ ", "  통과: "))]
    assert len(words) > 60
    assert [line for line in words if not any("가" <= letter <= "힣" for letter in line)] == [
        line for line in words if line.startswith("  ✔ trace: ") and " -> " in line
    ]


def test_without_kubectl_nft_and_iptables_the_same_holds(user: User, tmp_path: Path) -> None:
    path = path_without(tmp_path, "kubectl", *RULE_PROGRAMS)
    lacking = machine_without(*RULE_PROGRAMS)
    assert user.run([*lacking, "sh", "-c", "command -v nft || command -v iptables"], PATH=HOST_PATH).code != 0
    bare = replace(user, command=[*lacking, *user.command])
    answer = bare.fairway("demo", "--name", "demo-bare", "-o", "json", PATH=path)
    assert "there is no kubectl on PATH" in answer.err
    assert_all_hold(answer)


def test_an_ordinary_user_gets_the_same_without_nft_and_iptables() -> None:
    if not is_root():
        return  # then the first test was an ordinary user's
    folder = Path(tempfile.mkdtemp(prefix="fairway-nobody-"))
    try:
        folder.chmod(0o755)
        command = command_for_everyone(folder)
        state, links = folder / "state", folder / "bin"
        for made in (state, links):
            made.mkdir()
            os.chown(made, ORDINARY_UID, ORDINARY_UID)
        lacking = machine_without(*RULE_PROGRAMS, uid=ORDINARY_UID)
        nobody = User(state=state, command=[*lacking, *command])
        before = machine()
        assert_all_hold(nobody.fairway("demo", "-o", "json", PATH=path_without(links, *RULE_PROGRAMS)))
        assert machine() == before
        assert processes_of(nobody) == []
    finally:
        shutil.rmtree(folder)
