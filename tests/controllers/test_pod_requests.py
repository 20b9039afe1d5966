from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fairway.controllers.pod_requests import allocatable, requests, total
from tests.controllers.objects import node, pod

Json = dict[str, Any]


def cpu(amount: str, **fields: Any) -> Json:
    return {"name": "c", "resources": {"requests": {"cpu": amount}}, **fields}


@pytest.mark.parametrize(
    ("spec", "cores"),
    [
        ({"containers": [cpu("100m"), cpu("1")]}, "1.1"),
        ({"containers": [cpu("1")], "overhead": {"cpu": "50m"}}, "1.05"),
        ({"containers": [cpu("1")], "initContainers": [cpu("2"), cpu("3")]}, "3"),
        ({"containers": [cpu("1")], "initContainers": [cpu("1", restartPolicy="Always")]}, "2"),
        ({"containers": [cpu("1")], "initContainers": [cpu("2", restartPolicy="Always"), cpu("3")]}, "5"),
        ({"containers": [cpu("1")], "initContainers": [cpu("3"), cpu("2", restartPolicy="Always")]}, "3"),
    ],
)
def test_a_pod_asks_for_what_runs_at_the_same_time(spec: Json, cores: str) -> None:
    assert requests(pod("a", spec=spec)) == {"cpu": Decimal(cores)}


def test_amounts_of_pods_and_nodes() -> None:
    pods = [pod("a", spec={"containers": [cpu("1")]}), pod("b", spec={"containers": [cpu("500m")]}), pod("c")]
    assert total(pods) == {"cpu": Decimal("1.5")}
    assert allocatable(node("n", allocatable={"memory": "1Ki", "pods": "110"})) == {
        "memory": Decimal(1024),
        "pods": Decimal(110),
    }
