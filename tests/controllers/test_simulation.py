"""All controllers together on an API in memory, with watches that lag, in virtual time."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.api.resources import DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, REPLICA_SETS, SERVICES
from fairway.api.status import ApiError
from fairway.api.types import Key
from fairway.controllers.deployment_rolling import fenceposts
from tests.controllers.objects import deployment, node, service
from tests.controllers.simulation import WORKERS, Simulation

SEEDS = range(8)


def rollout_status(obj: dict[str, Any]) -> dict[str, Any]:
    """The fields that `kubectl rollout status` reads."""
    fields = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return {field: obj["status"].get(field) for field in fields}


def conditions(obj: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in obj["status"].get("conditions", ())}


def endpoints_in(simulation: Simulation) -> dict[str, bool]:
    return {
        endpoint["addresses"][0]: endpoint["conditions"]["ready"]
        for one in simulation.slices()
        for endpoint in one["endpoints"]
    }


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_deployment_comes_up_with_one_replica_on_each_worker(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.apply(deployment())
    await simulation.settle()
    assert Counter(pod["spec"]["nodeName"] for pod in simulation.ready()) == {"worker": 1, "worker2": 1, "worker3": 1}
    made = simulation.the(DEPLOYMENTS)
    assert rollout_status(made) == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
    }
    assert conditions(made) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert simulation.api.requests["create", "pods"] == 6, "three pods and their three bindings, no more"
    assert simulation.api.requests["create", "replicasets"] == 1


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_new_template_replaces_every_pod(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.apply(deployment())
    await simulation.settle()
    before = {pod["metadata"]["uid"] for pod in simulation.pods()}
    simulation.apply(deployment(image="other"))
    await simulation.settle()
    assert [pod["spec"]["containers"][0]["image"] for pod in simulation.ready()] == ["other"] * 3
    assert not before & {pod["metadata"]["uid"] for pod in simulation.pods(active=False)}
    revisions = {
        one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: one["spec"]["replicas"]
        for one in simulation.replica_sets()
    }
    assert revisions == {"1": 0, "2": 3}
    made = simulation.the(DEPLOYMENTS)
    assert made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert conditions(made)["Progressing"] == ("True", "NewReplicaSetAvailable")


async def test_a_rollback_makes_the_old_replica_set_the_newest_revision() -> None:
    simulation = Simulation()
    for image in ("one", "two", "one"):
        simulation.apply(deployment(image=image))
        await simulation.settle()
    notes = {one["spec"]["replicas"]: one["metadata"]["annotations"] for one in simulation.replica_sets()}
    assert notes[3]["deployment.kubernetes.io/revision"] == "3"
    assert notes[3]["deployment.kubernetes.io/revision-history"] == "1"
    assert notes[0]["deployment.kubernetes.io/revision"] == "2"
    assert simulation.the(DEPLOYMENTS)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


async def test_history_beyond_the_limit_is_deleted() -> None:
    simulation = Simulation()
    for image in ("one", "two", "three", "four"):
        simulation.apply(deployment(image=image, revisionHistoryLimit=1))
        await simulation.settle()
    numbers = [one["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for one in simulation.replica_sets()]
    assert sorted(numbers) == ["3", "4"]


@pytest.mark.parametrize("seed", SEEDS)
async def test_recreate_starts_nothing_new_before_the_old_is_gone(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.apply(deployment(strategy={"type": "Recreate"}))
    await simulation.settle()

    def one_image_at_a_time() -> None:
        images = {pod["spec"]["containers"][0]["image"] for pod in simulation.pods(active=False)}
        assert len(images) <= 1

    simulation.watch = one_image_at_a_time
    simulation.apply(deployment(strategy={"type": "Recreate"}, image="other"))
    await simulation.settle()
    assert [pod["spec"]["containers"][0]["image"] for pod in simulation.ready()] == ["other"] * 3


async def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    simulation = Simulation()
    simulation.apply(deployment())
    await simulation.settle()
    simulation.apply(deployment(image="other", replicas=5, paused=True))
    await simulation.settle()
    assert [pod["spec"]["containers"][0]["image"] for pod in simulation.ready()] == ["i"] * 5
    assert conditions(simulation.the(DEPLOYMENTS))["Progressing"] == ("Unknown", "DeploymentPaused")
    simulation.apply(deployment(image="other", replicas=5))
    await simulation.settle()
    assert [pod["spec"]["containers"][0]["image"] for pod in simulation.ready()] == ["other"] * 5
    assert conditions(simulation.the(DEPLOYMENTS))["Progressing"] == ("True", "NewReplicaSetAvailable")


async def test_a_rollout_that_does_not_progress_times_out() -> None:
    simulation = Simulation()
    simulation.kubelet = False
    simulation.apply(deployment(progressDeadlineSeconds=60))
    await simulation.settle(until=59)
    assert conditions(simulation.the(DEPLOYMENTS))["Progressing"] == ("True", "ReplicaSetUpdated")
    await simulation.settle(until=120)
    made = simulation.the(DEPLOYMENTS)
    assert conditions(made)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    simulation.kubelet = True
    await simulation.settle()
    assert conditions(simulation.the(DEPLOYMENTS))["Progressing"] == ("True", "NewReplicaSetAvailable")


async def test_pods_count_as_available_only_after_their_minimum_time() -> None:
    simulation = Simulation()
    simulation.apply(deployment(minReadySeconds=30))
    await simulation.settle(until=29)
    assert rollout_status(simulation.the(DEPLOYMENTS))["availableReplicas"] is None
    assert rollout_status(simulation.the(DEPLOYMENTS))["readyReplicas"] == 3
    await simulation.settle(until=31)
    assert rollout_status(simulation.the(DEPLOYMENTS))["availableReplicas"] == 3


@pytest.mark.parametrize("propagation", [None, "Foreground"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_deleting_a_deployment_deletes_all_below_it(seed: int, propagation: str | None) -> None:
    simulation = Simulation(seed)
    simulation.apply(deployment())
    await simulation.settle()
    await simulation.delete(DEPLOYMENTS, "web", propagation)
    await simulation.settle()
    left = {resource.plural: len(simulation.api[resource]) for resource in (DEPLOYMENTS, REPLICA_SETS, PODS)}
    assert left == {"deployments": 0, "replicasets": 0, "pods": 0}


async def test_a_deployment_deleted_in_the_foreground_goes_last() -> None:
    simulation = Simulation()
    simulation.apply(deployment())
    await simulation.settle()

    def owners_outlive_dependents() -> None:
        if not simulation.api[DEPLOYMENTS]:
            assert not simulation.api[REPLICA_SETS]
        if not simulation.api[REPLICA_SETS]:
            assert not simulation.api[PODS]

    simulation.watch = owners_outlive_dependents
    await simulation.delete(DEPLOYMENTS, "web", "Foreground")
    await simulation.settle()
    assert not simulation.api[DEPLOYMENTS]


@pytest.mark.parametrize("seed", SEEDS)
async def test_orphans_stay_and_are_adopted_again(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.apply(deployment())
    await simulation.settle()
    before = {pod["metadata"]["uid"] for pod in simulation.pods()}
    await simulation.delete(DEPLOYMENTS, "web", "Orphan")
    await simulation.settle()
    [orphan] = simulation.replica_sets()
    assert "ownerReferences" not in orphan["metadata"]
    simulation.apply(deployment())
    await simulation.settle()
    assert {pod["metadata"]["uid"] for pod in simulation.pods()} == before
    [adopted] = simulation.replica_sets()
    assert adopted["metadata"]["ownerReferences"][0]["uid"] == simulation.the(DEPLOYMENTS)["metadata"]["uid"]


async def test_a_pod_that_loses_its_label_is_released_and_replaced() -> None:
    simulation = Simulation()
    simulation.apply(deployment())
    await simulation.settle()
    lost = copy.deepcopy(simulation.pods()[0])
    lost["metadata"]["labels"]["app"] = "debug"
    simulation.api.put(PODS, lost)
    await simulation.settle()
    free = [pod for pod in simulation.pods() if not pod["metadata"].get("ownerReferences")]
    assert [pod["metadata"]["name"] for pod in free] == [lost["metadata"]["name"]]
    assert len(simulation.ready()) == 4


async def test_a_deleted_pod_is_replaced_and_leaves_the_slice() -> None:
    simulation = Simulation()
    simulation.apply(service())
    simulation.apply(deployment())
    await simulation.settle()
    gone = simulation.pods()[0]
    await simulation.delete(PODS, gone["metadata"]["name"])
    await simulation.settle()
    assert len(simulation.ready()) == 3
    assert endpoints_in(simulation) == {pod["status"]["podIP"]: True for pod in simulation.ready()}


async def test_pods_wait_for_a_node_and_say_why() -> None:
    # Without lag: a scheduler that has not heard yet that nodes are gone may choose one of them.
    simulation = Simulation(lag=False)
    for name in ("worker", "worker2", "worker3"):
        simulation.api.remove(NODES, Key("", name))
    simulation.apply(deployment(replicas=1))
    await simulation.settle()
    [waiting] = simulation.pods()
    taint = "{node-role.kubernetes.io/control-plane: }"
    message = (
        f"0/1 nodes are available: 1 node(s) had untolerated taint {taint}. "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    assert waiting["status"]["conditions"] == [
        {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": "2025-06-01T12:00:00Z",
            "reason": "Unschedulable",
            "message": message,
        }
    ]
    assert simulation.reasons("default-scheduler") == ["FailedScheduling"]
    free = copy.deepcopy(simulation.the(NODES, "control-plane"))
    free["spec"] = {}
    simulation.api.put(NODES, free)
    await simulation.settle()
    assert len(simulation.ready()) == 1


async def test_pods_on_a_node_that_does_not_exist_hold_nothing_up() -> None:
    simulation = Simulation()
    simulation.apply(service())
    simulation.apply(deployment(strategy={"type": "Recreate"}))
    await simulation.settle()
    simulation.api.remove(NODES, Key("", "worker2"))
    simulation.apply(deployment(strategy={"type": "Recreate"}, image="other"))
    await simulation.settle()
    ready = [pod for pod in simulation.ready() if pod["spec"]["containers"][0]["image"] == "other"]
    assert {pod["spec"]["nodeName"] for pod in ready} == {"worker", "worker3"}
    assert endpoints_in(simulation) == {pod["status"]["podIP"]: True for pod in ready}
    assert len(ready) == 3


@pytest.mark.parametrize("seed", SEEDS)
async def test_pods_of_a_node_that_is_gone_are_deleted_after_its_quarantine(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.apply(deployment())
    await simulation.settle()
    simulation.api.remove(NODES, Key("", "worker"))
    [orphan] = [pod for pod in simulation.ready() if pod["spec"]["nodeName"] == "worker"]
    await simulation.settle(until=39)
    assert simulation.the(PODS, orphan["metadata"]["name"]) == orphan
    await simulation.settle(until=41)
    assert Key("default", orphan["metadata"]["name"]) not in simulation.api[PODS]
    assert Counter(pod["spec"]["nodeName"] for pod in simulation.ready()).keys() == {"worker2", "worker3"}
    assert len(simulation.ready()) == 3


def important(priority: int) -> dict[str, Any]:
    made = deployment("top", replicas=3)
    made["spec"]["template"]["spec"] |= {"priority": priority}
    return made


@pytest.mark.parametrize("seed", SEEDS)
async def test_pods_make_way_for_more_important_ones_and_do_not_take_their_places(seed: int) -> None:
    simulation = Simulation(seed)
    for name in WORKERS:
        simulation.api.put(NODES, node(name, pods="2"))
    simulation.apply(deployment(replicas=6))
    await simulation.settle()
    assert len(simulation.ready()) == 6
    simulation.apply(important(1000))
    await simulation.settle(until=30)
    owners = Counter(pod["metadata"]["labels"]["app"] for pod in simulation.ready())
    priorities = Counter(pod["spec"].get("priority", 0) for pod in simulation.ready())
    assert (owners.total(), priorities) == (6, {1000: 3, 0: 3})
    preempted = [record for _, record in simulation.records if record.reason == "Preempted"]
    assert len(preempted) == 3, "three make way, and nobody is sent away twice"


async def test_a_node_that_comes_back_in_time_keeps_its_pods() -> None:
    simulation = Simulation()
    simulation.apply(deployment())
    await simulation.settle()
    gone = simulation.api[NODES][Key("", "worker")]
    before = {pod["metadata"]["uid"] for pod in simulation.ready()}
    for _ in range(3):
        simulation.api.remove(NODES, Key("", "worker"))
        await simulation.settle(until=simulation.clock.seconds + 30)
        simulation.api.put(NODES, gone)
        await simulation.settle(until=simulation.clock.seconds + 30)
    assert {pod["metadata"]["uid"] for pod in simulation.ready()} == before, "each absence is judged by itself"


async def test_a_refused_pod_is_told_in_events_and_conditions_and_tried_again() -> None:
    simulation = Simulation()
    refusal = ApiError(403, "Forbidden", 'pods "x" is forbidden: exceeded quota')
    simulation.api.refuse = lambda verb, resource, body: (
        refusal if (verb, resource) == ("create", PODS) and body["kind"] == "Pod" else None
    )
    simulation.apply(deployment())
    for _ in range(2000):
        await simulation._step()
    assert conditions(simulation.the(DEPLOYMENTS))["ReplicaFailure"] == ("True", "FailedCreate")
    simulation.api.refuse = lambda verb, resource, body: None
    await simulation.settle(until=120)
    assert len(simulation.ready()) == 3
    assert "ReplicaFailure" not in conditions(simulation.the(DEPLOYMENTS))


async def test_one_changed_pod_is_one_slice_written() -> None:
    simulation = Simulation(lag=False)
    simulation.apply(service())
    simulation.apply(deployment(replicas=250))
    await simulation.settle()
    assert sorted(len(one["endpoints"]) for one in simulation.slices()) == [50, 100, 100]
    before = simulation.api.requests.copy()
    failing = copy.deepcopy(simulation.ready()[17])
    failing["status"]["conditions"][0] |= {"status": "False"}
    simulation.api.put(PODS, failing)
    await simulation.settle()
    written = simulation.api.requests - before
    assert {verb: count for (verb, plural), count in written.items() if plural == "endpointslices"} == {"update": 1}
    assert endpoints_in(simulation)[failing["status"]["podIP"]] is False


async def test_a_service_keeps_an_empty_slice_and_loses_all_when_deleted() -> None:
    simulation = Simulation()
    simulation.apply(service())
    await simulation.settle()
    [empty] = simulation.slices()
    assert empty["endpoints"] == []
    assert simulation.the(ENDPOINTS)["subsets"] == []
    await simulation.delete(SERVICES, "web")
    await simulation.settle()
    assert simulation.api[ENDPOINT_SLICES] == {}
    assert simulation.api[ENDPOINTS] == {}


@pytest.mark.parametrize("seed", SEEDS)
async def test_load_balancer_addresses_are_never_shared_and_move_on(seed: int) -> None:
    simulation = Simulation(seed)
    for name in ("a", "b", "c", "d"):
        simulation.apply(service(name, spec={"type": "LoadBalancer"}))
    await simulation.settle()

    def addresses() -> dict[str, str]:
        return {
            key.name: one["status"]["loadBalancer"]["ingress"][0]["ip"]
            for key, one in simulation.api[SERVICES].items()
            if one["status"]["loadBalancer"].get("ingress")
        }

    given = addresses()
    assert sorted(given.values()) == ["172.18.255.200", "172.18.255.201", "172.18.255.202"]
    assert "SyncLoadBalancerFailed" in simulation.reasons("service-controller")
    [late] = {"a", "b", "c", "d"} - given.keys()
    free = min(given)
    await simulation.delete(SERVICES, free)
    await simulation.settle()
    assert addresses()[late] == given[free]


async def test_a_local_load_balancer_follows_its_endpoints() -> None:
    simulation = Simulation()
    simulation.apply(service(spec={"type": "LoadBalancer", "externalTrafficPolicy": "Local"}))
    await simulation.settle()
    note = "fairway.dev/load-balancer-node"
    assert note not in simulation.the(SERVICES)["metadata"].get("annotations", {})
    simulation.apply(deployment(replicas=1))
    await simulation.settle()
    [pod] = simulation.ready()
    assert simulation.the(SERVICES)["metadata"]["annotations"] == {note: pod["spec"]["nodeName"]}
    home = copy.deepcopy(simulation.the(NODES, pod["spec"]["nodeName"]))
    home["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    simulation.api.put(NODES, home)
    await simulation.settle()
    assert note not in simulation.the(SERVICES)["metadata"]["annotations"], "no other node has an endpoint"
    await simulation.delete(PODS, pod["metadata"]["name"])
    await simulation.settle()
    [other] = simulation.ready()
    assert other["spec"]["nodeName"] != pod["spec"]["nodeName"]
    assert simulation.the(SERVICES)["metadata"]["annotations"] == {note: other["spec"]["nodeName"]}


SIZES = st.integers(min_value=0, max_value=6)
BOUNDS = st.one_of(st.integers(min_value=0, max_value=3), st.sampled_from(["0%", "25%", "50%", "100%"]))
CHANGES = st.lists(
    st.one_of(st.tuples(st.just("scale"), SIZES), st.tuples(st.just("roll"), st.sampled_from("abc"))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), surge=BOUNDS, unavailable=BOUNDS, changes=CHANGES)
def test_whatever_happens_the_bounds_of_a_rollout_hold_and_slices_tell_the_truth(
    seed: int, surge: Any, unavailable: Any, changes: list[tuple[str, Any]]
) -> None:
    asyncio.run(_roll(seed, surge, unavailable, changes))


async def _roll(seed: int, surge: Any, unavailable: Any, changes: list[tuple[str, Any]]) -> None:
    if surge in (0, "0%") and unavailable in (0, "0%"):
        unavailable = 1
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    simulation = Simulation(seed)
    simulation.apply(service())
    size, image = 3, "a"
    simulation.apply(deployment(replicas=size, image=image, strategy=strategy))
    await simulation.settle()
    for what, value in changes:
        before = size
        if what == "scale":
            size = value
        else:
            image = value
        above, below = fenceposts(surge, unavailable, size)
        most = max(before, size + above)
        fewest = min(before, size) - below

        def within_bounds(most: int = most, fewest: int = fewest) -> None:
            assert len(simulation.pods()) <= most
            assert len(simulation.ready()) >= fewest

        simulation.watch = within_bounds
        simulation.apply(deployment(replicas=size, image=image, strategy=strategy))
        await simulation.settle()
        assert len(simulation.ready()) == len(simulation.pods(active=False)) == size
        assert {pod["spec"]["containers"][0]["image"] for pod in simulation.pods()} <= {image}
        assert endpoints_in(simulation) == {pod["status"]["podIP"]: True for pod in simulation.ready()}
        assert all(len(one["endpoints"]) <= 100 for one in simulation.slices())
        status = rollout_status(simulation.the(DEPLOYMENTS))
        assert (status["updatedReplicas"] or 0, status["availableReplicas"] or 0) == (size, size)


DELETIONS = st.sampled_from([None, "Foreground", "Orphan"])
STRATEGIES = st.one_of(
    st.just({"type": "Recreate"}),
    st.builds(
        lambda surge, unavailable: {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
        },
        st.sampled_from([0, 1, 2, "50%"]),
        st.sampled_from([1, 2, "50%"]),
    ),
)
MISHAPS = st.one_of(
    st.tuples(st.just("replicas"), SIZES),
    st.tuples(st.just("image"), st.sampled_from("abc")),
    st.tuples(st.just("strategy"), STRATEGIES),
    st.tuples(st.just("paused"), st.booleans()),
    st.tuples(st.just("delete a pod"), st.none()),
    st.tuples(st.just("delete a replica set"), DELETIONS),
    st.tuples(st.just("delete the deployment"), DELETIONS),
)
MESS = st.lists(st.tuples(MISHAPS, st.integers(0, 120)), min_size=1, max_size=9)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), mess=MESS)
def test_after_any_mess_all_is_as_was_asked_last(seed: int, mess: list[tuple[tuple[str, Any], int]]) -> None:
    asyncio.run(_mess_up(seed, mess))


async def _mess_up(seed: int, mess: list[tuple[tuple[str, Any], int]]) -> None:
    """Each mishap strikes so many steps after the one before, whatever is under way."""
    simulation = Simulation(seed)
    simulation.apply(service())
    wanted: dict[str, Any] = {"replicas": 3, "image": "a"}
    simulation.apply(deployment(**wanted))
    for (what, value), steps in mess:
        match what:
            case "delete a pod":
                if simulation.pods():
                    await simulation.delete(PODS, simulation.pods()[0]["metadata"]["name"])
            case "delete a replica set":
                if simulation.replica_sets():
                    await simulation.delete(REPLICA_SETS, simulation.replica_sets()[-1]["metadata"]["name"], value)
            case "delete the deployment":
                if simulation.api[DEPLOYMENTS]:
                    await simulation.delete(DEPLOYMENTS, "web", value)
            case _:
                wanted[what] = value
        known = simulation.api[DEPLOYMENTS].get(Key("default", "web"))
        if known is None or not known["metadata"].get("deletionTimestamp"):
            simulation.apply(deployment(**wanted))
        for _ in range(steps):
            await simulation._step()
    await simulation.settle(until=simulation.clock.seconds + 5)
    simulation.apply(deployment(**wanted | {"paused": None}))
    await simulation.settle(until=simulation.clock.seconds + 5)
    owned = [pod for pod in simulation.pods(active=False) if pod["metadata"].get("ownerReferences")]
    assert [pod["spec"]["containers"][0]["image"] for pod in owned] == [wanted["image"]] * wanted["replicas"]
    assert endpoints_in(simulation) == {pod["status"]["podIP"]: True for pod in simulation.ready()}
    status = rollout_status(simulation.the(DEPLOYMENTS))
    assert [status[field] or 0 for field in ("updatedReplicas", "availableReplicas")] == [wanted["replicas"]] * 2
    assert conditions(simulation.the(DEPLOYMENTS))["Progressing"] == ("True", "NewReplicaSetAvailable")
