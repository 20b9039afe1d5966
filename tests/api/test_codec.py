"""Typed views: the API's defaults where a field is absent, and errors that name object and field."""

from __future__ import annotations

import pytest

from fairway.api.codec import ClusterView, decode_cluster, decode_endpoint_slice, decode_node, decode_service
from fairway.api.core import (
    ApiProtocol,
    ClientIPConfig,
    IPMode,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeStatus,
    Pod,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
    ServiceType,
    SessionAffinity,
    SessionAffinityConfig,
    TrafficPolicy,
)
from fairway.api.discovery import (
    AddressType,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    TopologyHint,
)
from fairway.api.meta import ObjectMeta, json_name
from fairway.api.types import Key
from fairway.base.errors import Refused

WEB = {"name": "web", "namespace": "default"}


def test_every_field_of_a_service_is_read():
    obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**WEB, "uid": "u", "labels": {"a": "b"}, "annotations": {"c": "d"}, "generation": 3},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.200.1.5",
            "clusterIPs": ["10.200.1.5"],
            "ports": [{"name": "dns", "protocol": "UDP", "port": 53, "targetPort": "dns", "nodePort": 30053}],
            "externalIPs": ["192.0.2.1"],
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "internalTrafficPolicy": "Local",
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 32000,
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "selector": {"app": "web"},
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "172.18.255.200", "ipMode": "Proxy", "ports": []}]}},
    }
    assert decode_service(obj) == Service(
        metadata=ObjectMeta(name="web", namespace="default", uid="u", labels={"a": "b"}, annotations={"c": "d"}),
        spec=ServiceSpec(
            type=ServiceType.LOAD_BALANCER,
            cluster_ip="10.200.1.5",
            cluster_ips=("10.200.1.5",),
            ports=(ServicePort(name="dns", protocol=ApiProtocol.UDP, port=53, node_port=30053),),
            external_ips=("192.0.2.1",),
            session_affinity=SessionAffinity.CLIENT_IP,
            session_affinity_config=SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=60)),
            internal_traffic_policy=TrafficPolicy.LOCAL,
            external_traffic_policy=TrafficPolicy.LOCAL,
            health_check_node_port=32000,
            load_balancer_source_ranges=("10.0.0.0/8",),
        ),
        status=ServiceStatus(
            load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip="172.18.255.200", ip_mode=IPMode.PROXY),))
        ),
    )


def test_absent_fields_of_a_service_have_the_defaults_of_the_api():
    service = decode_service({"metadata": WEB, "spec": {"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}})
    assert service.spec.type is ServiceType.CLUSTER_IP
    assert service.spec.ports == (ServicePort(port=80, name="", protocol=ApiProtocol.TCP, node_port=0),)
    assert service.spec.session_affinity_config.client_ip.timeout_seconds == 10800
    assert service.spec.internal_traffic_policy is TrafficPolicy.CLUSTER
    assert service.spec.external_traffic_policy is TrafficPolicy.CLUSTER
    assert service.status.load_balancer.ingress == ()


def test_null_is_absent_wherever_it_stands():
    nulls = {"externalIPs": None, "sessionAffinityConfig": None, "type": None, "ports": [{"port": 80, "name": None}]}
    with_nulls = {"metadata": {**WEB, "labels": None}, "spec": nulls, "status": {"loadBalancer": {"ingress": None}}}
    assert decode_service(with_nulls) == decode_service({"metadata": WEB, "spec": {"ports": [{"port": 80}]}})


def test_every_field_of_a_slice_is_read():
    obj = {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv6",
        "endpoints": [
            {
                "addresses": ["fd00::1"],
                "conditions": {"ready": False, "serving": True, "terminating": True},
                "nodeName": "worker",
                "zone": "a",
                "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "worker"}]},
                "targetRef": {"kind": "Pod", "name": "web-0"},
            },
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}],
    }
    decoded = decode_endpoint_slice(obj)
    assert decoded == EndpointSlice(
        metadata=ObjectMeta(name="web-1", namespace="default", labels={"kubernetes.io/service-name": "web"}),
        address_type=AddressType.IPV6,
        endpoints=(
            Endpoint(
                addresses=("fd00::1",),
                conditions=EndpointConditions(ready=False, serving=True, terminating=True),
                node_name="worker",
                hints=EndpointHints(for_zones=(TopologyHint(name="a"),), for_nodes=(TopologyHint(name="worker"),)),
            ),
        ),
        ports=(EndpointPort(name="http", port=8080, protocol=ApiProtocol.TCP),),
    )
    assert decoded.service_name == "web"


@pytest.mark.parametrize(
    ("conditions", "ready", "serving", "terminating"),
    [
        ({}, True, True, False),
        ({"ready": None, "serving": None, "terminating": None}, True, True, False),
        ({"ready": False}, False, True, False),
        ({"ready": True, "serving": False, "terminating": True}, True, False, True),
    ],
)
def test_unknown_conditions_are_ready_serving_and_not_terminating(conditions, ready, serving, terminating):
    obj = {"metadata": WEB, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}]}
    endpoint = decode_endpoint_slice(obj).endpoints[0]
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (ready, serving, terminating)


