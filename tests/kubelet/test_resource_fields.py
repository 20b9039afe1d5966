"""A container is told its own requests and limits as a kubelet tells them."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kubelet.resource_fields import ResourceField, parse_resource_field, resource_value
from tests.kubelet.objects import container, pod_object

NODE = {"cpu": "4", "memory": "1048576Ki"}

RESOURCES = {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "ephemeral-storage": "1Gi"}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.cpu"}, "1"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.memory"}, str(64 << 20)),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory", "divisor": "0"}, str(64 << 20)),
        ({"resource": "limits.memory", "divisor": "100Mi"}, "1"),
        ({"resource": "requests.memory"}, "0"),
        ({"resource": "requests.ephemeral-storage", "divisor": "1Gi"}, "1"),
        ({"resource": "limits.ephemeral-storage"}, "0"),
        ({"resource": "limits.cpu", "containerName": "plain"}, "4"),
        ({"resource": "limits.memory", "containerName": "plain", "divisor": "1Mi"}, "1024"),
    ],
)
def test_a_field_is_a_number_of_its_divisor(field: dict[str, Any], value: str) -> None:
    pod = pod_object("web", container("web", resources=RESOURCES), container("plain"))
    wanted = parse_resource_field({"resourceFieldRef": field})
    assert wanted is not None

    assert resource_value(pod, wanted, container="web", allocatable=NODE) == value


def test_other_sources_are_none() -> None:
    assert parse_resource_field({"fieldRef": {"fieldPath": "metadata.name"}}) is None
    assert parse_resource_field({}) is None
    assert parse_resource_field({"resourceFieldRef": {"resource": "limits.cpu"}}) == ResourceField(
        resource="limits.cpu"
    )
