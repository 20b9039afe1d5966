"""A Service stands for one of its pods: the one that is of most use."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.base.errors import Refused
from fairway.cluster.targets import pod_of_service

Json = dict[str, Any]


def service(name: str = "web", namespace: str = "default", selector: Json | None = None) -> Json:
    spec = {"selector": {"app": "web"} if selector is None else selector}
    return {"kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pod(
    name: str,
    *,
    ready: str = "True",
    since: str = "2026-01-01T00:00:05Z",
    phase: str = "Running",
    namespace: str = "default",
    **metadata: Any,
) -> Json:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": "web", "more": "x"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "status": {
            "phase": phase,
            "conditions": [
                {"type": "Initialized", "status": "True"},
                {"type": "Ready", "status": ready, "lastTransitionTime": since},
            ],
        },
    }


@pytest.mark.parametrize(
    "better",
    [
        pod("z", since="2026-01-01T00:00:01Z"),
        pod("z", creationTimestamp="2025-12-31T00:00:00Z"),
    ],
)
def test_of_those_that_are_ready_it_is_the_one_that_has_been_for_longest_or_is_oldest(better: Json) -> None:
    assert pod_of_service("web", [service()], [pod("a"), better]) == better


@pytest.mark.parametrize(
    "worse",
    [
        pod("a", ready="False", since="2026-01-01T00:00:01Z"),
        pod("a", deletionTimestamp="2026-01-01T00:00:09Z"),
        pod("a", phase="Pending", ready="False"),
        pod("a", phase="Succeeded"),
        pod("a", namespace="other"),
        pod("a", labels={"app": "db"}),
    ],
)
def test_a_pod_of_less_use_is_left_aside(worse: Json) -> None:
    good = pod("z")
    assert pod_of_service("default/web", [service()], [worse, good]) == good


def test_one_that_is_not_ready_is_better_than_none() -> None:
    assert pod_of_service("web", [service()], [slow := pod("a", ready="False")]) == slow


@pytest.mark.parametrize(
    ("name", "services", "pods", "problem"),
    [
        ("wbe", [service()], [], "there is no Service 'wbe' in this lab; did you mean svc/web?"),
        ("zzz", [service()], [], "there is no Service 'zzz' in this lab; see `kubectl get services -A`"),
        (
            "web",
            [service(), service(namespace="shop")],
            [],
            "'web' is the name of several Services (svc/default/web, svc/shop/web): say which",
        ),
        (
            "web",
            [service(selector={})],
            [pod("a")],
            "Service default/web selects no pods: it has no selector; name a pod",
        ),
        ("web", [service()], [], "Service default/web: it has no pods; see `kubectl get pods`, or name another"),
        (
            "web",
            [service()],
            [pod("a", phase="Pending"), pod("b", phase="Failed")],
            "Service default/web: none of its 2 pods runs; see `kubectl get pods`, or name another",
        ),
    ],
)
def test_where_there_is_none_it_is_told_why(name: str, services: list[Json], pods: list[Json], problem: str) -> None:
    with pytest.raises(Refused) as refused:
        pod_of_service(name, services, pods)
    assert str(refused.value) == problem
