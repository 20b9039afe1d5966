"""Observed x batch -> what the kernel holds once iptables-restore --noflush has taken the batch. Pure."""

from __future__ import annotations

from fairway.dataplane.ipt.diff import Batch
from fairway.dataplane.ipt.parse import Lines
from fairway.dataplane.ipt.ruleset import Table


def replay(observed: Lines, batch: Batch) -> Lines:
    """What `observed` became. Builtin chains that hold nothing may be missing, as in an observation.

    Raises KeyError or ValueError for a batch iptables-restore would have refused.
    """
    tables = dict(observed)
    chains: dict[str, tuple[str, ...]] = {}
    added: dict[str, list[str]] = {}
    for line in batch.lines:
        verb, _, rest = line.text.partition(" ")
        chain, _, rule = rest.partition(" ")
        match verb:
            case "-A":
                added.setdefault(chain, list(chains[chain])).append(rule)
            case "-I":
                chains[chain] = (rule, *chains.get(chain, ()))
            case "-D":
                left = list(chains[chain])
                left.remove(rule)
                chains[chain] = tuple(left)
            case "-X":
                del chains[chain]
            case "COMMIT":
                chains |= {chain: tuple(rules) for chain, rules in added.items()}
            case _ if verb.startswith("*"):
                table = Table(verb[1:])
                tables[table] = chains = dict(observed.get(table, {}))
                added = {}
            case _:
                chains[verb.removeprefix(":")] = ()
    return tables
