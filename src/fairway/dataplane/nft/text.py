"""A table as `nft list table` prints it (nft 1.0.6), for people, for `fairway render` and for tests. Pure.

Where the kernel holds a table that was made at once, format_table's text and nft's are the same, byte for byte: nft
sorts the elements of a set by their value (list_expr_sort in src/mergesort.c), and the kernel keeps sets, chains and
ranges in the order they were made. Ranges, sets and chains that came later stand where they came: `canonical` gives
both texts one order.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from fairway.base.addresses import Family
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.phrase import format_comment, format_rule
from fairway.dataplane.nft.ruleset import TABLE, BaseHook, Chain, Elements, Ruleset, SetSpec
from fairway.dataplane.nft.words import format_element
from fairway.netlink.nftables import NAME_LIMIT, Hook

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9/_.-]*", re.ASCII)
"""nft's words (`string` in src/scanner.l), those that begin with a letter."""

_PRIORITIES = {(Hook.PREROUTING, -100): "dstnat", (Hook.POSTROUTING, 100): "srcnat"}
"""What nft has names for, of the hooks we use: prio2str in src/rule.c."""

_PER_LINE = {layout.CLASSID: 5, layout.INET_SERVICE: 5, layout.INET_PROTO: 5, layout.IPV4_ADDR: 2}
"""Elements on one line by the type of their key, else one: calculate_delim in src/expression.c."""
_BREAK = ",\n\t\t\t     "

_DAY, _HOUR, _MINUTE = 86400, 3600, 60

_Thing = TypeVar("_Thing", SetSpec, Chain)
_Order = Callable[[bytes], int]


def format_table(ruleset: Ruleset) -> str:
    """All of a table. Raises ValueError for what nft could not print, or not read again."""
    blocks = [_block(_head(spec), format_set(spec, ruleset.elements.get(spec.name, {}))) for spec in _sets(ruleset)]
    blocks += [
        _block(f"chain {name}", format_chain(chain, ruleset.family, ruleset.sets))
        for name, chain in _named(ruleset.chains)
    ]
    comment = f"\t{format_comment(ruleset.comment)}\n" if ruleset.comment else ""
    return "".join([f"table {table_name(ruleset.family)} {{\n", comment, "\n".join(blocks), "}\n"])


def table_name(family: Family) -> str:
    """The table as nft calls it: `ip fairway`."""
    return f"{'ip' if family is Family.IPV4 else 'ip6'} {TABLE}"


def format_set(spec: SetSpec, elements: Elements) -> list[str]:
    """The lines of a set or map. Raises ValueError for elements that are not of its make."""
    lines = [f"typeof {format_typeof(spec)}"]
    if spec.size:
        lines.append(f"size {spec.size}")
    if spec.ranges:
        lines.append("flags interval")
    if spec.timeout_s is not None:
        lines += ["flags dynamic,timeout", f"timeout {format_timeout(spec.timeout_s)}"]
    if spec.comment:
        lines.append(format_comment(spec.comment))
    if elements:
        lines.append(f"elements = {{ {_wrap(format_elements(spec, elements), _per_line(spec))} }}")
    return lines


def format_typeof(spec: SetSpec) -> str:
    """What its keys, and a map's values, are: `ip daddr . meta l4proto . th dport : meta priority`."""
    key = " . ".join(field.text for field in spec.key)
    if spec.data is None:
        return key
    return f"{key} : {' . '.join(field.text for field in spec.data) or 'verdict'}"


def format_elements(spec: SetSpec, elements: Elements) -> list[str]:
    """Each element, in the order nft prints them in."""
    return [format_element(spec, key, elements[key]) for key in sorted(elements, key=_order(spec))]


def format_chain(chain: Chain, family: Family, sets: Mapping[str, SetSpec]) -> list[str]:
    """The lines of a chain."""
    lines = [format_comment(chain.comment)] if chain.comment else []
    if chain.hook is not None:
        lines.append(format_hook(chain.hook))
    return lines + [format_rule(rule, family, sets) for rule in chain.rules]


