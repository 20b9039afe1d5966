"""The output of iptables-save as filter tables. Pure.

Options as in iptables(8) and iptables-extensions(8); those that are not here make a rule one that may match.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from fairway.cluster.doctor.filters import OPAQUE, Act, FilterChain, FilterRule, FilterTable, Match

_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
"""linux/netfilter_ipv4.h, for the hooks that are asked about."""
_HOOKS = {name.upper(): name for name in ("prerouting", "input", "forward", "output", "postrouting")}
_TARGETS = {
    "ACCEPT": Act.ACCEPT,
    "DROP": Act.DROP,
    "REJECT": Act.REJECT,
    "RETURN": Act.RETURN,
    "DNAT": Act.DNAT,
    "REDIRECT": Act.DNAT,
    "NETMAP": Act.DNAT,
    **dict.fromkeys(
        ("LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "CHECKSUM", "CLASSIFY", "NOTRACK"), Act.NOTHING
    ),
    **dict.fromkeys(("MASQUERADE", "SNAT"), Act.NOTHING),
}
"""Targets that are no chains; masquerading is none of the destination's business."""
_MARKING = frozenset({"MARK", "CONNMARK", "CONNSECMARK"})
_HARMLESS = {"-m": 1, "--comment": 1, "--icmp-type": 1, "--tcp-flags": 2, "--syn": 0}
"""Options that say nothing we ask about, or hold for a first packet; with the number of their arguments."""
_LISTS = {
    "-s": "saddr",
    "-d": "daddr",
    "-p": "proto",
    "-i": "iif",
    "-o": "oif",
    "--dport": "dport",
    "--dports": "dport",
    "--ctstate": "state",
    "--state": "state",
    "--mark": "mark",
}


def read_tables(text: str, program: str, *, family: str) -> Iterator[FilterTable]:
    """The tables of an iptables-save or ip6tables-save, without counters. family: "ip" or "ip6"."""
    tool = program.removesuffix("-save")
    table = ""
    policies: dict[str, str] = {}
    rules: dict[str, list[FilterRule]] = {}
    for line in text.split("\n"):
        if line.startswith("*"):
            table, policies, rules = line[1:], {}, {}
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            policies[name], rules[name] = policy, []
        elif line.startswith("-A "):
            _, chain, *_ = line.split(" ", 2)
            rules.setdefault(chain, []).append(_rule(line, policies, [tool, "-t", table]))
        elif line == "COMMIT":
            chains = tuple(_chain(name, policies, rules[name], tool, table) for name in rules)
            yield FilterTable(
                program=tool, family=family, name=table, chains=chains, families=(4 if family == "ip" else 6,)
            )


def _chain(name: str, policies: dict[str, str], rules: Sequence[FilterRule], tool: str, table: str) -> FilterChain:
    return FilterChain(
        name=name,
        rules=tuple(rules),
        hook=_HOOKS.get(name, ""),
        priority=_PRIORITIES.get(table, 0),
        nat=table == "nat",
        drops=policies.get(name) == "DROP",
        accept=(tool, "-t", table, "-P", name, "ACCEPT"),
    )


def _rule(line: str, chains: dict[str, str], prefix: list[str]) -> FilterRule:
    words = _words(line)
    matches: list[Match] = []
    act, target = Act.NOTHING, ""
    position, negated = 2, False
    while position < len(words):
        word = words[position]
        argument = words[position + 1] if position + 1 < len(words) else ""
        position += 1
        if word == "!":
            negated = True
            continue
        if word in ("-j", "-g"):
            position += 1
            act, target = _act(word, argument, chains)
            if argument not in chains:
                break  # what follows are the target's own options
        elif word in _LISTS:
            position += 1
            matches.append(_match(_LISTS[word], argument, negated))
        elif word in ("--dst-type", "--src-type"):
            position += 1
            field = "daddr-type" if word == "--dst-type" else "saddr-type"
            matches.append(Match(field=field, values=(argument.lower(),), negated=negated))
        elif word in _HARMLESS:
            position += _HARMLESS[word]
        else:
            matches.append(Match(field=OPAQUE, values=(word,)))
            position += bool(argument) and not argument.startswith("-")
        negated = False
    return FilterRule(
        text=line,
        act=act,
        tests=tuple(matches),
        chain=target,
        remove=(*prefix, "-D", *words[1:]),
        marks=act is Act.UNKNOWN or not _MARKING.isdisjoint(words),
    )


def _act(option: str, target: str, chains: dict[str, str]) -> tuple[Act, str]:
    if target in chains:
        return (Act.JUMP if option == "-j" else Act.GOTO), target
    return _TARGETS.get(target, Act.UNKNOWN), ""


def _match(field: str, argument: str, negated: bool) -> Match:
    values = [argument] if field == "mark" else argument.split(",")
    if field in ("saddr", "daddr"):
        values = [value if "/" in value else f"{value}/{128 if ':' in value else 32}" for value in values]
        if not all(value.rpartition("/")[2].isdigit() for value in values):
            return Match(field=OPAQUE, values=tuple(values))  # a mask with holes
    if field == "dport":
        values = [value.replace(":", "-") for value in values]
        if not all(value.replace("-", "").isdigit() for value in values):
            return Match(field=OPAQUE, values=tuple(values))
    if field == "mark" and "/" not in argument:
        values = [f"{argument}/0xffffffff"]
    return Match(field=field, values=tuple(values), negated=negated)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()  # a comment with an odd quote
