from __future__ import annotations

from ipaddress import IPv6Address

from fairway.fabric.ndp import advertisement

MAC = bytes.fromhex("0242ac120005")


def test_an_advertisement_tells_all_nodes_to_replace_what_they_have_noted() -> None:
    # RFC 4861, section 4.4: hop limit 255, ICMPv6 136, flags R and O without S, target, target link-layer address.
    assert advertisement(MAC, IPv6Address("fd00:172:18::255:200")).hex(" ") == (
        "33 33 00 00 00 01 02 42 ac 12 00 05 86 dd "
        "60 00 00 00 00 20 3a ff "
        "fd 00 01 72 00 18 00 00 00 00 00 00 02 55 02 00 "
        "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 "
        "88 00 22 86 a0 00 00 00 "
        "fd 00 01 72 00 18 00 00 00 00 00 00 02 55 02 00 "
        "02 01 02 42 ac 12 00 05"
    )
