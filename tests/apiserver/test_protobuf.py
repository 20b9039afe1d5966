"""Bodies as kubectl 1.33 sent them, and bytes that are no such thing."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.api.status import ApiError
from fairway.apiserver.protobuf import decode

RECORDED: dict[str, tuple[str, dict[str, Any]]] = {
    "create namespace foo": (
        "azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhsKEwoDZm9vEgAaACIAKgAyADgAQgASABoCCgAaACIA",
        {
            "kind": "Namespace",
            "apiVersion": "v1",
            "metadata": {
                "name": "foo",
                "generateName": "",
                "namespace": "",
                "selfLink": "",
                "uid": "",
                "resourceVersion": "",
                "generation": 0,
            },
            "spec": {},
            "status": {"phase": ""},
        },
    ),
    "create configmap cm1 --from-literal=a=b": (
        "azhzAAoPCgJ2MRIJQ29uZmlnTWFwEh0KEwoDY20xEgAaACIAKgAyADgAQgASBgoBYRIBYhoAIgA=",
        {"data": {"a": "b"}},
    ),
    "create secret generic s1 --from-literal=k=v": (
        "azhzAAoMCgJ2MRIGU2VjcmV0Eh4KEgoCczESABoAIgAqADIAOABCABIGCgFrEgF2GgAaACIA",
        {"data": {"k": "dg=="}},
    ),
    "create service nodeport np1 --tcp=80:http --node-port=30080": (
        (
            "azhzAAoNCgJ2MRIHU2VydmljZRJtCh8KA25wMRIAGgAiACoAMgA4AEIAWgoKA2FwcBIDbnAxEkYKIAoHODAtaHR0cBIDVENQGFAiCggBEAAa"
            "BGh0dHAogOsBEgoKA2FwcBIDbnAxGgAiCE5vZGVQb3J0OgBCAFIAWgBgAGgAGgIKABoAIgA="
        ),
        {
            "spec": {
                "ports": [{"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http", "nodePort": 30080}],
                "selector": {"app": "np1"},
                "clusterIP": "",
                "type": "NodePort",
                "sessionAffinity": "",
                "loadBalancerIP": "",
                "externalName": "",
                "externalTrafficPolicy": "",
                "healthCheckNodePort": 0,
                "publishNotReadyAddresses": False,
            },
        },
    ),
    "auth can-i create services": (
        (
            "azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcSQwoQCgASABoAIgAqADIAOABCABIlCiMKB2Rl"
            "ZmF1bHQSBmNyZWF0ZRoAIgAqCHNlcnZpY2VzMgA6ABoICAASABoAIAAaACIA"
        ),
        {
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {
                "resourceAttributes": {
                    "namespace": "default",
                    "verb": "create",
                    "group": "",
                    "version": "",
                    "resource": "services",
                    "subresource": "",
                    "name": "",
                }
            },
        },
    ),
}

DEPLOYMENT = (
    "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EsIBCiMKBW5naW54EgAaACIAKgAyADgAQgBaDAoDYXBwEgVuZ2lueBKMAQgCEg4KDAoDYXBwEgVu"
    "Z2lueBpwCh4KABIAGgAiACoAMgA4AEIAWgwKA2FwcBIFbmdpbngSThIwCgVuZ2lueBIHbmdpbng6MSoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEA"
    "kAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA"
)


@pytest.mark.parametrize("command", RECORDED)
def test_a_recorded_body_is_read(command: str) -> None:
    encoded, wanted = RECORDED[command]
    seen = decode(base64.b64decode(encoded))
    assert {name: seen[name] for name in wanted} == wanted


def test_a_recorded_deployment_is_read_through_all_its_levels() -> None:
    seen = decode(base64.b64decode(DEPLOYMENT))
    spec = seen["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (seen["kind"], seen["apiVersion"], seen["metadata"]["labels"]) == (
        "Deployment",
        "apps/v1",
        {"app": "nginx"},
    )
    assert (spec["replicas"], spec["selector"]) == (2, {"matchLabels": {"app": "nginx"}})
    assert (container["name"], container["image"], container["ports"][0]["containerPort"]) == ("nginx", "nginx:1", 80)
    assert spec["strategy"] == {"type": ""}


def envelope(kind: bytes, raw: bytes, content_type: bytes = b"") -> bytes:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind)) + field(2, raw) + field(4, content_type)


def test_json_may_travel_in_the_envelope() -> None:
    body = envelope(b"ConfigMap", b'{"data":{"a":"b"}}', b"application/json")
    assert decode(body) == {"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "b"}}


def test_negative_numbers_and_inline_structs_are_read() -> None:
    # Toleration.tolerationSeconds = -1; Volume{name 1, volumeSource 2{emptyDir 2}}.
    toleration = b"\xb2\x01\x0b\x28" + b"\xff" * 9 + b"\x01"
    volume = b"\x0a\x08" + b"\x0a\x02vv" + b"\x12\x02" + b"\x12\x00"
    spec = decode(envelope(b"Pod", b"\x12" + bytes([len(toleration) + len(volume)]) + toleration + volume))["spec"]
    assert spec == {"tolerations": [{"tolerationSeconds": -1}], "volumes": [{"name": "vv", "emptyDir": {}}]}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00"),
        (b"k8s\x00\x0a\x05ab", "unexpected EOF"),
        (b"k8s\x00\x0b", "illegal wireType 3"),
        (b"k8s\x00\xff", "unexpected EOF"),
        (b"k8s\x00" + b"\xff" * 12, "integer overflow"),
        (envelope(b"Widget", b""), 'no kind "Widget" is registered for version "v1"'),
    ],
)
def test_bytes_that_are_none_are_a_bad_request(data: bytes, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode(data)
    assert (caught.value.code, caught.value.message) == (400, f"the object provided is unrecognized: {why}")


def test_a_message_in_place_of_a_number_is_a_bad_request() -> None:
    # ServicePort.port (3) as bytes.
    port = b"\x0a\x04\x1a\x02ab"
    with pytest.raises(ApiError, match="field port has a wrong wire type"):
        decode(envelope(b"Service", b"\x12" + bytes([len(port)]) + port))


@given(st.binary(max_size=200), st.sampled_from([b"Pod", b"Service", b"Event", b"Node", b"Status"]))
def test_any_bytes_are_read_or_refused(raw: bytes, kind: bytes) -> None:
    assert outcome(b"k8s\x00" + raw) in (200, 400)
    assert outcome(envelope(kind, raw[:127])) in (200, 400)


def test_every_prefix_of_a_body_is_read_or_refused() -> None:
    whole = base64.b64decode(DEPLOYMENT)
    assert {outcome(whole[:end]) for end in range(len(whole) + 1)} == {200, 400}


def outcome(data: bytes) -> int:
    try:
        decode(data)
    except ApiError as error:
        return error.code
    return 200
