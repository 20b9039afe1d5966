from __future__ import annotations

from typing import Any

import pytest

from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.decode import WrongTypeError, decode


def read(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    obj, problems = decode(SCHEMA, kind, body)
    assert problems == []
    return obj


def test_unset_structs_are_written_as_go_writes_them() -> None:
    assert read("Service", {}) == {"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}
    assert read("ConfigMap", {"data": {}}) == {"metadata": {}}


def test_empty_values_are_dropped_and_zeros_of_pointers_kept() -> None:
    spec = read("Deployment", {"spec": {"replicas": 0, "minReadySeconds": 0, "paused": False}})["spec"]
    assert (spec["replicas"], "minReadySeconds" in spec, "paused" in spec) == (0, False, False)
    pod = read("PodSpec", {"hostNetwork": False, "nodeName": "", "containers": [], "enableServiceLinks": False})
    assert pod == {"containers": [], "enableServiceLinks": False}


def test_required_fields_are_written_even_if_they_are_missing() -> None:
    assert read("EndpointSlice", {}) == {"metadata": {}, "addressType": "", "endpoints": None, "ports": None}
    assert read("ServicePort", {}) == {"port": 0, "targetPort": 0}
    assert read("PodCondition", {"type": "Ready"}) == {
        "type": "Ready",
        "status": "",
        "lastProbeTime": None,
        "lastTransitionTime": None,
    }


def test_null_is_no_value() -> None:
    body = {"metadata": {"name": None, "labels": {"a": None}}, "spec": {"ports": [None]}}
    obj = read("Service", body)
    assert obj["metadata"] == {"labels": {"a": ""}}
    assert obj["spec"] == {"ports": [{"port": 0, "targetPort": 0}]}


def test_fields_stand_in_the_order_of_the_type() -> None:
    assert list(read("Service", {"status": {}, "spec": {}, "metadata": {}, "kind": "Service"})) == [
        "kind",
        "metadata",
        "spec",
        "status",
    ]


def test_unknown_fields_are_named_with_their_path_and_dropped() -> None:
    body = {
        "metadata": {"nme": "a"},
        "spec": {"ports": [{"port": 1}, {"port": 2, "foo": {}}], "bar": 1},
        "baz": None,
    }
    obj, problems = decode(SCHEMA, "Service", body)
    assert problems == [
        'unknown field "metadata.nme"',
        'unknown field "spec.ports[1].foo"',
        'unknown field "spec.bar"',
        'unknown field "baz"',
    ]
    assert obj["spec"] == {"ports": [{"port": 1, "targetPort": 0}, {"port": 2, "targetPort": 0}]}


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("Service", {"spec": []}, "array into Go struct field Service.spec of type v1.ServiceSpec"),
        (
            "Service",
            {"spec": {"ports": {}}},
            "object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
        ),
        (
            "Service",
            {"spec": {"ports": [1]}},
            "number into Go struct field ServiceSpec.spec.ports of type v1.ServicePort",
        ),
        (
            "Service",
            {"spec": {"selector": 1}},
            "number into Go struct field ServiceSpec.spec.selector of type map[string]string",
        ),
        (
            "Service",
            {"spec": {"selector": {"a": 1}}},
            "number into Go struct field ServiceSpec.spec.selector of type string",
        ),
        (
            "Service",
            {"spec": {"clusterIP": True}},
            "bool into Go struct field ServiceSpec.spec.clusterIP of type string",
        ),
        ("Service", {"spec": {"type": 1}}, "number into Go struct field ServiceSpec.spec.type of type v1.ServiceType"),
        ("Service", {"metadata": {"uid": 1}}, "number into Go struct field ObjectMeta.metadata.uid of type types.UID"),
        (
            "Service",
            {"spec": {"ports": [{"port": 80.5}]}},
            "number 80.5 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 2147483648}]}},
            "number 2147483648 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            "Service",
            {"spec": {"publishNotReadyAddresses": "yes"}},
            "string into Go struct field ServiceSpec.spec.publishNotReadyAddresses of type bool",
        ),
        ("Service", {"spec": {"ports": [{"targetPort": True}]}}, "bool into Go value of type int32"),
        ("Service", {"spec": {"ports": [{"targetPort": 1.5}]}}, "number 1.5 into Go value of type int32"),
        ("Service", {"kind": 1}, "number into Go struct field Service.kind of type string"),
        ("Secret", {"data": {"a": 1}}, "number into Go struct field Secret.data of type []uint8"),
        ("Volume", {"hostPath": ""}, "string into Go struct field Volume.hostPath of type v1.HostPathVolumeSource"),
        ("Event", {"firstTimestamp": 1}, "number into Go value of type string"),
    ],
)
def test_a_wrong_type_is_told_in_the_words_of_gos_decoder(kind: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongTypeError) as caught:
        decode(SCHEMA, kind, body)
    assert str(caught.value) == f"json: cannot unmarshal {message}"


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("Secret", {"data": {"a": "MQ="}}, "illegal base64 data at input byte 2"),
        (
            "ResourceRequirements",
            {"limits": {"cpu": "much"}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "Event",
            {"firstTimestamp": "yesterday"},
            'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
        ),
    ],
)
def test_a_malformed_value_is_told_so(kind: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongTypeError) as caught:
        decode(SCHEMA, kind, body)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("given", "seconds", "micros"),
    [
        ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.000000Z"),
        ("2026-11-23T12:00:00.1234567Z", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.123456Z"),
        ("2026-11-23T12:00:00+02:00", "2026-11-23T10:00:00Z", "2026-11-23T10:00:00.000000Z"),
    ],
)
def test_times_are_written_in_utc(given: str, seconds: str, micros: str) -> None:
    event = read("Event", {"firstTimestamp": given, "eventTime": given})
    assert (event["firstTimestamp"], event["eventTime"]) == (seconds, micros)


def test_quantities_are_written_in_their_one_spelling() -> None:
    assert read("ResourceRequirements", {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": 1}}) == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "requests": {"cpu": "1"},
    }


def test_the_fields_of_inline_structs_stand_among_the_others() -> None:
    probe = {"httpGet": {"port": "http"}, "periodSeconds": 1}
    assert read("Probe", probe) == probe
