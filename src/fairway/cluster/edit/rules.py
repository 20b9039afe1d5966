"""How much of a node's rules an edit changes, without a kernel. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from fairway.dataplane.ipt.lower import lower as lower_to_iptables
from fairway.dataplane.ipt.ruleset import Ruleset as IptablesRuleset
from fairway.dataplane.ipt.ruleset import Table
from fairway.dataplane.ipt.text import format_rule
from fairway.dataplane.nft.diff import Observed
from fairway.dataplane.nft.diff import diff as nft_diff
from fairway.dataplane.nft.lower import lower as lower_to_nftables
from fairway.plan.model import Plan
from fairway.plan.options import Mode


class RuleChanges(Struct, frozen=True, kw_only=True):
    """elements, rules: added, removed, and of elements those that get another value. chains: added, removed, rewritten.

    Mode nftables has elements, mode iptables rules; both are counted as what is sent to the kernel would be.
    """

    added: int = 0
    removed: int = 0
    replaced: int = 0
    chains_added: int = 0
    chains_removed: int = 0
    chains_changed: int = 0

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def to_json(self, mode: Mode) -> dict[str, Any]:
        what = "elements" if mode is Mode.NFTABLES else "rules"
        counts = {"added": self.added, "removed": self.removed}
        if mode is Mode.NFTABLES:
            counts["replaced"] = self.replaced
        chains = {"added": self.chains_added, "removed": self.chains_removed, "changed": self.chains_changed}
        return {what: counts, "chains": chains}


def rule_changes(before: Plan, after: Plan, mode: Mode) -> RuleChanges:
    """What a node's agent would have to change in the kernel."""
    return _nftables(before, after) if mode is Mode.NFTABLES else _iptables(before, after)


def _nftables(before: Plan, after: Plan) -> RuleChanges:
    held = lower_to_nftables(before)
    seen = Observed(
        comment=held.comment,
        sets={name: spec.info for name, spec in held.sets.items()},
        chains=held.chains,
        elements=held.elements,
    )
    delta = nft_diff(seen, lower_to_nftables(after))
    replaced = sum(len(some.keys() & delta.remove.get(name, {}).keys()) for name, some in delta.add.items())
    return RuleChanges(
        added=sum(map(len, delta.add.values())) - replaced,
        removed=sum(map(len, delta.remove.values())) - replaced,
        replaced=replaced,
        chains_added=len(delta.new_chains),
        chains_removed=len(delta.gone_chains),
        chains_changed=len(delta.changed_chains),
    )


def _iptables(before: Plan, after: Plan) -> RuleChanges:
    """By their lines: a chain that differs is written anew as a whole, which changes no packet's way."""
    old, new = _lines(lower_to_iptables(before)), _lines(lower_to_iptables(after))
    both = old.keys() & new.keys()
    pairs = [(set(old.get(chain, ())), set(new.get(chain, ()))) for chain in old.keys() | new.keys()]
    return RuleChanges(
        added=sum(len(has - had) for had, has in pairs),
        removed=sum(len(had - has) for had, has in pairs),
        chains_added=len(new.keys() - old.keys()),
        chains_removed=len(old.keys() - new.keys()),
        chains_changed=sum(old[chain] != new[chain] for chain in both),
    )


def _lines(ruleset: IptablesRuleset) -> Mapping[tuple[Table, str], tuple[str, ...]]:
    return {
        (table, chain): tuple(map(format_rule, rules))
        for table, chains in ruleset.chains.items()
        for chain, rules in chains.items()
    }
