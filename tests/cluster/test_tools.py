"""A program that a lab's nodes need and the machine lacks is named with the way to get it."""

from pathlib import Path

import pytest

from fairway.base.errors import Unsupported
from fairway.cluster.tools import PACKAGES, check_programs


def machine_with(folder: Path, *programs: str) -> str:
    for program in programs:
        (folder / program).touch(mode=0o755)
    return str(folder)


def test_a_machine_with_all_programs_will_do(tmp_path: Path) -> None:
    check_programs(machine_with(tmp_path, *PACKAGES))


@pytest.mark.parametrize(
    ("missing", "packages"),
    [
        ({"conntrack"}, "conntrack"),
        ({"ip", "ss"}, "iproute2"),
        ({"iptables-save", "iptables-restore", "curl"}, "curl iptables"),
    ],
)
def test_what_is_missing_is_named_with_its_packages(tmp_path: Path, missing: set[str], packages: str) -> None:
    path = machine_with(tmp_path, *(set(PACKAGES) - missing))
    with pytest.raises(Unsupported) as refusal:
        check_programs(path)
    named = ", ".join(program for program in PACKAGES if program in missing)
    assert str(refusal.value) == (
        f"a lab's nodes need {named}, not found in {path}; as root run: apt-get install {packages}"
    )


def test_a_file_that_cannot_be_executed_is_no_program(tmp_path: Path) -> None:
    path = machine_with(tmp_path, *PACKAGES)
    (tmp_path / "ip").chmod(0o644)
    with pytest.raises(Unsupported, match="need ip, not found"):
        check_programs(path)
