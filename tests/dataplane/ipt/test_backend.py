"""The shell around the programs, with programs of the test's own in place of iptables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairway.base.addresses import Family
from fairway.base.errors import Retry, Unsupported
from fairway.dataplane.ipt.backend import _LEGACY_TABLES as LEGACY_TABLES
from fairway.dataplane.ipt.backend import ApplyError, IptablesBackend, Variant
from fairway.dataplane.ipt.diff import Batch, diff
from fairway.dataplane.ipt.frame import Features
from fairway.dataplane.ipt.lower import lower
from fairway.dataplane.ipt.ruleset import Ruleset, Table
from fairway.dataplane.ipt.text import format_save
from fairway.plan.model import DoorKind
from tests.dataplane.ipt.build import door, plan, port
from tests.dataplane.ipt.kernel import Kernel

TABLES = (Table.MANGLE, Table.FILTER, Table.NAT)
FAMILIES = pytest.mark.parametrize(
    ("family", "program"), [(Family.IPV4, "iptables"), (Family.IPV6, "ip6tables")], ids=["IPv4", "IPv6"]
)
RULESET = lower(plan(port(door(DoorKind.NODE_PORT))), Features(nfacct=False))


class Programs:
    """iptables-nft-save prints `saved`; iptables-nft-restore does what `restore` says and keeps its input."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.save("exit 0")
        self.restore("exit 0")

    def save(self, script: str) -> None:
        self._write("iptables-nft-save", script)

    def restore(self, script: str) -> None:
        self._write(
            "iptables-nft-restore", f'echo "$@" >> {self.directory}/calls; cat > {self.directory}/input; {script}'
        )

    def prints(self, text: str) -> None:
        (self.directory / "saved").write_text(text)
        self.save(f"cat {self.directory}/saved")

    @property
    def input(self) -> str:
        return (self.directory / "input").read_text()

    @property
    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def _write(self, name: str, script: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Programs(tmp_path)


def test_a_batch_is_one_restore_that_flushes_nothing_and_waits_for_the_lock(programs: Programs) -> None:
    batch = IptablesBackend(Variant.NFT).apply(RULESET)
    assert programs.calls == ["--noflush -w 5"]
    assert programs.input == batch.text


def test_nothing_is_restored_where_nothing_differs(programs: Programs) -> None:
    programs.prints(format_save(RULESET, TABLES))
    assert not IptablesBackend(Variant.NFT).apply(RULESET)
    assert programs.calls == []


def test_cleanup_of_nothing_restores_nothing(programs: Programs) -> None:
    assert not IptablesBackend(Variant.NFT).cleanup()
    assert programs.calls == []


def test_missing_privilege_is_named(programs: Programs) -> None:
    programs.save("echo 'Could not fetch rule set generation id: Permission denied (you must be root)' >&2; exit 4")
    with pytest.raises(Unsupported, match="run as root, or with CAP_NET_ADMIN"):
        IptablesBackend(Variant.NFT).observe()


def test_a_failing_save_is_tried_again_later(programs: Programs) -> None:
    programs.save("echo 'the kernel is busy' >&2; exit 1")
    with pytest.raises(Retry, match="iptables-nft-save failed with status 1: the kernel is busy"):
        IptablesBackend(Variant.NFT).observe()


def test_half_a_save_is_never_acted_on(programs: Programs) -> None:
    programs.prints(format_save(RULESET, TABLES).removesuffix("COMMIT\n"))
    with pytest.raises(Retry, match="ends without COMMIT"):
        IptablesBackend(Variant.NFT).apply(RULESET)
    assert programs.calls == []


def test_the_lock_of_another_program_is_waited_for_later(programs: Programs) -> None:
    programs.restore("echo 'Another app is currently holding the xtables lock' >&2; exit 4")
    with pytest.raises(Retry, match="holding the xtables lock") as caught:
        IptablesBackend(Variant.NFT).apply(RULESET)
    assert caught.value.after_s > 0


@pytest.mark.parametrize(
    "words", ["line {}: RULE_APPEND failed (No such file or directory): rule in chain X", "Error occurred at line: {}"]
)
def test_the_rule_of_a_refused_line_is_named_with_its_service(programs: Programs, words: str) -> None:
    lines = IptablesBackend(Variant.NFT).apply(RULESET).text.splitlines()
    number = next(number for number, line in enumerate(lines, 1) if line.startswith("-A KUBE-NODEPORTS"))
    programs.restore(f"echo '{words.format(number)}' >&2; exit 2")
    with pytest.raises(ApplyError) as caught:
        IptablesBackend(Variant.NFT).apply(RULESET)
    assert caught.value.rule is not None
    rule = lines[number - 1].split(" ", 2)[2]
    expected = f"refused the rule for Service default/web:http (Service default/web: spec.ports[0]): {rule}"
    assert expected in str(caught.value)


def test_a_commit_that_fails_names_its_table(programs: Programs) -> None:
    lines = IptablesBackend(Variant.NFT).apply(RULESET).text.splitlines()
    programs.restore(f"echo 'iptables-restore: line {len(lines)} failed' >&2; exit 1")
    with pytest.raises(ApplyError, match="refused table nat, not saying which rule") as caught:
        IptablesBackend(Variant.NFT).apply(RULESET)
    assert caught.value.rule is None


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("fairway.dataplane.ipt.backend._SBIN", str(tmp_path))
    with pytest.raises(Unsupported, match=r"iptables-nft-save is not on PATH: .* `apt-get install iptables`"):
        IptablesBackend(Variant.NFT)


@FAMILIES
def test_auto_takes_what_iptables_points_to(
    family: Family, program: str, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEGACY_TABLES, family, tmp_path / "none")
    for verb in ("save", "restore"):
        (tmp_path / f"{program}-{verb}").symlink_to(tmp_path / f"iptables-nft-{verb}")
    IptablesBackend(family=family).apply(RULESET)
    assert programs.calls == ["--noflush -w 5"]


@FAMILIES
@pytest.mark.parametrize(("tables", "legacy"), [("nat\nfilter\n", False), ("nat\nmangle\n", True)])
def test_auto_follows_the_kubelet_to_the_legacy_tables(
    family: Family, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: str, legacy: bool
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setitem(LEGACY_TABLES, family, tmp_path / "tables")
    (tmp_path / "tables").write_text(tables)
    hint = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n"
    for name, text in ((f"{program}-save", ""), (f"{program}-legacy-save", hint)):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat << END\n{text}END\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / f"{program}-restore").symlink_to("/bin/false")
    (tmp_path / f"{program}-legacy-restore").symlink_to("/bin/false")
    assert bool(IptablesBackend(family=family).observe()) is legacy


EMPTY = lower(plan(), Features(nfacct=False))
OTHER = lower(plan(port(door(DoorKind.CLUSTER_IP))), Features(nfacct=False))
FOREIGN = (Table.NAT, "KUBE-SERVICES", "-j DROP")


@pytest.fixture
def kernel(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr("fairway.dataplane.ipt.backend.subprocess.run", made.run)
    monkeypatch.setattr("fairway.dataplane.ipt.backend.read_generation", lambda: made.generation)
    return made


def brought(kernel: Kernel, backend: IptablesBackend, ruleset: Ruleset) -> Batch:
    """What is sent to bring the kernel to `ruleset`, which is the least, and does."""
    least = diff(kernel.rules, ruleset)
    batch = backend.apply(ruleset)
    assert batch == least
    assert not diff(kernel.rules, ruleset)
    return batch


def test_while_nobody_else_changes_anything_the_kernel_is_read_once(kernel: Kernel) -> None:
    backend = IptablesBackend(Variant.NFT)
    for ruleset in (RULESET, OTHER, EMPTY, RULESET):
        assert brought(kernel, backend, ruleset)
    assert kernel.saves == 1


def test_where_nothing_seems_left_to_do_the_kernel_is_read_all_the_same(kernel: Kernel) -> None:
    backend = IptablesBackend(Variant.NFT)
    brought(kernel, backend, RULESET)
    generation = kernel.generation
    kernel.change(*FOREIGN)
    kernel.generation = generation
    assert brought(kernel, backend, RULESET).tables == (Table.NAT,)
    assert kernel.saves == 2


def test_what_another_changed_is_seen_at_the_next_change(kernel: Kernel) -> None:
    backend = IptablesBackend(Variant.NFT)
    brought(kernel, backend, RULESET)
    kernel.change(*FOREIGN)
    brought(kernel, backend, OTHER)
    brought(kernel, backend, EMPTY)
    assert kernel.saves == 2


def test_what_another_changed_during_our_own_change_is_seen_at_the_next(kernel: Kernel) -> None:
    backend = IptablesBackend(Variant.NFT)
    brought(kernel, backend, RULESET)
    kernel.meanwhile = lambda: kernel.change(*FOREIGN)
    backend.apply(OTHER)
    assert kernel.rules[Table.NAT]["KUBE-SERVICES"] == ("-j DROP",)
    brought(kernel, backend, EMPTY)
    assert kernel.saves == 2


def test_a_refused_batch_leaves_nothing_known(kernel: Kernel) -> None:
    backend = IptablesBackend(Variant.NFT)
    brought(kernel, backend, RULESET)
    kernel.refuses = True
    with pytest.raises(ApplyError):
        backend.apply(OTHER)
    kernel.refuses = False
    brought(kernel, backend, OTHER)
    assert kernel.saves == 2


@pytest.mark.parametrize("variant", [Variant.NFT, Variant.LEGACY])
def test_where_no_generation_tells_the_kernel_is_read_each_time(kernel: Kernel, variant: Variant) -> None:
    if variant is Variant.NFT:
        kernel.generation = None
    backend = IptablesBackend(variant)
    for ruleset in (RULESET, OTHER, EMPTY):
        brought(kernel, backend, ruleset)
    assert kernel.saves == 3


def test_cleanup_reads_the_kernel_and_leaves_nothing_known(kernel: Kernel) -> None:
    backend = IptablesBackend(Variant.NFT)
    brought(kernel, backend, RULESET)
    backend.cleanup()
    brought(kernel, backend, RULESET)
    assert kernel.saves == 3
