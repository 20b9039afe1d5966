"""The kernel's iptables, by way of iptables-save and iptables-restore. The only module here that touches it.

For IPv6 they are ip6tables-save and ip6tables-restore, which differ in nothing else.

Calls block for as long as the programs run (a few milliseconds for a lab, more with thousands of Services): an event
loop runs them in a thread. One `apply` is at most one save and one restore, each without a shell. With nf_tables the
save is left out while the kernel's own count of changes tells that only we changed anything. Not for several threads at
once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fairway.base.addresses import Family
from fairway.base.errors import Retry, Unsupported
from fairway.dataplane.ipt.diff import Batch, cleanup, diff
from fairway.dataplane.ipt.frame import NFACCT_COUNTERS, Features
from fairway.dataplane.ipt.generation import read_generation
from fairway.dataplane.ipt.lower import Lowering
from fairway.dataplane.ipt.names import KUBELET_CHAINS
from fairway.dataplane.ipt.nfacct import ensure_counters, remove_counters
from fairway.dataplane.ipt.parse import Lines, parse_save
from fairway.dataplane.ipt.replay import replay
from fairway.dataplane.ipt.ruleset import Rule, Ruleset, Table
from fairway.dataplane.ipt.text import ChainTexts, format_rule
from fairway.plan.model import Plan

LOCK_WAIT_S = 5
"""`-w`: how long a restore waits for another program's lock, as kube-proxy does."""
PROGRAM_TIMEOUT_S = 60.0
"""A program that takes longer hangs; kube-proxy too turns unhealthy after a minute."""
RETRY_S = 1.0

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian installs iptables, and what an ordinary user's PATH lacks."""
_EXIT_RESOURCE = 4
"""RESOURCE_PROBLEM in xtables.h: no privilege, the lock is taken, or the kernel refused."""
_BE_LIBERAL = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
_PROGRAM = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_LEGACY_TABLES = {
    Family.IPV4: Path("/proc/net/ip_tables_names"),
    Family.IPV6: Path("/proc/net/ip6_tables_names"),
}
_LINE = re.compile(r"line:? (\d+)")


class Variant(StrEnum):
    """Which of the kernel's two places the rules go to."""

    AUTO = "auto"
    """Where the kubelet has its chains, else where `iptables` itself points."""
    NFT = "nft"
    LEGACY = "legacy"


class ApplyError(Retry):
    """iptables-restore refused a batch; nothing of the table it names was changed.

    rule: the one it stumbled over, None where iptables does not say; its `owner` is the Service port, its `origin` why
    there is such a rule.
    """

    def __init__(self, message: str, *, rule: Rule | None) -> None:
        super().__init__(message, after_s=RETRY_S)
        self.rule = rule


@dataclass(frozen=True, slots=True, kw_only=True)
class _Programs:
    save: str
    restore: str

    @property
    def are_nft(self) -> bool:
        """Whether it is nf_tables they write to; of the alternatives a distribution has, the link tells."""
        return "nft" in Path(self.restore).resolve().name


@dataclass(frozen=True, slots=True)
class _Known:
    """What the kernel holds for as long as `generation` is nf_tables' one."""

    generation: int
    lines: Lines


@dataclass(frozen=True, slots=True)
class _Done:
    returncode: int
    stdout: str
    stderr: str


