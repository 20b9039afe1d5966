from __future__ import annotations

from ipaddress import IPv4Address

from fairway.fabric.arp import announcement, unasked_reply

MAC = bytes.fromhex("0242ac120005")
ADDRESS = IPv4Address("172.18.255.200")


def test_an_announcement_is_a_broadcast_request_for_the_senders_own_address() -> None:
    # RFC 5227, section 2.3, on RFC 826: sender and target protocol address are the same, target hardware is zero.
    assert announcement(MAC, ADDRESS).hex(" ") == (
        "ff ff ff ff ff ff 02 42 ac 12 00 05 08 06 "
        "00 01 08 00 06 04 00 01 "
        "02 42 ac 12 00 05 ac 12 ff c8 "
        "00 00 00 00 00 00 ac 12 ff c8"
    )


def test_an_unasked_reply_is_a_broadcast_reply_of_the_same() -> None:
    assert unasked_reply(MAC, ADDRESS).hex(" ") == (
        "ff ff ff ff ff ff 02 42 ac 12 00 05 08 06 "
        "00 01 08 00 06 04 00 02 "
        "02 42 ac 12 00 05 ac 12 ff c8 "
        "02 42 ac 12 00 05 ac 12 ff c8"
    )
