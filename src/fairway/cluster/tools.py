"""The programs of the machine that a lab's nodes work with, and which of them are missing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from fairway.base.errors import Unsupported
from fairway.plan.options import Mode

HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a login on a node, as Debian has it for root (login.defs, ENV_SUPATH)."""

PACKAGES: Mapping[str, str] = {
    "conntrack": "conntrack",
    "ip": "iproute2",
    "ss": "iproute2",
    "curl": "curl",
}
"""Program -> Debian's package with it: those by which a person sees what the agent did."""

MODE_PACKAGES: Mapping[Mode, Mapping[str, str]] = {
    Mode.NFTABLES: {},
    Mode.IPTABLES: {"iptables": "iptables", "iptables-save": "iptables", "iptables-restore": "iptables"},
}
"""What the agent needs itself. Mode nftables speaks with the kernel and needs no program, not even nft."""


def lacks_for(mode: Mode, path: str = HOST_PATH) -> str:
    """What the rules of this mode cannot be written for, with the way to get it; "" where nothing is missing."""
    wanted = MODE_PACKAGES[mode]
    missing = [program for program in wanted if shutil.which(program, path=path) is None]
    if not missing:
        return ""
    packages = " ".join(sorted({wanted[program] for program in missing}))
    return f"{', '.join(missing)} not found in {path}; as root run: apt-get install {packages}"


def check_programs(mode: Mode, path: str = HOST_PATH) -> None:
    """Raises Unsupported, naming the programs that are missing and their packages."""
    wanted = {**MODE_PACKAGES[mode], **PACKAGES}
    missing = [program for program in wanted if shutil.which(program, path=path) is None]
    if missing:
        packages = " ".join(sorted({wanted[program] for program in missing}))
        raise Unsupported(
            f"a lab's nodes need {', '.join(missing)}, not found in {path}; as root run: apt-get install {packages}"
        )
