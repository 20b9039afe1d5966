"""From objects to the Plan: which doors there are, in which order, and what is left out with a note."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from fairway.api.types import Key
from fairway.base.addresses import Family, parse_address
from fairway.flow.packet import Protocol
from fairway.plan.assembly import assemble_plan
from fairway.plan.compile import compile_plan, compile_service, group_slices
from fairway.plan.model import (
    Affinity,
    Backend,
    Backends,
    DoorKind,
    HealthCheck,
    Plan,
    PortName,
    Refusal,
    RejectReason,
    Scope,
    ServicePlan,
    Source,
    Way,
)
from fairway.plan.options import Options, parse_options, view_node
from tests.plan.objects import (
    BALANCER_IP,
    CLUSTER_IP,
    EXTERNAL_IP,
    HERE,
    LOCAL_AND_REMOTE,
    NODE_ADDRESS,
    NODE_PORT,
    OPTIONS,
    REMOTE_ONLY,
    endpoint,
    endpoint_slice,
    every_door,
    ipv6_options,
    node,
    plan_of,
    service,
)

HERE_BACKEND = Backend.at(parse_address("10.10.1.3"), 8080, local=True)
THERE_BACKEND = Backend.at(parse_address("10.10.2.3"), 8080)


def doors_of(plan: Plan) -> list[str]:
    return [
        f"{port.name} {door.kind.value} {door.address or '*'}:{door.port}/{door.protocol}"
        for port in plan.ports
        for door in port.doors
    ]


def notes_of(plan: Plan) -> list[str]:
    return [f"{note.origin}: {note.message}" for note in plan.notes]


def outline(way: Way) -> tuple[Scope | RejectReason, bool]:
    outcome = way.outcome
    return (outcome.reason if isinstance(outcome, Refusal) else outcome.scope, way.masquerade)


def test_a_plan_says_what_its_node_is():
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], node_port_addresses=["172.18.0.0/16"])
    assert plan_of([], options=options) == Plan(
        node=HERE,
        node_addresses=(parse_address(NODE_ADDRESS),),
        cluster_cidrs=(ip_network("10.10.0.0/16"),),
        node_port_addresses=(ip_network("172.18.0.0/16"),),
        ports=(),
        family=Family.IPV4,
        localhost_node_ports=True,
    )


def test_a_service_has_a_door_for_each_address_and_port():
    assert doors_of(plan_of(every_door(), LOCAL_AND_REMOTE)) == [
        "default/web clusterIP 10.200.1.5:80/tcp",
        "default/web externalIP 192.0.2.1:80/tcp",
        "default/web loadBalancer 172.18.255.200:80/tcp",
        "default/web nodePort *:30080/tcp",
    ]


def test_ports_are_sorted_by_name_and_matched_with_the_slices_by_name_and_protocol():
    ports = [
        {"name": "web", "port": 80},
        {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
        {"name": "dns-tcp", "port": 53, "nodePort": 30053},
    ]
    slices = endpoint_slice(
        endpoint("10.10.1.3", HERE),
        ports=[{"name": "dns", "port": 5353, "protocol": "UDP"}, {"name": "web", "port": 8080}],
    )
    plan = plan_of([service("b", namespace="shop"), service("web", ports=ports)], slices)
    assert [(str(port.name), port.name.protocol, [str(each) for each in port.cluster]) for port in plan.ports] == [
        ("default/web:dns", Protocol.UDP, ["10.10.1.3:5353"]),
        ("default/web:dns-tcp", Protocol.TCP, []),
        ("default/web:web", Protocol.TCP, ["10.10.1.3:8080"]),
        ("shop/b", Protocol.TCP, []),
    ]
    assert doors_of(plan)[:4] == [
        "default/web:dns clusterIP 10.200.1.5:53/udp",
        "default/web:dns nodePort *:30053/udp",
        "default/web:dns-tcp clusterIP 10.200.1.5:53/tcp",
        "default/web:dns-tcp nodePort *:30053/tcp",
    ]


@pytest.mark.parametrize(
    ("spec", "internal", "external"),
    [
        (
            {},
            {Source.POD: (Scope.CLUSTER, False), Source.NODE: (Scope.CLUSTER, True)}
            | {Source.ELSEWHERE: (Scope.CLUSTER, True)},
            dict.fromkeys(Source, (Scope.CLUSTER, True)),
        ),
        (
            {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"},
            {Source.POD: (Scope.LOCAL, False), Source.NODE: (Scope.LOCAL, True), Source.ELSEWHERE: (Scope.LOCAL, True)},
            {Source.POD: (Scope.CLUSTER, False), Source.NODE: (Scope.CLUSTER, True)}
            | {Source.ELSEWHERE: (Scope.LOCAL, False)},
        ),
    ],
)
def test_each_class_of_sources_has_its_way_at_each_door(spec, internal, external):
    (port,) = plan_of(every_door(**spec), LOCAL_AND_REMOTE).ports
    for door in port.doors:
        expected = internal if door.kind is DoorKind.CLUSTER_IP else external
        assert {source: outline(way) for source, way in door.ways.items()} == expected


def test_a_port_holds_both_sets_and_its_ways_lead_to_them():
    (port,) = plan_of(every_door(externalTrafficPolicy="Local"), LOCAL_AND_REMOTE).ports
    assert (port.cluster, port.local) == ((HERE_BACKEND, THERE_BACKEND), (HERE_BACKEND,))
    outcomes = [way.outcome for door in port.doors for way in door.ways.values()]
    chosen = {(each.scope, each.choices) for each in outcomes if isinstance(each, Backends)}
    assert chosen == {(Scope.CLUSTER, port.cluster), (Scope.LOCAL, port.local)}


def test_refused_ways_never_masquerade():
    for slices in ([], [REMOTE_ONLY]):
        (port,) = plan_of(every_door(externalTrafficPolicy="Local", internalTrafficPolicy="Local"), *slices).ports
        refused = [way for door in port.doors for way in door.ways.values() if isinstance(way.outcome, Refusal)]
        assert refused
        assert not any(way.masquerade for way in refused)


@pytest.mark.parametrize(
    "left_alone",
    [
        service(clusterIP="None"),
        service(clusterIP="", clusterIPs=["None"]),
        service(type="ExternalName", clusterIP=""),
        service(labels={"service.kubernetes.io/service-proxy-name": "other"}),
        service(labels={"service.kubernetes.io/service-proxy-name": ""}),
        service(clusterIP="fd00:200::5"),
    ],
)
def test_services_that_are_not_ours_are_left_alone_without_a_word(left_alone):
    plan = plan_of(left_alone, LOCAL_AND_REMOTE)
    assert (plan.ports, plan.notes) == ((), ())


def test_a_service_that_has_no_cluster_ip_yet_gets_a_note():
    plan = plan_of(service(clusterIP="", type="NodePort"), LOCAL_AND_REMOTE)
    assert plan.ports == ()
    assert notes_of(plan) == [
        (
            "Service default/web: spec.clusterIP: it has no clusterIP, so it is not programmed; "
            "the API server allocates one when it stores a Service"
        )
    ]


def test_each_family_takes_its_own_addresses_of_a_dual_stack_service():
    dual = every_door(clusterIPs=[CLUSTER_IP, "fd00:200::5"], externalIPs=["2001:db8::1", EXTERNAL_IP])
    assert doors_of(plan_of(dual)) == [
        "default/web clusterIP 10.200.1.5:80/tcp",
        "default/web externalIP 192.0.2.1:80/tcp",
        "default/web loadBalancer 172.18.255.200:80/tcp",
        "default/web nodePort *:30080/tcp",
    ]
    assert doors_of(plan_of(dual, options=ipv6_options(), on=node("fd00::5"))) == [
        "default/web clusterIP fd00:200::5:80/tcp",
        "default/web externalIP 2001:db8::1:80/tcp",
        "default/web nodePort *:30080/tcp",
    ]


@pytest.mark.parametrize(
    ("ingress", "addresses"),
    [
        ([{"ip": BALANCER_IP}], [BALANCER_IP]),
        ([{"ip": BALANCER_IP, "ipMode": "VIP"}], [BALANCER_IP]),
        ([{"ip": BALANCER_IP, "ipMode": "Proxy"}], []),
        ([{"hostname": "lb.example.org"}], []),
        ([{"ip": "2001:db8::1"}, {"ip": BALANCER_IP}, {"ip": BALANCER_IP}], [BALANCER_IP]),
    ],
)
def test_only_virtual_addresses_of_a_load_balancer_are_doors(ingress, addresses):
    balanced = service(type="LoadBalancer", ingress=ingress)
    (port,) = plan_of(balanced, LOCAL_AND_REMOTE).ports
    assert [str(door.address) for door in port.doors if door.kind is DoorKind.LOAD_BALANCER_IP] == addresses


@pytest.mark.parametrize(
    ("ranges", "allowed"),
    [
        ([], None),
        (["10.0.0.0/8"], ["10.0.0.0/8"]),
        ([" 10.1.0.0/8 ", "10.0.0.0/8"], ["10.0.0.0/8"]),
        (["10.0.0.0/8", "0.0.0.0/0"], None),
        (["fd00::/8"], None),
        (["fd00::/8", "10.0.0.0/8"], ["10.0.0.0/8"]),
        (["::/0", "10.0.0.0/8"], ["10.0.0.0/8"]),
        (["10.0.0.0/8", "172.18.0.0/24"], ["10.0.0.0/8", "172.18.0.0/24", "172.18.255.200/32"]),
        (["nonsense"], []),
        (["nonsense", "10.0.0.0/8"], ["10.0.0.0/8"]),
    ],
)
def test_source_ranges_are_those_of_the_family_and_what_they_imply(ranges, allowed):
    (port,) = plan_of(every_door(loadBalancerSourceRanges=ranges), LOCAL_AND_REMOTE).ports
    by_kind = {door.kind: door.allowed_sources for door in port.doors}
    expected = None if allowed is None else tuple(ip_network(text) for text in allowed)
    assert by_kind == {**dict.fromkeys(DoorKind), DoorKind.LOAD_BALANCER_IP: expected}


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        ({"clusterIP": "10.200.1"}, "spec.clusterIP=10.200.1: '10.200.1' is not an IP address; it is left out"),
        (
            {"externalIPs": [EXTERNAL_IP, "nonsense"]},
            "spec.externalIPs[1]=nonsense: 'nonsense' is not an IP address; it is left out",
        ),
        (
            {"externalIPs": [EXTERNAL_IP, "127.0.0.01"]},
            (
                "spec.externalIPs[1]=127.0.0.01: '127.0.0.01' is in the loopback range (127.0.0.0/8, ::1/128), where "
                "no "
                "address can be a Service's; it is left out"
            ),
        ),
        (
            {"externalIPs": ["169.254.1.1"]},
            (
                "spec.externalIPs[0]=169.254.1.1: '169.254.1.1' is in the link-local range (169.254.0.0/16, fe80::/10)"
                ", where no address can be a Service's; it is left out"
            ),
        ),
        (
            {"loadBalancerSourceRanges": ["10.0.0.0"]},
            (
                "spec.loadBalancerSourceRanges[0]=10.0.0.0: '10.0.0.0' is not a network; "
                "expected an address and a prefix length such as 10.0.0.0/8; it admits nobody"
            ),
        ),
        (
            {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
            (
                "spec.healthCheckNodePort: it has none, so load balancers cannot ask which nodes have endpoints; "
                "the API server allocates one"
            ),
        ),
    ],
)
def test_what_cannot_be_used_of_a_service_becomes_a_note(spec, note):
    assert notes_of(plan_of(service(**spec), LOCAL_AND_REMOTE)) == [f"Service default/web: {note}"]


def test_a_slice_that_names_no_service_gets_a_note():
    assert notes_of(plan_of([], endpoint_slice(of=""))) == [
        (
            "EndpointSlice default/web-1: metadata.labels: "
            "it has no label kubernetes.io/service-name, so it serves no Service"
        )
    ]


def test_slices_belong_to_the_service_of_their_own_namespace():
    plan = plan_of(service(), endpoint_slice(endpoint("10.10.1.3"), namespace="shop"))
    assert plan.ports[0].cluster == ()


def test_of_two_services_with_one_door_the_first_by_name_keeps_it():
    first, second = service("a", externalIPs=[EXTERNAL_IP]), service("b", externalIPs=[EXTERNAL_IP])
    by_port = {"type": "NodePort", "ports": [{"port": 81, "nodePort": NODE_PORT}]}
    third = service("c", clusterIP="10.200.1.7", **by_port)
    fourth = service("d", clusterIP="10.200.1.8", **by_port)
    for order in ([first, second, third, fourth], [fourth, third, second, first]):
        plan = plan_of(order)
        assert doors_of(plan) == [
            "default/a clusterIP 10.200.1.5:80/tcp",
            "default/a externalIP 192.0.2.1:80/tcp",
            "default/c clusterIP 10.200.1.7:81/tcp",
            "default/c nodePort *:30080/tcp",
            "default/d clusterIP 10.200.1.8:81/tcp",
        ]
        assert notes_of(plan) == [
            (
                "Service default/b: spec.clusterIP=10.200.1.5: "
                "10.200.1.5 80/tcp is already default/a's, so it stays with that one"
            ),
            (
                "Service default/b: spec.externalIPs[0]=192.0.2.1: "
                "192.0.2.1 80/tcp is already default/a's, so it stays with that one"
            ),
            (
                "Service default/d: spec.ports[0].nodePort=30080: "
                "node port 30080/tcp is already default/c's, so it stays with that one"
            ),
        ]


def test_what_the_api_lets_be_an_address_of_a_service_is_one():
    """Multicast beyond the link, and whatever a load balancer says it has."""
    plan = plan_of(service(externalIPs=["239.1.1.1"], ingress=[{"ip": "169.254.1.1"}], type="LoadBalancer"))
    assert doors_of(plan)[1:] == [
        "default/web externalIP 239.1.1.1:80/tcp",
        "default/web loadBalancer 169.254.1.1:80/tcp",
    ]
    assert plan.notes == ()


def test_external_addresses_are_left_alone_where_the_feature_gate_is_off():
    """AllowServiceExternalIPs; the balancer's address, which no user writes, stays."""
    plan = plan_of(every_door(), LOCAL_AND_REMOTE, options=parse_options(external_ips=False))
    assert {door.kind for door in plan.ports[0].doors} == set(DoorKind) - {DoorKind.EXTERNAL_IP}
    assert plan.notes == ()


