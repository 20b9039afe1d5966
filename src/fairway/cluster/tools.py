"""The programs of the machine that a lab's nodes work with, and which of them are missing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from fairway.base.errors import Unsupported

HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a login on a node, as Debian has it for root (login.defs, ENV_SUPATH)."""

PACKAGES: Mapping[str, str] = {
    "iptables": "iptables",
    "iptables-save": "iptables",
    "iptables-restore": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "ss": "iproute2",
    "curl": "curl",
}
"""Program -> Debian's package with it: the agent's, and those by which a person sees what it did."""


def check_programs(path: str = HOST_PATH) -> None:
    """Raises Unsupported, naming the programs that are missing and their packages."""
    missing = [program for program in PACKAGES if shutil.which(program, path=path) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[program] for program in missing}))
        raise Unsupported(
            f"a lab's nodes need {', '.join(missing)}, not found in {path}; as root run: apt-get install {packages}"
        )
