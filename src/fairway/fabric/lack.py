"""Why a machine gives no namespaces, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

_USER_NAMESPACE_SETTINGS = (
    ("user/max_user_namespaces", "0", "10000"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
)
"""Files under /proc/sys, the value that keeps ordinary users from user namespaces, and one that does not.

The first is in every kernel (namespaces(7)), the second a patch of Debian's, the third of Ubuntu's.
"""


def why_no_namespaces(number: int, *, rootless: bool, setting: Callable[[str], str | None]) -> str:
    """Why unshare failed, and the way out, as one line.

    number: errno. setting: the text of a file under /proc/sys/, None where this kernel has no such file.
    """
    what = f"namespaces cannot be made ({os.strerror(number)})"
    if rootless:
        for name, wrong, right in _USER_NAMESPACE_SETTINGS:
            if setting(name) == wrong:
                key = name.replace("/", ".")
                return (
                    f"{what}: this machine gives ordinary users no user namespaces; "
                    f"run as root, or as root run: sysctl -w {key}={right}"
                )
    if number == errno.ENOSPC:
        return f"{what}: the limits in /proc/sys/user/max_*_namespaces are reached; raise them with sysctl"
    if rootless:
        return f"{what}: run as root; in a container, start that with --privileged"
    return f"{what}: the container around this process forbids it; start that with --privileged"
