"""What a lab that does nothing costs its machine: memory and processor time of all its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fairway.base.errors import FairwayError

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process as /proc tells of it. ticks: processor time, its own and that of its ended children."""

    parent: int
    ticks: int


def parse_stat(text: str) -> Process:
    """A line of /proc/PID/stat (proc(5)): fields 4 and 14 to 17, counted from 1."""
    # The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return Process(parent=int(fields[1]), ticks=sum(map(int, fields[11:15])))


def parse_pss(text: str) -> int:
    """The proportional set size of /proc/PID/smaps_rollup in bytes: what is shared counts for each its share."""
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def family(processes: Mapping[int, Process], first: int) -> set[int]:
    """The process `first` and all that descend from it: an orphan of a lab is adopted by the lab's first process."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found, left = set[int](), [first] if first in processes else []
    while left:
        pid = left.pop()
        found.add(pid)
        left += children.get(pid, ())
    return found


def processor_seconds(first: int) -> float:
    """What a lab has used since it began; the difference of two is what it used between them."""
    processes = _processes()
    ticks = sum(processes[pid].ticks for pid in family(processes, first))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(first: int) -> tuple[int, int]:
    """Of a lab by its first process: bytes of memory, and how many processes.

    Raises FairwayError where the kernel does not tell.
    """
    sizes = list(_sizes(family(_processes(), first)))
    return sum(sizes), len(sizes)


def _sizes(pids: set[int]) -> Iterator[int]:
    for pid in sorted(pids):
        try:
            yield parse_pss((PROC / str(pid) / "smaps_rollup").read_text())
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            continue  # it has ended
        except OSError as error:
            raise FairwayError(f"the memory of process {pid} cannot be read: {error.strerror}") from error


def _processes() -> dict[int, Process]:
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = parse_stat((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found