def test_an_address_that_is_external_and_the_balancers_is_one_door():
    plan = plan_of(every_door(externalIPs=[BALANCER_IP]), LOCAL_AND_REMOTE)
    assert doors_of(plan)[1:] == ["default/web externalIP 172.18.255.200:80/tcp", "default/web nodePort *:30080/tcp"]
    assert len(plan.notes) == 1


@pytest.mark.parametrize(
    ("spec", "affinity"),
    [
        ({}, None),
        ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}, None),
        ({"sessionAffinity": "ClientIP"}, Affinity(timeout_s=10800)),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}},
            Affinity(timeout_s=5),
        ),
    ],
)
def test_affinity_is_that_of_the_client_with_its_timeout(spec, affinity):
    (port,) = plan_of(service(**spec), LOCAL_AND_REMOTE).ports
    assert port.affinity == affinity


@pytest.mark.parametrize(
    ("spec", "slices", "checks"),
    [
        ({"externalTrafficPolicy": "Local"}, [LOCAL_AND_REMOTE], 1),
        ({"externalTrafficPolicy": "Local"}, [REMOTE_ONLY], 0),
        ({"externalTrafficPolicy": "Local"}, [], 0),
        ({"externalTrafficPolicy": "Cluster"}, [LOCAL_AND_REMOTE], None),
        ({"externalTrafficPolicy": "Local", "type": "NodePort"}, [LOCAL_AND_REMOTE], None),
    ],
)
def test_a_load_balancers_service_with_policy_local_has_a_health_check(spec, slices, checks):
    expected = (
        () if checks is None else (HealthCheck(namespace="default", service="web", port=32000, local_endpoints=checks),)
    )
    assert plan_of(every_door(healthCheckNodePort=32000, **spec), *slices).health_checks == expected


