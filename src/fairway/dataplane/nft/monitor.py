"""Who else changes our tables: the kernel tells of every commit on a multicast group. I/O."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fairway.dataplane.nft.ruleset import TABLE
from fairway.netlink.elements import element_list
from fairway.netlink.exchange import AnswerLost
from fairway.netlink.nftables import (
    NFNLGRP_NFTABLES,
    Kind,
    body_of,
    decode_chain,
    decode_generation,
    decode_set,
    family_of,
    kind_of,
    table_named,
)
from fairway.netlink.socket import NetlinkSocket

_BUFFER = 4 << 20
"""A stranger may delete many elements at once; what does not fit is noticed as lost."""

_WHAT = {
    Kind.NEWTABLE: "a table was made",
    Kind.DELTABLE: "the table was deleted",
    Kind.NEWCHAIN: "chain {} was made",
    Kind.DELCHAIN: "chain {} was deleted",
    Kind.NEWRULE: "a rule was added",
    Kind.DELRULE: "a rule was deleted",
    Kind.NEWSET: "set {} was made",
    Kind.DELSET: "set {} was deleted",
    Kind.NEWSETELEM: "an element was added to {}",
    Kind.DELSETELEM: "an element was deleted from {}",
}


@dataclass(frozen=True, slots=True)
class Tampering:
    """What somebody else did to our table in one commit, "" for who where it is not known."""

    what: str
    process: str = ""
    pid: int = 0

    def __str__(self) -> str:
        who = f" by {self.process} (pid {self.pid})" if self.process else ""
        return f"{self.what}{who}"


class Monitor:
    """Hears the commits of a network namespace. Raises Unsupported without the privilege.

    deaf_to: sockets that never touch our table, of which nothing is worth hearing.
    """

    def __init__(self, family: int, *, namespace: int | None = None, deaf_to: Collection[int] = ()) -> None:
        self._family = family
        self._socket = NetlinkSocket(namespace=namespace)
        self._socket.reserve(_BUFFER)
        self._socket.be_deaf_to(deaf_to)
        self._deaf = True
        self.hear()

    def fileno(self) -> int:
        """Readable when somebody committed something, ourselves included."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def hear(self) -> None:
        """Hear again; what was committed since `ignore` is not known."""
        if self._deaf:
            self._socket.join(NFNLGRP_NFTABLES)
            self._deaf = False

    def ignore(self) -> None:
        """Hear nothing for a while: a large commit of ours would be told element by element."""
        if not self._deaf:
            self._socket.leave(NFNLGRP_NFTABLES)
            self._deaf = True

    def tampering(self, own_port: int) -> list[Tampering]:
        """What others did to our table since the last call, a commit each; own_port: the socket we commit by."""
        found: list[Tampering] = []
        seen: list[str] = []
        try:
            for told in self._socket.notifications():
                kind = kind_of(told.kind)
                if told.port == own_port or kind is None:
                    continue
                if kind is Kind.DELTABLE and self._is_ours(told.body):
                    seen = [_WHAT[kind]]  # it says all that was told of its chains and sets before
                elif kind is not Kind.NEWGEN:
                    if len(seen) <= _MENTIONED and self._is_ours(told.body):
                        seen.append(_describe(kind, body_of(told.body)))
                elif seen:
                    generation = decode_generation(body_of(told.body))
                    found.append(Tampering(_joined(seen), generation.process, generation.pid))
                    seen = []
        except AnswerLost as error:
            found.append(Tampering(f"more was changed than the kernel could tell ({error})"))
        if seen:
            found.append(Tampering(_joined(seen)))
        return found

    def _is_ours(self, body: bytes) -> bool:
        return family_of(body) == self._family and table_named(body_of(body)) == TABLE


_MENTIONED = 3


def _joined(seen: list[str]) -> str:
    told = list(dict.fromkeys(seen[:_MENTIONED]))
    return ", ".join(told) + (" and more" if len(seen) > _MENTIONED else "")


def _describe(kind: Kind, body: bytes) -> str:
    words = _WHAT.get(kind, "something was changed")
    if kind in (Kind.NEWSETELEM, Kind.DELSETELEM):
        return words.format(element_list(body)[1])
    if kind in (Kind.NEWCHAIN, Kind.DELCHAIN):
        return words.format(decode_chain(body).name)
    if kind in (Kind.NEWSET, Kind.DELSET):
        return words.format(decode_set(body).name)
    return words
