from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from fairway.fabric.lack import why_no_namespaces

NOT_PERMITTED = "namespaces cannot be made (Operation not permitted)"
NO_SPACE = "namespaces cannot be made (No space left on device)"


def settings(**values: str) -> Callable[[str], str | None]:
    """A machine's /proc/sys with these files, named by their last part."""
    return lambda name: values.get(name.rpartition("/")[2])


@pytest.mark.parametrize(
    ("number", "rootless", "setting", "why"),
    [
        (
            errno.EPERM,
            True,
            settings(max_user_namespaces="1000", apparmor_restrict_unprivileged_userns="1"),
            (
                f"{NOT_PERMITTED}: this machine gives ordinary users no user namespaces; "
                "run as root, or as root run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            ),
        ),
        (
            errno.EPERM,
            True,
            settings(unprivileged_userns_clone="0"),
            (
                f"{NOT_PERMITTED}: this machine gives ordinary users no user namespaces; "
                "run as root, or as root run: sysctl -w kernel.unprivileged_userns_clone=1"
            ),
        ),
        (
            errno.ENOSPC,
            True,
            settings(max_user_namespaces="5"),
            (f"{NO_SPACE}: the limits in /proc/sys/user/max_*_namespaces are reached; raise them with sysctl"),
        ),
        (
            errno.ENOSPC,
            True,
            settings(max_user_namespaces="0"),
            (
                f"{NO_SPACE}: this machine gives ordinary users no user namespaces; "
                "run as root, or as root run: sysctl -w user.max_user_namespaces=10000"
            ),
        ),
        (
            errno.EPERM,
            True,
            settings(),
            (f"{NOT_PERMITTED}: run as root; in a container, start that with --privileged"),
        ),
        (
            errno.EPERM,
            False,
            settings(max_user_namespaces="0"),
            (f"{NOT_PERMITTED}: the container around this process forbids it; start that with --privileged"),
        ),
    ],
)
def test_why_there_are_no_namespaces_is_told_with_the_way_out(
    number: int, rootless: bool, setting: Callable[[str], str | None], why: str
) -> None:
    assert why_no_namespaces(number, rootless=rootless, setting=setting) == why
