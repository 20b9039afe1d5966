"""What the agent asks of a data plane, and the two there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fairway.agent.leftovers import remove_leftovers
from fairway.agent.sysctls import ROUTE_LOCALNET
from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.base.errors import Retry
from fairway.dataplane.ipt.backend import ApplyError, IptablesBackend, Variant
from fairway.dataplane.ipt.diff import Batch
from fairway.dataplane.ipt.frame import accepts_localhost
from fairway.dataplane.ipt.ruleset import Ruleset
from fairway.dataplane.nft.backend import NftBackend
from fairway.plan.assembly import Assembly
from fairway.plan.options import Mode, NodeView


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply came to: whether anything had to be written, and rules by table.

    refused: by Service, why the kernel did not take it; of these it holds what it held before, or nothing. Everything
    else is in.
    tampering: what somebody else had done to the rules, which is undone. elements, messages: sent to nf_tables.
    """

    changed: bool
    refused: Mapping[Key, str] = field(default_factory=dict)
    tampering: Sequence[str] = ()
    elements: int = 0
    messages: int = 0
    total: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)


class ServiceRefused(Retry):
    """The kernel refused the rules of one Service; nothing was changed."""

    def __init__(self, message: str, *, service: Key) -> None:
        super().__init__(message, after_s=0.0)
        self.service = service


class Dataplane(Protocol):
    """Brings the kernel to a Plan of one address family, whatever is there.

    Blocks; the agent calls it from one thread at a time.

    quick: whether an apply of what changed takes no longer than a hop to another thread would, a millisecond or so: it
    is then called in the event loop itself. told: whether the kernel tells of what others do to the rules, so that an
    unchanged kernel need hardly ever be looked at.
    """

    quick: bool
    told: bool

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
        """Make the kernel hold what `assembly` says.

        changed: the only parts of it that may not be in the kernel as they are, gone ones among them; None where
        everything has to be looked at, the kernel too: at first, after a failure, when the node changed, and once in a
        while. A Service that was refused comes up again at once, as it was before or gone, for the kernel to be what
        the assembly is. Raises ServiceRefused, Retry where it may work later, Unsupported where it never will.
        """

    def fileno(self) -> int | None:
        """A file that is readable when somebody may have done something to the rules; None where there is none yet."""

    def tampering(self) -> Sequence[str]:
        """What others did to the rules since it was last asked; the next apply undoes it if it is of everything."""

    def sysctls(self, view: NodeView) -> Mapping[str, str]:
        """Kernel settings, by path under /proc/sys, that the rules on this node rely on; made once they stand."""

    def remove_others(self) -> None:
        """Remove what agents in other modes left of its family; to be called once its own rules stand."""

    def close(self) -> None:
        """Let go of the kernel; the rules stay."""


class IptablesDataplane:
    """A Dataplane by way of iptables-save and iptables-restore: it finds out itself what changed."""

    quick = told = False

    def __init__(self, variant: Variant, family: Family = Family.IPV4) -> None:
        self._family = family
        self._backend = IptablesBackend(variant, family=family)

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
        ruleset = self._backend.lower(assembly.plan())
        try:
            batch = self._backend.apply(ruleset)
        except ApplyError as error:
            owner = error.rule.owner if error.rule is not None else None
            if owner is None:
                raise
            raise ServiceRefused(str(error), service=Key(owner.namespace, owner.service)) from error
        return Applied(changed=bool(batch), total=_rules_by_table(ruleset), written=_written_by_table(batch))

    def fileno(self) -> int | None:
        return None

    def tampering(self) -> Sequence[str]:
        return ()

    def sysctls(self, view: NodeView) -> Mapping[str, str]:
        return {ROUTE_LOCALNET: "1"} if self._family is Family.IPV4 and accepts_localhost(view) else {}

    def remove_others(self) -> None:
        remove_leftovers(Mode.IPTABLES, self._family)

    def close(self) -> None:
        """Nothing is held."""


class NftDataplane:
    """A Dataplane over netlink, with the kernel's own word on who changes what."""

    quick = told = True

    def __init__(self, family: Family = Family.IPV4) -> None:
        self._family = family
        self._backend = NftBackend()

    @property
    def port(self) -> int:
        """What the kernel knows its commits by."""
        return self._backend.port

    def be_deaf_to(self, others: Iterable[NftDataplane]) -> None:
        """What these commit is no tampering: those of other families. Before the first apply."""
        self._backend.be_deaf_to([other.port for other in others])

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
        sync = self._backend.apply(assembly, changed)
        return Applied(
            changed=sync.changed,
            refused=sync.refused,
            tampering=[str(each) for each in sync.tampering],
            elements=sync.elements,
            messages=sync.messages,
        )

    def fileno(self) -> int | None:
        return self._backend.fileno()

    def tampering(self) -> Sequence[str]:
        return [str(each) for each in self._backend.tampering()]

    def sysctls(self, view: NodeView) -> Mapping[str, str]:
        return {}

    def remove_others(self) -> None:
        remove_leftovers(Mode.NFTABLES, self._family)

    def close(self) -> None:
        self._backend.close()


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
