"""A fault that was found, with all that a person needs to mend it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from fairway.base.text import one_line


class Severity(IntEnum):
    """How bad it is; the worse one is the lower."""

    FAULT = 0
    """Packets are lost or go astray now, or answers do."""
    RISK = 1
    """Some packets are, or all will be once something else happens."""

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Mend:
    """A command that mends it. node: where to run it; "" for wherever kubectl is."""

    argv: tuple[str, ...]
    node: str = ""

    @classmethod
    def of(cls, text: str, *, node: str = "") -> Mend:
        """From words without quotes. Nothing that somebody else wrote may be in `text`."""
        return cls(tuple(text.split()), node)

    def command(self, prefix: Iterable[str] = ()) -> str:
        """As one types it; prefix: what brings it to its node."""
        return " ".join(map(_quoted, [*prefix, *self.argv] if self.node else self.argv))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault.

    check: the id of what found it. node: where, "" for what concerns no node. about: the object, "Service default/web",
    or the part of the node. what, evidence, consequence: a clause each; the evidence has the very values.
    """

    check: str
    severity: Severity
    what: str
    evidence: str
    consequence: str
    mend: Mend
    node: str = ""
    about: str = ""

    @property
    def order(self) -> tuple[object, ...]:
        """The worst first, then those of one kind together."""
        return self.severity, self.check, self.node, self.about, self.what, self.evidence

    @property
    def identity(self) -> tuple[str, str, str]:
        """By which it is known again at another look."""
        return self.check, self.node, self.about


def some(names: Iterable[str], *, most: int = 4) -> str:
    """A few of many: "a, b, c, d and 3 more"."""
    listed = [one_line(name) for name in names]
    rest = len(listed) - most
    return ", ".join(listed) if rest <= 0 else f"{', '.join(listed[:most])} and {rest} more"


def _quoted(word: str) -> str:
    """For a shell, also where the word holds what does not print: on a terminal it must not act by itself."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in word)
    return "$'" + escaped.replace("'", "\\'") + "'"