def test_terminating_endpoints_do_not_count_for_the_health_check_but_still_serve():
    draining = endpoint_slice(endpoint("10.10.1.3", HERE, ready=False, serving=True, terminating=True))
    plan = plan_of(every_door(healthCheckNodePort=32000, externalTrafficPolicy="Local"), draining)
    assert plan.health_checks[0].local_endpoints == 0
    assert plan.ports[0].local == (HERE_BACKEND,)


def test_compiling_each_service_by_itself_gives_the_same_plan():
    services = [
        every_door(),
        service("other", namespace="shop", clusterIP="10.200.1.9"),
        service("alone", clusterIP="x"),
    ]
    slices = [LOCAL_AND_REMOTE, endpoint_slice(of="")]
    view = view_node(node(), OPTIONS)
    by_service, notes = group_slices(slices)
    parts = [compile_service(each, by_service.get(each.metadata.key, ()), view) for each in reversed(services)]
    assert assemble_plan(parts, view, notes=notes) == compile_plan(services, slices, node(), options=OPTIONS)


def test_one_service_can_be_compiled_alone():
    view = view_node(node(), Options())
    part = compile_service(service(), [LOCAL_AND_REMOTE], view)
    assert part == ServicePlan(key=Key("default", "web"), ports=part.ports)
    assert [port.name for port in part.ports] == [
        PortName(namespace="default", service="web", port="", protocol=Protocol.TCP)
    ]


