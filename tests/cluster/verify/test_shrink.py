"""Whatever does not matter is cut away, and no more is asked than was allowed."""

from __future__ import annotations

from collections.abc import Sequence

from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.cluster.verify.draw import RandomDraw
from fairway.cluster.verify.generate import draw_case
from fairway.cluster.verify.shrink import shrink
from fairway.plan.options import LocalMode, Mode, Options, parse_options

CASE = draw_case(RandomDraw(4))
OPTIONS = parse_options(
    **{**CASE.settings, "masquerade_all": True, "detect_local_mode": "NodeCIDR"}, mode=Mode.IPTABLES
)


def endpoints(objects: Sequence[Object]) -> list[str]:
    return [
        address
        for obj in objects
        if obj["kind"] == "EndpointSlice"
        for endpoint in obj["endpoints"]
        for address in endpoint["addresses"]
    ]


def test_one_endpoint_is_left_of_a_cluster_where_it_alone_matters() -> None:
    wanted = endpoints(CASE.objects)[0]

    kept, options = shrink(CASE.objects, OPTIONS, lambda objects, _: wanted in endpoints(objects), most_trials=500)

    (only,) = kept
    assert (only["kind"], endpoints(kept), only["ports"]) == ("EndpointSlice", [wanted], [])
    assert set(only["endpoints"][0]) <= {"addresses", "nodeName"}
    assert options == Options(mode=Mode.IPTABLES)


def test_what_matters_of_the_options_stays() -> None:
    def holds(objects: Sequence[Object], options: Options) -> bool:
        return options.masquerade_all and options.local_mode is LocalMode.NODE_CIDR

    kept, options = shrink(CASE.objects, OPTIONS, holds, most_trials=500)

    assert kept == []
    assert options == Options(mode=Mode.IPTABLES, masquerade_all=True, local_mode=LocalMode.NODE_CIDR)


def test_what_cannot_be_asked_stays_and_nothing_given_is_changed() -> None:
    before = repr(CASE.objects)
    asked = 0

    def refuse(objects: Sequence[Object], options: Options) -> bool:
        nonlocal asked
        asked += 1
        raise Refused("no such object")

    assert shrink(CASE.objects, OPTIONS, refuse, most_trials=7) == (list(CASE.objects), OPTIONS)
    assert asked == 7
    assert repr(CASE.objects) == before
