"""Links that tell pods' packets from others: the two ways of kube-proxy that look at no address.

Facts: Kubernetes 1.36 pkg/proxy/util/localdetector.go; `dev_valid_name` in the kernel's net/core/dev.c.
"""

from __future__ import annotations

import re

from msgspec import Struct

from fairway.base.errors import Refused

MAX_NAME_LENGTH = 15
"""IFNAMSIZ of linux/if.h without its closing NUL."""
MAX_PREFIX_LENGTH = MAX_NAME_LENGTH - 1
"""iptables counts the "+" behind a prefix as part of the name (`xtables_parse_interface`)."""

_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
"""The kernel allows more, but both `iptables` and `nft` give a meaning of their own to some of the rest."""


class Links(Struct, frozen=True, kw_only=True, gc=False):
    """The link of this name, or with `is_prefix` every link whose name begins so."""

    name: str
    is_prefix: bool = False

    def holds(self, interface: str) -> bool:
        """Whether a packet that came in by `interface` came by one of them; "" is no link at all."""
        return interface.startswith(self.name) if self.is_prefix else interface == self.name

    def __str__(self) -> str:
        """As nft writes it: "cni0", "veth*"."""
        return f"{self.name}*" if self.is_prefix else self.name


def parse_links(flag: str, text: str, *, is_prefix: bool) -> Links:
    """The links that the value of `flag` names.

    Raises Refused, naming the flag, for what can be no link's name, or none that iptables and nft would both read as
    it stands: only letters, digits, ".", "_" and "-", which may not come first.
    """
    longest = MAX_PREFIX_LENGTH if is_prefix else MAX_NAME_LENGTH
    what = "the beginning of a link's name" if is_prefix else "a link's name"
    if not text:
        raise Refused(f"{flag} is empty: it must be {what}, such as {'veth' if is_prefix else 'cni0'}")
    if len(text) > longest:
        raise Refused(f"{flag}: {text!r} is longer than the {longest} characters that {what} can have")
    if not _NAME.fullmatch(text) or (text in (".", "..") and not is_prefix):
        raise Refused(f'{flag}: {text!r} is not {what}: expected letters, digits, ".", "_" and "-"')
    return Links(name=text, is_prefix=is_prefix)