def format_hook(hook: BaseHook) -> str:
    """`type nat hook prerouting priority dstnat; policy accept;`"""
    priority = _PRIORITIES.get((hook.hook, hook.priority), str(hook.priority))
    return f"type nat hook {hook.hook.name.lower()} priority {priority}; policy accept;"


def format_timeout(seconds: int) -> str:
    """`3h`, `1m30s`. Raises ValueError for none."""
    if seconds <= 0:
        raise ValueError(f"no timeout: {seconds} s")
    minutes, rest = divmod(seconds, _MINUTE)
    parts = {"d": seconds // _DAY, "h": seconds % _DAY // _HOUR, "m": minutes % 60, "s": rest}
    return "".join(f"{number}{unit}" for unit, number in parts.items() if number)


def canonical(listing: str) -> str:
    """A table's listing, sets and chains by name and elements sorted as texts: the same for what means the same.

    Elements stay as many on each line as they were.
    """
    head: list[str] = []
    sets: list[str] = []
    chains: list[str] = []
    block: list[str] = []
    for line in listing.splitlines():
        if block:
            block.append(line)
            if line == "\t}":
                (chains if block[0].startswith("\tchain ") else sets).append("\n".join(block))
                block = []
        elif line.startswith(("\tset ", "\tmap ", "\tchain ")):
            block.append(line)
        elif line not in ("", "}"):
            head.append(line)
    ordered = [*sorted(sets, key=_block_name), *sorted(chains, key=_block_name)]
    body = "\n\n".join([_ELEMENTS.sub(_sorted_elements, each) for each in ordered])
    return "\n".join([*head, body, "}", ""])


_ELEMENTS = re.compile(r"(?<=^\t\telements = \{ ).*?(?= \}$)", re.MULTILINE | re.DOTALL)
_SEPARATOR = re.compile(r",\s+")


def _sorted_elements(found: re.Match[str]) -> str:
    text = found[0]
    separators = [*_SEPARATOR.findall(text), ""]
    elements = sorted(_SEPARATOR.split(text))
    return "".join(f"{element}{separator}" for element, separator in zip(elements, separators, strict=True))


def _block_name(block: str) -> str:
    return block.split(maxsplit=2)[1]


def _head(spec: SetSpec) -> str:
    return f"{'map' if spec.is_map else 'set'} {spec.name}"


def _sets(ruleset: Ruleset) -> Iterator[SetSpec]:
    unknown = ruleset.elements.keys() - ruleset.sets.keys()
    if unknown:
        raise ValueError(f"elements of sets that are not there: {', '.join(sorted(unknown))}")
    return (spec for _, spec in _named(ruleset.sets))


def _named(things: Mapping[str, _Thing]) -> Iterator[tuple[str, _Thing]]:
    """Sets or chains by name. Raises ValueError for a name that nft would not read, or the kernel not take."""
    for name, thing in things.items():
        if thing.name != name or len(name) > NAME_LIMIT or not _IDENTIFIER.fullmatch(name):
            raise ValueError(f"no name for nft: {name!r}")
        yield name, thing


def _block(head: str, lines: Iterable[str]) -> str:
    return "".join([f"\t{head} {{\n", *[f"\t\t{line}\n" for line in lines], "\t}\n"])


def _per_line(spec: SetSpec) -> int:
    return _PER_LINE.get(spec.key[0].datatype, 1) if len(spec.key) == 1 else 1


def _wrap(elements: list[str], per_line: int) -> str:
    rows = [", ".join(elements[start : start + per_line]) for start in range(0, len(elements), per_line)]
    return _BREAK.join(rows)


def _order(spec: SetSpec) -> _Order:
    """nft's order; ranges, which it leaves in the kernel's, by their first key.

    nft compares numbers: a single field is one, whose bytes stand as the field says. The bytes of a concatenation it
    takes for one of the machine's own numbers.
    """
    if spec.ranges:
        return _as_they_are
    if len(spec.key) == 1 and spec.key[0].big_endian:
        return _as_they_are
    return _as_own_number


def _as_they_are(key: bytes) -> int:
    return int.from_bytes(key, "big")


def _as_own_number(key: bytes) -> int:
    return int.from_bytes(key, sys.byteorder)
