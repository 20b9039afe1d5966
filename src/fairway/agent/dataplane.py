"""What the agent asks of a data plane, and the iptables one behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fairway.agent.sysctls import ROUTE_LOCALNET
from fairway.api.types import Key
from fairway.base.errors import Retry
from fairway.dataplane.ipt.backend import ApplyError, IptablesBackend, Variant
from fairway.dataplane.ipt.diff import Batch
from fairway.dataplane.ipt.frame import accepts_localhost
from fairway.dataplane.ipt.ruleset import Ruleset
from fairway.plan.model import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply came to: whether anything had to be written, and rules by table."""

    changed: bool
    total: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)


class ServiceRefused(Retry):
    """The kernel refused the rules of one Service; nothing was changed."""

    def __init__(self, message: str, *, service: Key) -> None:
        super().__init__(message, after_s=0.0)
        self.service = service


class Dataplane(Protocol):
    """Brings the kernel to a Plan, whatever is there. Blocks; the agent calls it from one thread at a time."""

    def apply(self, plan: Plan) -> Applied:
        """Raises ServiceRefused, Retry where it may work later, Unsupported where it never will."""

    def sysctls(self, plan: Plan) -> Mapping[str, str]:
        """Kernel settings, by path under /proc/sys, that the rules of `plan` rely on; to be made once they stand."""

    def cleanup(self) -> None:
        """Remove everything it ever wrote, and nothing else."""


class IptablesDataplane:
    """A Dataplane by way of iptables-save and iptables-restore."""

    def __init__(self, variant: Variant) -> None:
        self._backend = IptablesBackend(variant)

    def apply(self, plan: Plan) -> Applied:
        ruleset = self._backend.lower(plan)
        try:
            batch = self._backend.apply(ruleset)
        except ApplyError as error:
            owner = error.rule.owner if error.rule is not None else None
            if owner is None:
                raise
            raise ServiceRefused(str(error), service=Key(owner.namespace, owner.service)) from error
        return Applied(changed=bool(batch), total=_rules_by_table(ruleset), written=_written_by_table(batch))

    def sysctls(self, plan: Plan) -> Mapping[str, str]:
        return {ROUTE_LOCALNET: "1"} if accepts_localhost(plan) else {}

    def cleanup(self) -> None:
        self._backend.cleanup()


def _rules_by_table(ruleset: Ruleset) -> Mapping[str, int]:
    return {table.value: sum(len(rules) for rules in chains.values()) for table, chains in ruleset.chains.items()}


def _written_by_table(batch: Batch) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    table = ""
    for line in batch.lines:
        if line.text.startswith("*"):
            table = line.text[1:]
        elif line.rule is not None:
            counts[table] += 1
    return counts
