"""How planted faults are told."""

from __future__ import annotations

import io
import re

from rich.console import Console

from fairway.cli.status import print_faults
from fairway.cluster.fault.model import Kind, Told, Wanted, What
from fairway.kubelet.skew import Skew

SINCE = "2025-06-01T12:00:00+00:00"


def test_a_fault_is_a_line_on_the_narrowest_of_terminals() -> None:
    pod = "default/deploy-echo-5c689d5454-m4hd9"
    probe = Wanted(kind=Kind.PROBE, what=What.POD, name=pod, probe="readiness", skew=Skew.SLOW)
    cut = Wanted(kind=Kind.CUT, what=What.HOST, name="mypc")
    console = Console(file=io.StringIO(), width=20, highlight=False)
    print_faults(
        console,
        [Told(number=9, wanted=probe, since=SINCE, left=None), Told(number=10, wanted=cut, since=SINCE, left=2)],
    )

    assert isinstance(console.file, io.StringIO)
    assert [line.split("  ") for line in re_spaced(console.file.getvalue())] == [
        ["ID", "FAULT", "SINCE", "LEFT"],
        ["9", f"probe {pod} --readiness slow", SINCE, "until undone"],
        ["10", "cut mypc", SINCE, "2.0 s"],
    ]


def re_spaced(text: str) -> list[str]:
    """Its lines, with two spaces between columns."""
    return [re.sub(" {2,}", "  ", line.rstrip()) for line in text.splitlines()]
