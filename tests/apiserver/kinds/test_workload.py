from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, DEPLOYMENTS, REPLICA_SETS, Resource
from fairway.apiserver.kinds import strategy_for
from tests.apiserver.kinds.support import new, wrong, wrong_change


def workload(*, labels: dict[str, str] | None = None, pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "a"} if labels is None else labels},
        "spec": {"containers": [{"name": "c", "image": "i"}], **(pod or {})},
    }
    return {"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec}}


def test_a_deployment_rolls_a_quarter_at_a_time() -> None:
    spec = new(DEPLOYMENTS, workload())["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert new(DEPLOYMENTS, workload(strategy={"type": "Recreate"}))["spec"]["strategy"] == {"type": "Recreate"}


def test_no_replicas_are_a_number_too() -> None:
    assert new(DEPLOYMENTS, workload(replicas=0))["spec"]["replicas"] == 0
    assert new(REPLICA_SETS, workload())["spec"]["replicas"] == 1


@pytest.mark.parametrize("resource", [DEPLOYMENTS, REPLICA_SETS])
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (workload(), []),
        (workload(replicas=-1), ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            workload(minReadySeconds=-1),
            ["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (workload(selector=None), ["spec.selector: Required value"]),
        (
            workload(labels={}),
            ["spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"],
        ),
        (
            workload(pod={"restartPolicy": "Never"}),
            ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
        ),
        (
            workload(pod={"activeDeadlineSeconds": 5}),
            [
                (
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: "
                    "activeDeadlineSeconds in ReplicaSet is not Supported"
                )
            ],
        ),
        (workload(pod={"containers": []}), ["spec.template.spec.containers: Required value"]),
    ],
)
def test_both_kinds_have_the_same_rules(resource: Resource, body: dict[str, Any], found: list[str]) -> None:
    assert wrong(resource, body) == found


def test_an_empty_selector_is_refused() -> None:
    assert wrong(DEPLOYMENTS, workload(selector={})) == [
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment"
    ]


def rolling(**numbers: Any) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": numbers}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"strategy": rolling(maxUnavailable=1, maxSurge=0)}, []),
        ({"strategy": rolling(maxUnavailable="50%", maxSurge="0%")}, []),
        (
            {"strategy": rolling(maxUnavailable=0, maxSurge="0%")},
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            {"strategy": rolling(maxUnavailable="101%")},
            ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
        ),
        (
            {"strategy": rolling(maxSurge="many")},
            [
                (
                    'spec.strategy.rollingUpdate.maxSurge: Invalid value: "many": a valid percent string must '
                    "be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                    "regex used for validation is '[0-9]+%')"
                )
            ],
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            {"strategy": {"type": "Canary"}},
            ['spec.strategy.type: Unsupported value: "Canary": supported values: "Recreate", "RollingUpdate"'],
        ),
        (
            {"minReadySeconds": 600},
            ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
    ],
)
def test_a_rollout_has_its_rules(spec: dict[str, Any], found: list[str]) -> None:
    assert wrong(DEPLOYMENTS, workload(**spec)) == found


def test_a_selector_does_not_change() -> None:
    old = new(DEPLOYMENTS, workload(labels={"app": "a", "tier": "x"}))
    spec = {**old["spec"], "selector": {"matchLabels": {"tier": "x"}}}
    assert wrong_change(DEPLOYMENTS, old, {"spec": spec}) == [
        'spec.selector: Invalid value: {"matchLabels":{"tier":"x"}}: field is immutable'
    ]


def test_a_daemon_set_rolls_one_node_at_a_time() -> None:
    spec = new(DAEMON_SETS, workload())["spec"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    assert (spec["revisionHistoryLimit"], "replicas" in spec) == (10, False)
    assert new(DAEMON_SETS, workload(updateStrategy={"type": "OnDelete"}))["spec"]["updateStrategy"] == {
        "type": "OnDelete"
    }


def rolling(**limits: Any) -> dict[str, Any]:
    return workload(updateStrategy={"type": "RollingUpdate", "rollingUpdate": limits})


UPDATE = "spec.updateStrategy.rollingUpdate"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (workload(), []),
        (rolling(maxUnavailable=0, maxSurge="10%"), []),
        (
            rolling(maxUnavailable=1, maxSurge=1),
            [f"{UPDATE}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"],
        ),
        (rolling(maxUnavailable=0), [f"{UPDATE}.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
        (
            workload(updateStrategy={"type": "Recreate"}),
            [
                (
                    'spec.updateStrategy.type: Unsupported value: "Recreate": '
                    'supported values: "RollingUpdate", "OnDelete"'
                )
            ],
        ),
        (
            workload(pod={"activeDeadlineSeconds": 5}),
            [
                (
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: "
                    "activeDeadlineSeconds in DaemonSet is not Supported"
                )
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_daemon_set(body: dict[str, Any], found: list[str]) -> None:
    assert wrong(DAEMON_SETS, body) == found


def test_a_daemon_sets_template_is_counted_by_the_server_alone() -> None:
    note = "deprecated.daemonset.template.generation"

    def counted(obj: dict[str, Any]) -> str:
        return str(obj["metadata"]["annotations"][note])

    made = new(DAEMON_SETS, workload())
    assert counted(made) == "1"
    restored = {**workload(), "metadata": {"annotations": {note: "7", "a": "b"}}}
    assert new(DAEMON_SETS, restored)["metadata"]["annotations"] == {note: "7", "a": "b"}
    assert counted(new(DAEMON_SETS, {**workload(), "metadata": {"annotations": {note: "x"}}})) == "1"

    strategy = strategy_for(DAEMON_SETS)
    noted = {**made, "metadata": {**made["metadata"], "annotations": {note: "9"}}}
    assert counted(strategy.prepare_update(noted, made)) == "1"
    ready = {**made, "spec": {**made["spec"], "minReadySeconds": 1}}
    assert counted(strategy.prepare_update(ready, made)) == "1"
    template = {**made["spec"]["template"], "metadata": {"labels": {"app": "a", "b": "c"}}}
    other = {**made, "spec": {**made["spec"], "template": template}}
    assert counted(strategy.prepare_update(other, made)) == "2"
    assert counted(strategy.prepare_update(other, made, subresource="status")) == "1"


DATA = {"spec": {"template": {"$patch": "replace"}}}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"data": DATA, "revision": 1}, []),
        ({"data": DATA}, []),
        ({"revision": 1}, ["data: Required value: data is mandatory"]),
        ({"data": DATA, "revision": -1}, ["revision: Invalid value: -1: must be greater than or equal to 0"]),
    ],
)
def test_a_revision_keeps_something_under_a_number(body: dict[str, Any], found: list[str]) -> None:
    assert wrong(CONTROLLER_REVISIONS, body) == found


def test_what_a_revision_keeps_never_changes() -> None:
    before = new(CONTROLLER_REVISIONS, {"data": DATA, "revision": 1})
    assert wrong_change(CONTROLLER_REVISIONS, before, {**before, "revision": 4}) == []
    assert wrong_change(CONTROLLER_REVISIONS, before, {**before, "data": {"spec": 1}}) == [
        'data: Invalid value: {"spec":1}: field is immutable'
    ]
