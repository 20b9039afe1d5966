"""What a lab that did not come up says of its logs."""

from __future__ import annotations

from fairway.cluster.lab import last_words


def test_the_logs_of_a_small_lab_tell_their_last_lines() -> None:
    logs = {"kubelet-a.log": ["1", "2", "3", "4"], "init.log": ["begun"], "dns.log": []}
    assert last_words(logs) == [
        "  init.log: begun",
        "  kubelet-a.log: 2",
        "  kubelet-a.log: 3",
        "  kubelet-a.log: 4",
    ]


def test_of_many_logs_those_are_told_on_which_the_others_wait_and_those_with_errors() -> None:
    logs = {f"kubelet-{number:02}.log": [f"09:00 INFO node {number} waits"] for number in range(50)}
    logs |= {"kubelet-33.log": ["2026-01-01 09:00:00 ERROR kubelet: no room"], "control-plane.log": ["disk full"]}
    assert last_words(logs) == [
        "  control-plane.log: disk full",
        "  kubelet-33.log: 2026-01-01 09:00:00 ERROR kubelet: no room",
        "  kubelet-00.log: 09:00 INFO node 0 waits",
        "  kubelet-01.log: 09:00 INFO node 1 waits",
        "  kubelet-02.log: 09:00 INFO node 2 waits",
        "  and 46 more logs",
    ]


def test_what_every_node_says_is_told_once() -> None:
    logs = {f"agent-{number}.log": [f"2026-01-01 09:00:0{number} WARNING no API server"] for number in range(9)}
    assert last_words(logs) == ["  agent-0.log: 2026-01-01 09:00:00 WARNING no API server", "  and 8 more logs"]


def test_a_line_without_end_is_cut() -> None:
    assert len(last_words({"init.log": ["x" * 10_000]})[0]) < 400
