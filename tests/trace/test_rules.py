"""The rules that an explanation names do what it says: every recorded packet, in the mode and in the other one."""

from __future__ import annotations

import pytest

from fairway.flow.trace import Disposition
from fairway.plan.options import Mode
from fairway.trace.rules import Stage, disagreement, known_corner, run_rules
from tests.plan.test_golden_flows import CASES, evaluator_of, packet_of

FLOWS = [
    (index, row, mode)
    for index, case in enumerate(CASES)
    for row, flow in enumerate(case["flows"])
    for mode in Mode
    if not known_corner(evaluator_of(index, mode), packet_of(flow), mode)
]
"""All but those with which the rules of a mode are known to do something else."""
DECIDES = {
    Disposition.DNAT: {Stage.DOOR, Stage.CHOICE},
    Disposition.DROP: {Stage.END},
    Disposition.REJECT: {Stage.END},
    Disposition.ACCEPT: {Stage.END},
    Disposition.NONE: set(),
}


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: f"{CASES[flow[0]]['id']}/{flow[1]}/{flow[2]}")
def test_the_rules_of_a_mode_do_what_its_plan_says(flow: tuple[int, int, Mode]):
    index, row, mode = flow
    evaluator = evaluator_of(index, mode)
    packet = packet_of(CASES[index]["flows"][row])
    trace = evaluator.evaluate(packet)
    runs = run_rules(evaluator, packet, mode)
    assert disagreement(runs, trace) == ""
    for run in runs:
        assert {line.stage for line in run.lines} >= DECIDES[trace.disposition]
