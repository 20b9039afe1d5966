"""Which address families the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairway.agent.addresses import machine_families
from fairway.base.addresses import Family

SWITCH = "sys/net/ipv6/conf/all/disable_ipv6"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, [Family.IPV4]),
        ({"net/if_inet6": "", SWITCH: "0\n"}, [Family.IPV4, Family.IPV6]),
        ({"net/if_inet6": "", SWITCH: "1\n"}, [Family.IPV4]),
        ({"net/if_inet6": ""}, [Family.IPV4, Family.IPV6]),
    ],
)
def test_ipv6_is_served_where_the_kernel_has_it_and_it_is_not_switched_off(
    tmp_path: Path, files: dict[str, str], expected: list[Family]
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert [*machine_families(proc=tmp_path)] == expected
