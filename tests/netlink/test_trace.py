"""The kernel's trace messages are read for what they tell, and for no more."""

from ipaddress import IPv4Address, IPv6Address

from fairway.netlink.expression_codec import encode_verdict
from fairway.netlink.expressions import ACCEPT, DROP, goto
from fairway.netlink.trace import Headers, Traced, TraceKind, decode_trace
from fairway.netlink.wire import attribute, attributes, nested, text, u32, u64

PACKET = u32(6, 77)
WHERE = PACKET + text(1, "fairway") + text(2, "services")
NETWORK = bytes((0x45, *[0] * 11, *IPv4Address("172.18.0.100").packed, *IPv4Address("172.18.0.3").packed))
CLIENT6, NODE6 = IPv6Address("fd00:172:18::100"), IPv6Address("fd00:172:18::3")
NETWORK6 = bytes((0x60, *[0] * 7, *CLIENT6.packed, *NODE6.packed))
TRANSPORT = (41003).to_bytes(2, "big") + (30961).to_bytes(2, "big") + bytes(16)


def verdict(of: bytes) -> bytes:
    """As NFTA_TRACE_VERDICT: the attributes of a verdict, in an attribute of another number."""
    return nested(5, *attributes_of(of))


def attributes_of(encoded: bytes) -> list[bytes]:
    (inner,) = attributes(encoded).values()
    return [inner]


def test_a_rule_tells_its_handle_and_its_verdict() -> None:
    body = WHERE + u32(4, 3) + u64(3, 19) + verdict(encode_verdict(goto("dispatch")))
    assert decode_trace(body) == Traced(77, "fairway", "services", TraceKind.RULE, 19, goto("dispatch"))


def test_the_first_step_in_a_base_chain_has_the_packets_addresses() -> None:
    headers = attribute(8, NETWORK) + attribute(9, TRANSPORT)
    traced = decode_trace(WHERE + u32(4, 3) + verdict(encode_verdict(DROP)) + headers)
    assert traced.headers == Headers(IPv4Address("172.18.0.100"), 41003, IPv4Address("172.18.0.3"), 30961)
    assert str(traced.headers) == "172.18.0.100:41003 -> 172.18.0.3:30961"


def test_addresses_of_ipv6_are_told_in_brackets() -> None:
    headers = attribute(8, NETWORK6) + attribute(9, TRANSPORT)
    traced = decode_trace(WHERE + u32(4, 3) + headers)
    assert traced.headers == Headers(CLIENT6, 41003, NODE6, 30961)
    assert str(traced.headers) == "[fd00:172:18::100]:41003 -> [fd00:172:18::3]:30961"


def test_headers_that_are_cut_short_or_of_no_ip_tell_no_addresses() -> None:
    for network, transport in (
        (b"", TRANSPORT),
        (NETWORK[:19], TRANSPORT),
        (NETWORK, TRANSPORT[:3]),
        (NETWORK6[:39], TRANSPORT),
        (b"\x00" + NETWORK[1:], TRANSPORT),
    ):
        headers = attribute(8, network) + attribute(9, transport)
        assert decode_trace(WHERE + u32(4, 3) + headers).headers is None


def test_a_policy_is_the_verdict_at_the_end_of_a_base_chain() -> None:
    traced = decode_trace(WHERE + u32(4, 1) + u32(16, 1))
    assert (traced.kind, traced.verdict) == (TraceKind.POLICY, ACCEPT)


def test_a_verdict_no_rule_of_ours_has_is_none() -> None:
    queue = nested(5, u32(1, 3))
    assert decode_trace(WHERE + u32(4, 3) + queue).verdict is None
