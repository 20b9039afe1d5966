from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import EVENTS, LEASES, NAMESPACES, NODES, RESOURCES
from fairway.apiserver.kinds import strategy_for
from tests.apiserver.kinds.support import change, new, texts, wrong, wrong_change


class TestNamespaces:
    def test_a_new_one_is_active_named_by_a_label_and_held(self) -> None:
        made = new(NAMESPACES, {"metadata": {"name": "foo", "labels": {"a": "b"}}, "status": {"phase": "Terminating"}})
        assert made == {
            "kind": "Namespace",
            "apiVersion": "v1",
            "metadata": {"name": "foo", "labels": {"a": "b", "kubernetes.io/metadata.name": "foo"}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }

    def test_an_update_changes_neither_finalizers_nor_status(self) -> None:
        old = new(NAMESPACES, {})
        made = change(NAMESPACES, old, {"spec": {}, "status": {"phase": "Terminating"}})
        assert made == old

    def test_finalizing_changes_finalizers_only(self) -> None:
        old = new(NAMESPACES, {})
        made = change(NAMESPACES, old, {"spec": {"finalizers": []}, "status": {}}, "finalize")
        assert (made["spec"], made["status"]) == ({}, {"phase": "Active"})

    def test_a_status_changes_the_status_only(self) -> None:
        old = new(NAMESPACES, {})
        made = change(NAMESPACES, old, {"spec": {}, "status": {"phase": "Terminating"}}, "status")
        assert (made["spec"], made["status"]) == (old["spec"], {"phase": "Terminating"})

    def test_names_are_labels(self) -> None:
        [text] = wrong(NAMESPACES, {"metadata": {"name": "a.b"}})
        assert text.startswith('metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label')

    def test_they_can_be_selected_by_phase(self) -> None:
        fields = strategy_for(NAMESPACES).fields(new(NAMESPACES, {"metadata": {"name": "foo"}}))
        assert fields == {"metadata.name": "foo", "name": "foo", "status.phase": "Active"}


class TestNodes:
    def test_a_new_one_brings_its_status(self) -> None:
        made = new(NODES, {"status": {"capacity": {"cpu": "2"}, "addresses": [{"type": "InternalIP", "address": "a"}]}})
        assert made["status"]["allocatable"] == {"cpu": "2"}
        assert made["status"]["addresses"] == [{"type": "InternalIP", "address": "a"}]

    def test_networks_and_taints_are_checked(self) -> None:
        taint = {"key": "a", "effect": "NoSchedule"}
        assert wrong(NODES, {"spec": {"podCIDRs": ["10.10.1.1/24"], "taints": [taint, taint]}}) == [
            'spec.podCIDRs[0]: Invalid value: "10.10.1.1/24": must not have bits set beyond the prefix length',
            (
                'spec.taints[1]: Invalid value: {"key":"a","effect":"NoSchedule"}: '
                "taints must be unique by key and effect pair"
            ),
        ]

    @pytest.mark.parametrize(
        ("cidrs", "good"),
        [
            (["10.10.1.0/24"], True),
            (["10.10.1.0/24", "fd00:10:10:1::/64"], True),
            (["fd00:10:10:1::/64", "10.10.1.0/24"], True),
            (["10.10.1.0/24", "10.10.2.0/24"], False),
            (["10.10.1.0/24", "fd00:10:10:1::/64", "fd00:10:10:2::/64"], False),
        ],
    )
    def test_two_pod_networks_are_of_two_families(self, cidrs: list[str], good: bool) -> None:
        told = wrong(NODES, {"spec": {"podCIDRs": cidrs}})
        assert [text.endswith("may specify no more than one CIDR for each IP family") for text in told] == (
            [] if good else [True]
        )

    def test_a_pod_network_is_set_once(self) -> None:
        old = new(NODES, {})
        spec = {"podCIDR": "10.10.1.0/24", "podCIDRs": ["10.10.1.0/24"]}
        assert wrong_change(NODES, old, {"spec": spec}) == []
        given = change(NODES, old, {"spec": spec})
        assert wrong_change(NODES, given, {"spec": {"podCIDRs": ["10.10.2.0/24"]}}) == [
            'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
        ]

    def test_they_can_be_selected_by_being_schedulable(self) -> None:
        fields = strategy_for(NODES).fields
        assert fields(new(NODES, {}))["spec.unschedulable"] == "false"
        assert fields(new(NODES, {"spec": {"unschedulable": True}}))["spec.unschedulable"] == "true"


class TestEvents:
    @pytest.mark.parametrize(
        ("namespace", "involved", "good"),
        [("default", "default", True), ("default", "", True), ("other", "default", False), ("other", "", False)],
    )
    def test_an_event_lives_beside_its_object(self, namespace: str, involved: str, good: bool) -> None:
        body = {"metadata": {"namespace": namespace}, "involvedObject": {"kind": "Pod", "namespace": involved}}
        detail = f'involvedObject.namespace: Invalid value: "{involved}": does not match event.namespace'
        assert wrong(EVENTS, body) == ([] if good else [detail])

    def test_kubectl_describe_selects_them_by_their_object(self) -> None:
        involved = {"kind": "Service", "namespace": "default", "name": "a", "uid": "u"}
        fields = strategy_for(EVENTS).fields(new(EVENTS, {"involvedObject": involved}))
        assert {name: fields[f"involvedObject.{name}"] for name in involved} == involved

    def test_a_put_may_make_one(self) -> None:
        assert strategy_for(EVENTS).allow_create_on_update


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"leaseDurationSeconds": 40, "renewTime": "2026-11-23T12:00:00.000000Z"}, []),
        ({"leaseDurationSeconds": 0}, ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
        ({"leaseTransitions": -1}, ["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"]),
    ],
)
def test_a_lease_has_its_rules(spec: dict[str, Any], found: list[str]) -> None:
    assert wrong(LEASES, {"spec": spec}) == found


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.plural)
def test_every_kind_has_a_strategy_that_takes_a_bare_object(resource: Any) -> None:
    """Nothing but a name: it is valid or refused, and then changed without a change."""
    strategy = strategy_for(resource)
    made = new(resource, {})
    texts(strategy.validate_create(made))
    assert strategy.prepare_update(made, made) == made
    assert "metadata.name" in strategy.field_names()
