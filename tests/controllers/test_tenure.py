from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairway.api.resources import LEASES
from fairway.controllers import node_lifecycle, tenure
from fairway.controllers.objects import format_micro_time
from fairway.controllers.writes import Create, Recheck, Update
from fairway.kubelet import node as kubelet_node
from tests.controllers.objects import NOW, metadata

START = NOW - timedelta(hours=1)


def own(renewed_s_ago: float) -> dict[str, Any]:
    renewed = NOW - timedelta(seconds=renewed_s_ago)
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata("kube-controller-manager", namespace="kube-system"),
        "spec": {"acquireTime": format_micro_time(START), "renewTime": format_micro_time(renewed)},
    }


def test_a_tenure_begins_with_a_lease() -> None:
    [create, again] = tenure.renew(None, NOW)
    assert isinstance(create, Create)
    assert create.body["metadata"] == {"name": "kube-controller-manager", "namespace": "kube-system"}
    assert create.body["spec"]["acquireTime"] == create.body["spec"]["renewTime"] == "2025-06-01T12:00:00.000000Z"
    assert again == Recheck(after_s=1.5)
    assert tenure.since(create.body, NOW) == NOW


@pytest.mark.parametrize(("age_s", "acquired"), [(1.5, START), (2.9, START), (3.0, NOW), (600.0, NOW)])
def test_a_renewal_after_a_break_begins_a_new_one(age_s: float, acquired: Any) -> None:
    [update, again] = tenure.renew(own(age_s), NOW)
    assert isinstance(update, Update)
    assert update.resource == LEASES
    assert update.body["metadata"]["resourceVersion"] == "1"
    assert update.body["spec"]["renewTime"] == format_micro_time(NOW)
    assert tenure.since(update.body, NOW) == acquired
    assert again == Recheck(after_s=1.5)


def test_what_is_not_due_is_not_renewed() -> None:
    assert tenure.renew(own(0.5), NOW) == [Recheck(after_s=1.0)]


@pytest.mark.parametrize(("age_s", "since"), [(0.0, START), (2.9, START), (3.0, None)])
def test_during_a_break_nobody_can_be_judged(age_s: float, since: Any) -> None:
    assert tenure.since(own(age_s), NOW) == since
    assert tenure.since(None, NOW) is None


def test_an_api_server_that_was_away_makes_no_node_late_unnoticed() -> None:
    """A node that seems silent for the grace period for want of a server: then our own Lease has a break."""
    assert tenure.BREAK_S <= node_lifecycle.GRACE_S - kubelet_node.LEASE_RENEW_S
    assert tenure.RENEW_S < tenure.BREAK_S


def test_a_node_may_miss_renewals_and_is_still_told_of_within_five_seconds() -> None:
    assert 3 * kubelet_node.LEASE_RENEW_S <= node_lifecycle.GRACE_S < 5
