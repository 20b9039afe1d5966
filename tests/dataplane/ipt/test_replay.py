"""What the kernel is taken to hold after a batch."""

from __future__ import annotations

import pytest

from fairway.dataplane.ipt.diff import Batch, Line, cleanup, diff
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.replay import replay
from fairway.dataplane.ipt.ruleset import Table
from tests.dataplane.ipt.golden import SCENARIOS, Recorded
from tests.dataplane.ipt.test_diff import RULESET, filled, saved


@pytest.mark.parametrize("before", SCENARIOS)
def test_after_the_difference_it_is_what_was_wanted(before: str) -> None:
    one = lower(Recorded(before, "myk8s-worker").plan())
    assert filled(replay(saved(one), diff(saved(one), RULESET))) == filled(saved(RULESET))
    assert filled(replay(saved(RULESET), diff(saved(RULESET), one))) == filled(saved(one))
    assert filled(replay({}, diff({}, one))) == filled(saved(one))
    assert filled(replay(saved(one), cleanup(saved(one)))) == {table: {} for table in Table}


def test_each_verb_does_what_iptables_restore_does_and_other_tables_stay() -> None:
    observed = {
        Table.MANGLE: {"PREROUTING": ("-j M",), "M": ()},
        Table.NAT: {"OUTPUT": ("-j A", "-j B", "-j A"), "A": ("-j OLD",), "B": (), "C": ("-j ACCEPT",)},
    }
    texts = ["*nat", ":A - [0:0]", ":B - [0:0]", ":N - [0:0]", "-I OUTPUT -j N", "-D OUTPUT -j A", "-A A -j 1 2"]
    texts += ["-A A -j 3", "-A C -j DROP", "-X B", "COMMIT", "*filter", ":F - [0:0]", "-I INPUT -j F", "COMMIT"]
    assert replay(observed, Batch(tuple(map(Line, texts)))) == {
        Table.MANGLE: observed[Table.MANGLE],
        Table.NAT: {
            "OUTPUT": ("-j N", "-j B", "-j A"),
            "A": ("-j 1 2", "-j 3"),
            "C": ("-j ACCEPT", "-j DROP"),
            "N": (),
        },
        Table.FILTER: {"F": (), "INPUT": ("-j F",)},
    }
    assert observed[Table.NAT]["A"] == ("-j OLD",)
