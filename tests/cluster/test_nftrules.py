"""A node's table is told as the kernel holds it, what is not ours in it among the rest."""

from fairway.base.addresses import Family
from fairway.cluster.nftrules import listing, text
from fairway.dataplane.nft import layout
from fairway.dataplane.nft.diff import Observed
from fairway.dataplane.nft.ruleset import Chain, Rule
from fairway.flow.packet import Protocol
from fairway.netlink.expressions import ImmediateVerdict, Unknown, jump
from fairway.netlink.nftables import SetInfo

NODEPORTS = layout.fixed_sets(Family.IPV4)[layout.NODEPORTS]
SEEN = Observed(
    comment=layout.COMMENT,
    sets={layout.NODEPORTS: NODEPORTS.info, "strange": SetInfo("fairway", "strange", 0, 7, 4)},
    chains={
        "services": Chain("services", (Rule((ImmediateVerdict(jump("dispatch")),)), Rule((Unknown("limit", b""),)))),
    },
    elements={layout.NODEPORTS: {layout.port_key(Protocol.TCP, 30961): layout.DoorClass(0x22, 3).packed}},
)


def test_what_is_not_ours_is_shown_for_what_it_is() -> None:
    lines = "\n".join(text(SEEN))
    assert "\t\telements = { tcp . 30961 : 22:3 }\n" in lines
    assert "\tset strange {\n\t\t# not fairway's: " in lines
    assert "\t\tjump dispatch\n\t\t# not fairway's: " in lines


def test_as_values_what_is_not_ours_is_named() -> None:
    told = listing(SEEN)
    assert told["sets"] == {
        "nodeports": {"typeof": "meta l4proto . th dport : meta priority", "elements": ["tcp . 30961 : 22:3"]}
    }
    assert told["foreign"] == ["strange"]
    assert told["chains"]["services"]["rules"][0] == "jump dispatch"


def test_the_table_of_ipv6_is_told_as_such() -> None:
    assert next(text(SEEN, Family.IPV6)) == "table ip6 fairway {"
    assert listing(SEEN, Family.IPV6)["table"] == "ip6 fairway"