def test_a_plan_compiled_again_is_equal():
    assert plan_of(every_door(), LOCAL_AND_REMOTE) == plan_of(every_door(), LOCAL_AND_REMOTE)
    assert plan_of(every_door(), LOCAL_AND_REMOTE) != plan_of(every_door(), REMOTE_ONLY)


def test_a_service_with_more_endpoints_than_a_door_has_slots_is_left_out_whole(monkeypatch):
    monkeypatch.setattr("fairway.plan.compile.MAX_BACKENDS", 1)
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    many = [{"name": "http", "port": 8080}]
    plan = plan_of(
        [service(ports=ports), service("other", clusterIP="10.200.1.6")],
        endpoint_slice(endpoint("10.10.1.3"), endpoint("10.10.1.4"), endpoint("10.10.1.5", ready=False), ports=many),
        endpoint_slice(endpoint("10.10.1.3"), endpoint("10.10.1.5", ready=False), name="other-1", of="other"),
    )
    assert doors_of(plan) == ["default/other clusterIP 10.200.1.6:80/tcp"]
    [note] = plan.notes
    assert note.unprogrammed
    assert (str(note.origin), note.message) == (
        "Service default/web: spec.ports[0]",
        (
            "Service default/web has more usable endpoints at port 80 than the 1 that a door has slots for, "
            "so all of it is left out; spread them over several Services"
        ),
    )