class IptablesBackend:
    """Writes Rulesets of one family into the network namespace of the calling process: by iptables or by ip6tables.

    Raises Unsupported where the programs are missing (on construction) or the privilege is (on use).
    """

    def __init__(self, variant: Variant = Variant.AUTO, *, family: Family = Family.IPV4) -> None:
        self._programs = _find_programs(variant, family)
        self._features: Features | None = None
        self._lowering = Lowering()
        self._texts = ChainTexts()
        self._known: _Known | None = None

    @property
    def features(self) -> Features:
        """What this machine has; asked once, and again after a failure. Makes the kernel's counters if it can."""
        if self._features is None:
            self._features = Features(nfacct=ensure_counters(NFACCT_COUNTERS), drop_invalid=not _is_liberal())
        return self._features

    def observe(self) -> Lines:
        """What is in the kernel now. Raises Unsupported without privilege, Retry where iptables-save fails."""
        done = self._run([self._programs.save])
        if done.returncode:
            raise _failure(self._programs.save, done)
        try:
            return parse_save(done.stdout)
        except ValueError as error:
            raise Retry(f"{self._programs.save}: {error}", after_s=RETRY_S) from error

    def lower(self, plan: Plan) -> Ruleset:
        """The Plan's rules with what this machine has; what stayed of the last Plan keeps the very same rules."""
        return self._lowering.lower(plan, self.features)

    def apply(self, ruleset: Ruleset) -> Batch:
        """Bring the kernel to `ruleset`, whatever is there; gives what had to be sent, empty if nothing had.

        Raises ApplyError where a rule is refused, Retry where it may work later, Unsupported without privilege.
        """
        known = self._still_known()
        batch = diff(known.lines, ruleset, self._texts) if known is not None else Batch()
        if known is None or not batch:
            # There is no hurry where nothing seems to be left to do, so what was known is put to the proof.
            observed, known = self._look()
            batch = diff(observed, ruleset, self._texts)
        self._known = None
        self._restore(batch)
        self._known = self._after(known, batch)
        return batch

    def sync(self, plan: Plan) -> Batch:
        """`apply` of the Plan's rules."""
        return self.apply(self.lower(plan))

    def cleanup(self) -> Batch:
        """Remove all of ours; gives what had to be sent. Raises as `apply` does."""
        batch = cleanup(self.observe())
        self._known = None
        self._restore(batch)
        remove_counters(NFACCT_COUNTERS)
        self._features = None
        return batch

    def _generation(self) -> int | None:
        return read_generation() if self._programs.are_nft else None

    def _still_known(self) -> _Known | None:
        """What is known to be in the kernel, None where anything of nf_tables was changed since, by anyone."""
        known = self._known
        return known if known is not None and self._generation() == known.generation else None

    def _look(self) -> tuple[Lines, _Known | None]:
        """`observe`, and for how long it will be true, None where that cannot be told."""
        generation = self._generation()
        lines = self.observe()
        if generation is None or self._generation() != generation:
            return lines, None
        return lines, _Known(generation, lines)

    def _after(self, known: _Known | None, batch: Batch) -> _Known | None:
        """What is known once `batch` is in: it brings one generation for each table, unless another change came too."""
        if known is None or not batch:
            return known
        generation = known.generation + len(batch.tables)
        return _Known(generation, replay(known.lines, batch)) if self._generation() == generation else None

    def _restore(self, batch: Batch) -> None:
        if not batch:
            return
        done = self._run([self._programs.restore, "--noflush", "-w", str(LOCK_WAIT_S)], batch.text)
        if done.returncode:
            # It may be the counters that are gone; the next attempt asks for them anew.
            self._features = None
            raise _refusal(batch, self._programs.restore, done)

    def _run(self, arguments: Sequence[str], text: str = "") -> _Done:
        try:
            # Bytes: in text mode Python takes a carriage return in a stranger's comment for the end of a line.
            done = subprocess.run(
                arguments,
                input=text.encode(),
                capture_output=True,
                timeout=PROGRAM_TIMEOUT_S,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Retry(f"{arguments[0]} did not end within {PROGRAM_TIMEOUT_S:.0f} s", after_s=RETRY_S) from error
        return _Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _find_programs(variant: Variant, family: Family) -> _Programs:
    if variant is Variant.AUTO:
        variant = _variant_in_use(family)
    infix = "" if variant is Variant.AUTO else f"-{variant.value}"
    program = _PROGRAM[family]
    return _Programs(save=_find(f"{program}{infix}-save"), restore=_find(f"{program}{infix}-restore"))


def _variant_in_use(family: Family) -> Variant:
    """The kubelet's variant where its chains show in the legacy tables, else the machine's own choice.

    Legacy tables are read only where the kernel says that there are some: asking would make them.
    """
    try:
        has_legacy = Table.MANGLE.value in _LEGACY_TABLES[family].read_text().split()
    except OSError:
        return Variant.AUTO
    if not has_legacy or _which(f"{_PROGRAM[family]}-legacy-save") is None:
        return Variant.AUTO
    chains = IptablesBackend(Variant.LEGACY, family=family).observe().get(Table.MANGLE, {})
    return Variant.LEGACY if any(chain in chains for chain in KUBELET_CHAINS) else Variant.AUTO


def _find(program: str) -> str:
    found = _which(program)
    if found is None:
        raise Unsupported(f"{program} is not on PATH: install it with `apt-get install iptables`")
    return found


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


def _is_liberal() -> bool:
    try:
        return _BE_LIBERAL.read_text().strip() != "0"
    except OSError:
        return False


def _failure(program: str, done: _Done) -> Retry | Unsupported:
    words = " ".join(done.stderr.split())
    if "you must be root" in words or "Permission denied" in words:
        return Unsupported(f"{program} lacks the privilege: run as root, or with CAP_NET_ADMIN ({words})")
    return Retry(f"{program} failed with status {done.returncode}: {words}", after_s=RETRY_S)


def _refusal(batch: Batch, program: str, done: _Done) -> Retry | Unsupported:
    found = _LINE.search(done.stderr)
    if found is None:
        return _failure(program, done)
    number = int(found.group(1))
    words = " ".join(done.stderr.split())
    rule = batch.rule_at(number)
    if rule is None:
        return ApplyError(
            f"{program} refused table {batch.table_at(number)}, not saying which rule ({words})", rule=None
        )
    owner = f" for Service {rule.owner} ({rule.origin})" if rule.owner is not None else ""
    return ApplyError(f"{program} refused the rule{owner}: {format_rule(rule)} ({words})", rule=rule)