def test_a_node_has_its_addresses():
    obj = {
        "metadata": {"name": "worker"},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.5"}], "capacity": {"cpu": "2"}},
    }
    assert decode_node(obj) == Node(
        metadata=ObjectMeta(name="worker"),
        status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address="172.18.0.5"),)),
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"ports": [{"port": "80"}]}, "spec.ports[0].port: Expected int, got str"),
        ({"ports": [{"port": 80.0}]}, "spec.ports[0].port: Expected int, got float"),
        ({"ports": [{"port": True}]}, "spec.ports[0].port: Expected int, got bool"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port: Expected int >= 1"),
        ({"ports": [{"port": 80}, {"port": 65536}]}, "spec.ports[1].port: Expected int <= 65535"),
        ({"ports": [{"port": 80, "nodePort": "30080"}]}, "spec.ports[0].nodePort: Expected int, got str"),
        ({"ports": [{"name": "http"}]}, "spec.ports[0]: Object missing required field port"),
        (
            {"ports": [{"port": 80, "protocol": "tcp"}]},
            "spec.ports[0].protocol: Invalid enum value 'tcp', expected one of TCP, UDP, SCTP",
        ),
        (
            {"type": "Nodeport"},
            "spec.type: Invalid enum value 'Nodeport', expected one of ClusterIP, NodePort, LoadBalancer, ExternalName",
        ),
        ({"externalIPs": "10.0.0.1"}, "spec.externalIPs: Expected array, got str"),
        ({"clusterIP": 10}, "spec.clusterIP: Expected str, got int"),
        (
            {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Expected int <= 86400",
        ),
        ([], "spec: Expected object, got array"),
    ],
)
def test_a_field_of_the_wrong_form_is_refused_by_its_path(spec, message):
    with pytest.raises(Refused) as refusal:
        decode_service({"metadata": WEB, "spec": spec})
    assert str(refusal.value) == f"Service default/web: {message}"


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"metadata": {}}, "Node without a name: metadata: Object missing required field name"),
        ({"metadata": {"name": 7}}, "Node 7: metadata.name: Expected str, got int"),
        ({}, "Node without a name: Object missing required field metadata"),
        ([], "Node without a name: Expected object, got array"),
    ],
)
def test_an_object_without_a_name_is_refused_too(obj, message):
    with pytest.raises(Refused) as refusal:
        decode_node(obj)
    assert str(refusal.value) == message


def test_a_cluster_is_sorted_and_counts_what_is_left_aside():
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("b", "a")]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": WEB}
    foreign = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": WEB}
    view = decode_cluster([*nodes, pod, foreign])
    a, b = (Node(metadata=ObjectMeta(name=name)) for name in ("a", "b"))
    known = Pod(metadata=ObjectMeta(name="web", namespace="default"))
    assert view == ClusterView(services=(), slices=(), nodes=(a, b), pods=(known,), ignored={"Service": 1})
    assert view.node("b") == b


def test_a_node_that_is_not_there_is_refused_with_those_that_are():
    view = decode_cluster([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("a", "b")])
    with pytest.raises(Refused, match=r"^there is no Node c; the nodes are: a, b$"):
        view.node("c")
    with pytest.raises(Refused, match=r"^there is no Node a; the nodes are: none$"):
        decode_cluster([]).node("a")


def test_an_object_given_twice_is_refused():
    service = {"apiVersion": "v1", "kind": "Service", "metadata": WEB}
    with pytest.raises(Refused, match=r"^Service default/web is given twice; leave one of them out$"):
        decode_cluster([service, service])


def test_names_follow_the_spelling_of_the_api():
    names = ["cluster_ip", "cluster_ips", "external_ips", "ip_mode", "pod_cidrs", "node_port", "ip"]
    assert [json_name(name) for name in names] == [
        "clusterIP",
        "clusterIPs",
        "externalIPs",
        "ipMode",
        "podCIDRs",
        "nodePort",
        "ip",
    ]


def test_a_view_knows_its_key():
    assert decode_service({"metadata": WEB}).metadata.key == Key("default", "web")
