"""Run on a node (`python -m fairway.cluster.nftrules [-o json] ip|ip6...`): prints its kernel's tables of Services.

As `nft list table ip fairway` prints one, but read over netlink and written by ourselves: no nft is needed. What
somebody else put into a table is shown as it was read; the clients that sets of session affinity remember are not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from fairway.base.addresses import Family
from fairway.base.errors import FairwayError
from fairway.dataplane.nft.backend import NftBackend
from fairway.dataplane.nft.decode import is_dynamic
from fairway.dataplane.nft.diff import Observed, same_make
from fairway.dataplane.nft.layout import affinity_set, fixed_sets
from fairway.dataplane.nft.phrase import format_comment, format_rule
from fairway.dataplane.nft.ruleset import Rule, SetSpec
from fairway.dataplane.nft.text import format_elements, format_hook, format_set, format_typeof, table_name
from fairway.netlink.nftables import SetInfo

Listing = Mapping[str, Any]

_FAMILIES = {"ip": Family.IPV4, "ip6": Family.IPV6}
"""By what nft calls them."""


def specs_of(sets: Mapping[str, SetInfo], family: Family = Family.IPV4) -> dict[str, SetSpec]:
    """What the kernel's sets are made of, as far as they are ours."""
    fixed = fixed_sets(family)
    specs: dict[str, SetSpec] = {}
    for name, info in sets.items():
        spec = fixed.get(name) or (affinity_set(family, name, info.timeout_ms // 1000) if is_dynamic(info) else None)
        if spec is not None and same_make(info, spec.info):
            specs[name] = spec
    return specs


def rule_text(rule: Rule, specs: Mapping[str, SetSpec], family: Family = Family.IPV4) -> str:
    """The rule in nft's words; one that is none of ours as it was read."""
    try:
        return format_rule(rule, family, specs)
    except ValueError:
        return f"# not fairway's: {rule.expressions}"


def listing(seen: Observed, family: Family = Family.IPV4) -> Listing:
    """The table as `-o json` has it."""
    specs = specs_of(seen.sets, family)
    return {
        "table": table_name(family),
        "comment": seen.comment,
        "sets": {
            name: {"typeof": format_typeof(spec), "elements": format_elements(spec, seen.elements.get(name, {}))}
            for name, spec in specs.items()
        },
        "chains": {
            name: {
                "comment": chain.comment,
                "hook": format_hook(chain.hook) if chain.hook is not None else None,
                "rules": [rule_text(rule, specs, family) for rule in chain.rules],
            }
            for name, chain in seen.chains.items()
        },
        "foreign": sorted(seen.sets.keys() - specs.keys()),
    }


def text(seen: Observed, family: Family = Family.IPV4) -> Iterator[str]:
    """The table line by line, as nft lists it."""
    specs = specs_of(seen.sets, family)
    yield f"table {table_name(family)} {{"
    if seen.comment:
        yield f"\t{format_comment(seen.comment)}"
    between = False
    for name, info in seen.sets.items():
        spec = specs.get(name)
        lines = [f"# not fairway's: {info}"] if spec is None else format_set(spec, seen.elements.get(name, {}))
        yield from _block(f"{'map' if spec is not None and spec.is_map else 'set'} {name}", lines, after=between)
        between = True
    for name, chain in seen.chains.items():
        lines = [format_comment(chain.comment)] if chain.comment else []
        if chain.hook is not None:
            lines.append(format_hook(chain.hook))
        lines += [rule_text(rule, specs, family) for rule in chain.rules]
        yield from _block(f"chain {name}", lines, after=between)
        between = True
    yield "}"


def _block(head: str, lines: list[str], *, after: bool) -> Iterator[str]:
    if after:
        yield ""
    yield f"\t{head} {{"
    yield from (f"\t\t{line}" for line in lines)
    yield "\t}"


def main() -> int:
    words = sys.argv[1:]
    as_json = words[:2] == ["-o", "json"]
    families = [_FAMILIES[word] for word in words[2 * as_json :]]
    try:
        backend = NftBackend()
        seen = [(family, table) for family in families if (table := backend.look(family)) is not None]
    except FairwayError as error:
        print(f"fairway: {error}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps([listing(table, family) for family, table in seen], indent=1))
    else:
        for family, table in seen:
            print("\n".join(text(table, family)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
