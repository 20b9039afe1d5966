"""A machine without some of its programs, for those who are started on it."""

from __future__ import annotations

import os
from pathlib import Path

from fairway.cluster.tools import HOST_PATH
from tests.lab.ordinary import is_root

RULE_PROGRAMS = ("nft", "iptables", "ip6tables", "xtables", "arptables", "ebtables")
"""How the names of the programs begin by which people write rules: Debian's packages nftables and iptables."""

_HIDE = 'for program in {programs}; do mount --bind /dev/null "$program" || exit 99; done; '


def path_without(folder: Path, *beginnings: str) -> str:
    """A PATH with all programs but those whose names begin so: a folder of links, made at `folder`."""
    for source in os.environ["PATH"].split(":"):
        for program in Path(source).iterdir() if Path(source).is_dir() else ():
            if not program.name.startswith(beginnings) and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


def machine_without(*beginnings: str, uid: int | None = None) -> list[str]:
    """Starts a command where these programs are no programs, also for its labs; as another user where one is given."""
    folders = {*os.environ["PATH"].split(":"), *HOST_PATH.split(":")}
    found = {
        program.resolve()
        for folder in folders
        if Path(folder).is_dir()
        for program in Path(folder).iterdir()
        if program.name.startswith(beginnings) and program.resolve().is_file()
    }
    become = f"exec setpriv --reuid {uid} --regid {uid} --clear-groups" if uid is not None else "exec"
    hide = _HIDE.format(programs=" ".join(f"'{program}'" for program in sorted(found))) if found else ""
    namespaces = ["--mount"] if is_root() else ["--map-root-user", "--mount"]
    return ["unshare", *namespaces, "sh", "-c", f'{hide}{become} "$@"', "sh"]
