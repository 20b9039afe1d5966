"""Probes that are made to fail on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairway.api.types import Key
from fairway.kubelet.pod import ProbeSpec, ProbeType, TcpSocket
from fairway.kubelet.probes import Outcome
from fairway.kubelet.skew import Skew, skew_file, skew_of, skewed_answer

POD = Key("default", "web")
SPEC = ProbeSpec(handler=TcpSocket(port=80), timeout_s=0)


@pytest.mark.parametrize("skew", Skew)
def test_what_is_written_of_a_pod_s_probe_is_read_of_no_other(tmp_path: Path, skew: Skew) -> None:
    skew_file(tmp_path, POD, ProbeType.READINESS).write_text(skew.value)
    assert skew_of(tmp_path, POD, ProbeType.READINESS) is skew
    assert skew_of(tmp_path, POD, ProbeType.LIVENESS) is None
    assert skew_of(tmp_path, Key("other", "web"), ProbeType.READINESS) is None
    assert skew_of(None, POD, ProbeType.READINESS) is None


@pytest.mark.parametrize("text", ["", "fai", "failfail"])
def test_half_a_file_says_nothing(tmp_path: Path, text: str) -> None:
    skew_file(tmp_path, POD, ProbeType.READINESS).write_text(text)
    assert skew_of(tmp_path, POD, ProbeType.READINESS) is None


@pytest.mark.parametrize(("skew", "how"), [(Skew.FAIL, "it fails"), (Skew.SLOW, "no answer within 0 s")])
async def test_a_skewed_probe_fails_and_says_by_whom(skew: Skew, how: str) -> None:
    answer = await skewed_answer(skew, SPEC)
    assert answer.outcome is Outcome.FAILURE
    assert answer.message == f"{how}, made to by a fault planted in the lab (fairway fault list)"
