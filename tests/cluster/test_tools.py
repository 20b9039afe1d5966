"""A program that a lab's nodes need and the machine lacks is named with the way to get it."""

from pathlib import Path

import pytest

from fairway.base.errors import Unsupported
from fairway.cluster.tools import MODE_PACKAGES, PACKAGES, check_programs, lacks_for
from fairway.plan.options import Mode

IPTABLES = MODE_PACKAGES[Mode.IPTABLES]


def machine_with(folder: Path, *programs: str) -> str:
    for program in programs:
        (folder / program).touch(mode=0o755)
    return str(folder)


@pytest.mark.parametrize("mode", Mode)
def test_a_machine_with_all_programs_will_do(tmp_path: Path, mode: Mode) -> None:
    check_programs(mode, machine_with(tmp_path, *PACKAGES, *IPTABLES))


def test_mode_nftables_needs_neither_iptables_nor_nft(tmp_path: Path) -> None:
    path = machine_with(tmp_path, *PACKAGES)
    check_programs(Mode.NFTABLES, path)
    with pytest.raises(Unsupported, match=r"iptables, iptables-save, iptables-restore.*apt-get install iptables$"):
        check_programs(Mode.IPTABLES, path)


@pytest.mark.parametrize(
    ("missing", "packages"),
    [
        ({"conntrack"}, "conntrack"),
        ({"ip", "ss"}, "iproute2"),
        ({"iptables-save", "iptables-restore", "curl"}, "curl iptables"),
    ],
)
def test_what_is_missing_is_named_with_its_packages(tmp_path: Path, missing: set[str], packages: str) -> None:
    path = machine_with(tmp_path, *({*PACKAGES, *IPTABLES} - missing))
    with pytest.raises(Unsupported) as refusal:
        check_programs(Mode.IPTABLES, path)
    named = ", ".join(program for program in (*IPTABLES, *PACKAGES) if program in missing)
    assert str(refusal.value) == (
        f"a lab's nodes need {named}, not found in {path}; as root run: apt-get install {packages}"
    )


def test_a_file_that_cannot_be_executed_is_no_program(tmp_path: Path) -> None:
    path = machine_with(tmp_path, *PACKAGES)
    (tmp_path / "ip").chmod(0o644)
    with pytest.raises(Unsupported, match="need ip, not found"):
        check_programs(Mode.NFTABLES, path)


def test_what_a_mode_itself_lacks_is_said(tmp_path: Path) -> None:
    path = machine_with(tmp_path, *[each for each in IPTABLES if each != "iptables-save"])
    assert lacks_for(Mode.NFTABLES, path) == ""
    assert lacks_for(Mode.IPTABLES, path) == f"iptables-save not found in {path}; as root run: apt-get install iptables"
    assert lacks_for(Mode.IPTABLES, machine_with(tmp_path, *IPTABLES)) == ""
