"""What a Service port with affinity has of its own, and what it is called."""

from __future__ import annotations

from msgspec.structs import replace

from fairway.dataplane.nft.affinity import Sticky, lower_affinity
from fairway.dataplane.nft.layout import DoorClass, Policy
from fairway.dataplane.nft.ruleset import Chain
from fairway.flow.packet import Protocol
from fairway.netlink.userdata import comment_record, read_comment
from fairway.plan.model import Backends, PortName, Scope, ServicePort
from fairway.plan.options import view_node
from tests.dataplane.ipt.build import CLUSTER_BACKENDS, NAME, port
from tests.dataplane.nft.build import OPTIONS
from tests.plan.objects import node


class Led:
    """A door that leads everybody to the same backends."""

    own: Backends | None = CLUSTER_BACKENDS
    short_cut: Backends | None = None


def chains_of(name: PortName) -> list[Chain]:
    one: ServicePort = port(affinity=10800, name=name)
    sticky = Sticky(one, view_node(node(), OPTIONS))
    sticky.door(DoorClass(Policy.KEEP, 2), Led())
    made, _ = lower_affinity(sticky)
    return made


def test_chains_say_whose_they_are() -> None:
    assert {chain.comment for chain in chains_of(NAME)} == {"default/web:http"}


def test_a_comment_is_what_the_kernel_will_give_back_however_long_the_names_are() -> None:
    """Else each look at the kernel finds another table than ours, and makes it anew."""
    name = PortName(namespace="n" * 63, service="s" * 253, port="p" * 63, protocol=Protocol.TCP)
    for chain in chains_of(name):
        assert read_comment(comment_record(chain.comment)) == chain.comment
        assert chain.comment.startswith("n" * 63 + "/sss")


def test_a_name_that_could_end_its_quotes_is_no_comment() -> None:
    for odd in ('we"b', "we\nb", "we b", "wëb", "web;drop", "web\\"):
        assert {chain.comment for chain in chains_of(replace(NAME, service=odd))} == {""}


def test_names_of_chains_and_sets_do_not_grow_with_those_of_objects() -> None:
    short = chains_of(NAME)
    long = chains_of(replace(NAME, namespace="n" * 253, service="s" * 253))
    assert [len(chain.name) for chain in long] == [len(chain.name) for chain in short]
    assert Scope.CLUSTER.value in short[-2].name
