"""What the processes of a lab cost, as /proc tells it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from fairway.cluster.bench.weight import Process, family, memory, parse_pss, parse_stat, processor_seconds

STAT = "42 (a ) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 999 1 2 3"
ROLLUP = "00400000-7fff000 ---p 00000000 00:00 0  [rollup]\nRss:  9000 kB\nPss:  2048 kB\nPss_Dirty:  10 kB\n"


def test_a_process_is_told_by_its_stat_whatever_its_name_is() -> None:
    assert parse_stat(STAT) == Process(parent=7, ticks=124)


def test_memory_counts_what_is_shared_by_its_share() -> None:
    assert parse_pss(ROLLUP) == 2048 * 1024


def test_a_lab_is_its_first_process_and_all_below_it() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    processes = {pid: Process(parent=parent, ticks=0) for pid, parent in parents.items()}
    assert family(processes, 10) == {10, 11, 12}
    assert family(processes, 99) == set()


def test_a_child_is_counted_while_it_runs_and_what_it_used_once_it_has_ended() -> None:
    own = os.getpid()
    _, before = memory(own)
    used = processor_seconds(own)
    code = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        size, count = memory(own)
        assert count == before + 1
        assert size > 1_000_000
        running = processor_seconds(own)
        child.communicate()
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert running >= used + 0.3 - 2 * tick
    assert processor_seconds(own) >= running - tick
    assert time.process_time() <= processor_seconds(own) + 2 * tick
