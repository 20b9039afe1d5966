"""What the controllers do, as an unmodified kubectl shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.apiserver.serving import Served, authority
from tests.controllers.managed import managed, until

MIRRORING = "endpointslicemirroring-controller.k8s.io"
OUTSIDE = """\
apiVersion: v1
kind: Service
metadata:
  name: db
spec:
  ports:
  - port: 5432
---
apiVersion: v1
kind: Endpoints
metadata:
  name: db
subsets:
- addresses:
  - ip: 172.18.0.9
  - ip: fd00::9
  ports:
  - port: 5432
"""
BY_HAND = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: db-by-hand
  labels:
    kubernetes.io/service-name: db
    endpointslice.kubernetes.io/managed-by: staff
addressType: IPv4
endpoints:
- addresses: [172.18.0.10]
ports:
- name: ""
  port: 5432
"""
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

# Namespaces


async def test_every_namespace_has_its_service_account_and_the_clusters_certificate(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        await api.kubectl("create", "namespace", "shop")
        for namespace in ("default", "kube-system", "shop"):
            accounts, maps = (f"/api/v1/namespaces/{namespace}/{one}" for one in ("serviceaccounts", "configmaps"))
            await until(api, accounts, lambda found: "default" in found)
            found = await until(api, maps, lambda found: "kube-root-ca.crt" in found)
            assert found["kube-root-ca.crt"]["data"]["ca.crt"] == authority().certificate.decode()
        await api.kubectl("delete", "sa/default", "cm/kube-root-ca.crt", "-n", "shop")
        await until(api, "/api/v1/namespaces/shop/serviceaccounts", lambda found: "default" in found)
        await until(api, "/api/v1/namespaces/shop/configmaps", lambda found: "kube-root-ca.crt" in found)
        assert (await api.kubectl("get", "sa", "-n", "shop", "--no-headers")).split()[0] == "default"


async def test_a_namespace_goes_with_all_in_it_and_kubectl_waits_for_that(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        await api.kubectl("create", "namespace", "shop")
        await api.kubectl("create", "deployment", "web", "--image=nginx", "-n", "shop")
        await api.kubectl("create", "service", "clusterip", "web", "--tcp=80", "-n", "shop")
        await api.kubectl("create", "configmap", "held", "-n", "shop")
        await api.kubectl("patch", "cm/held", "-n", "shop", "-p", '{"metadata":{"finalizers":["example.com/one"]}}')
        await until(api, "/api/v1/namespaces/shop/pods", len)
        await api.kubectl("delete", "namespace", "shop", "--wait=false")
        message = "Some resources are remaining: configmaps. has 1 resource instances"
        namespaces = await until(api, "/api/v1/namespaces", lambda found: message in str(found["shop"]["status"]))
        assert namespaces["shop"]["status"]["phase"] == "Terminating"
        assert message in await api.kubectl("describe", "namespace", "shop")
        refused = await api.kubectl("create", "configmap", "late", "-n", "shop", ok=False)
        assert "unable to create new content in namespace shop because it is being terminated" in refused
        await api.kubectl("patch", "cm/held", "-n", "shop", "-p", '{"metadata":{"finalizers":null}}')
        await until(api, "/api/v1/namespaces", lambda found: "shop" not in found)
        for path in ("/api/v1/pods", "/api/v1/configmaps", "/apis/apps/v1/deployments", "/api/v1/endpoints"):
            _, listed = await api.call("GET", path)
            assert [one for one in listed["items"] if one["metadata"]["namespace"] == "shop"] == [], path
        await api.kubectl("create", "namespace", "shop")
        assert await api.kubectl("delete", "namespace", "shop") == 'namespace "shop" deleted\n'
        assert 'namespaces "shop" not found' in await api.kubectl("get", "namespace", "shop", ok=False)


# Endpoints by hand


async def test_endpoints_by_hand_are_mirrored_and_slices_by_hand_are_left_alone(tmp_path: Path) -> None:
    def of_db(found: dict[str, Any]) -> list[str]:
        """Managed by whom, with which addresses."""
        told = (
            (one["metadata"]["labels"], [address for each in one["endpoints"] for address in each["addresses"]])
            for name, one in found.items()
            if name.startswith("db")
        )
        return sorted(
            f"{labels['endpointslice.kubernetes.io/managed-by']} {' '.join(addresses)}" for labels, addresses in told
        )

    by_hand = "staff 172.18.0.10"
    async with managed(tmp_path) as api:
        await api.kubectl("apply", "-f", "-", stdin=f"{OUTSIDE}---\n{BY_HAND}")
        both = [f"{MIRRORING} 172.18.0.9", f"{MIRRORING} fd00::9", by_hand]
        await until(api, SLICES, lambda found: of_db(found) == both)
        await api.kubectl("apply", "-f", "-", stdin=OUTSIDE.replace("  - ip: fd00::9\n", ""))
        await until(api, SLICES, lambda found: of_db(found) == [both[0], by_hand])
        await api.kubectl("label", "endpoints", "db", "endpointslice.kubernetes.io/skip-mirror=true")
        await until(api, SLICES, lambda found: of_db(found) == [by_hand])
        await api.kubectl("label", "endpoints", "db", "endpointslice.kubernetes.io/skip-mirror-")
        await until(api, SLICES, lambda found: of_db(found) == [both[0], by_hand])
        await api.kubectl("patch", "svc", "db", "-p", '{"spec":{"selector":{"app":"db"}}}')
        selecting = ["endpointslice-controller.k8s.io ", by_hand]
        await until(api, SLICES, lambda found: of_db(found) == selecting)
        await api.kubectl("delete", "svc", "db")
        found = await until(api, SLICES, lambda found: of_db(found) == [by_hand])
        assert found["db-by-hand"]["metadata"]["generation"] == 1, "nobody but its author has written it"
        assert MIRRORING not in await api.kubectl("get", "endpointslices", "-A", "-o", "yaml")


# Rollouts, of no pods: there is no node to run them

REPLICA_SETS = "/apis/apps/v1/namespaces/default/replicasets"


async def rollout(api: Served, *arguments: str, ok: bool = True) -> str:
    """What kubectl says of a rollout of `web`; the controllers have seen it before this returns."""
    said = await api.kubectl("rollout", arguments[0], "deployment/web", *arguments[1:], ok=ok)
    await until(api, "/apis/apps/v1/namespaces/default/deployments", lambda found: is_seen(found["web"]))
    return said


def is_seen(deployment: dict[str, Any]) -> bool:
    return bool(deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"])


def revisions(replica_sets: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Cause of change by revision, as `rollout history` shows them."""
    notes = [one["metadata"]["annotations"] for one in replica_sets.values()]
    return {
        one["deployment.kubernetes.io/revision"]: one.get("kubernetes.io/change-cause", "<none>")
        for one in sorted(notes, key=lambda one: int(one["deployment.kubernetes.io/revision"]))
    }


async def change(api: Served, image: str, cause: str, known: dict[str, str]) -> None:
    """Another image for `web`, and why; returns once the history is as expected."""
    await api.kubectl("set", "image", "deployment/web", f"nginx={image}")
    await until(api, REPLICA_SETS, lambda found: list(revisions(found)) == list(known))
    await api.kubectl("annotate", "deployment/web", f"kubernetes.io/change-cause={cause}", "--overwrite")
    await until(api, REPLICA_SETS, lambda found: revisions(found) == known)


def history(*lines: str) -> list[str]:
    return ["deployment.apps/web", "REVISION CHANGE-CAUSE", *lines]


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


async def test_a_rollout_is_undone_to_the_revision_before_and_to_any_other(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        await api.kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=0")
        assert words(await rollout(api, "status")) == ['deployment "web" successfully rolled out']
        await change(api, "nginx:2", "two", {"1": "<none>", "2": "two"})
        await change(api, "nginx:3", "three", {"1": "<none>", "2": "two", "3": "three"})
        assert words(await rollout(api, "history")) == history("1 <none>", "2 two", "3 three")
        second = await rollout(api, "history", "--revision=2")
        assert "deployment.apps/web with revision #2\n" in second
        assert [line for line in words(second) if line.startswith("Image:")] == ["Image: nginx:2"]
        assert "unable to find the specified revision" in await rollout(api, "history", "--revision=9", ok=False)

        assert await rollout(api, "undo") == "deployment.apps/web rolled back\n"
        await until(api, REPLICA_SETS, lambda found: revisions(found) == {"1": "<none>", "3": "three", "4": "two"})
        assert await rollout(api, "undo", "--to-revision=1") == "deployment.apps/web rolled back\n"
        await until(api, REPLICA_SETS, lambda found: list(revisions(found)) == ["3", "4", "5"])
        skipped = "deployment.apps/web skipped rollback (current template already matches revision 5)\n"
        assert await rollout(api, "undo", "--to-revision=5") == skipped
        image = "jsonpath={.spec.template.spec.containers[0].image}"
        assert await api.kubectl("get", "deployment", "web", "-o", image) == "nginx:1"
        assert "unable to find specified revision 2" in await rollout(api, "undo", "--to-revision=2", ok=False)
        told = await rollout(api, "status", "--revision=3", ok=False)
        assert "desired revision (3) is different from the running revision (5)" in told


async def test_a_paused_rollout_waits_to_be_resumed_and_a_restart_is_a_revision(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        await api.kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=0")
        await until(api, REPLICA_SETS, lambda found: list(revisions(found)) == ["1"])
        assert await rollout(api, "restart") == "deployment.apps/web restarted\n"
        await until(api, REPLICA_SETS, lambda found: list(revisions(found)) == ["1", "2"])

        assert await rollout(api, "pause") == "deployment.apps/web paused\n"
        assert "is already paused" in await rollout(api, "pause", ok=False)
        assert "you cannot rollback a paused deployment" in await rollout(api, "undo", ok=False)
        assert "can't restart paused deployment" in await rollout(api, "restart", ok=False)
        await api.kubectl("set", "image", "deployment/web", "nginx=nginx:2")
        await api.kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=two")
        assert words(await rollout(api, "history")) == history("1 <none>", "2 <none>")

        assert await rollout(api, "resume") == "deployment.apps/web resumed\n"
        assert "is not paused" in await rollout(api, "resume", ok=False)
        await until(api, REPLICA_SETS, lambda found: revisions(found) == {"1": "<none>", "2": "<none>", "3": "two"})
        assert words(await rollout(api, "status")) == ['deployment "web" successfully rolled out']


# DaemonSets

DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"
CONTROLLER_REVISIONS = "/apis/apps/v1/namespaces/default/controllerrevisions"
DAEMONS = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, annotations: {kubernetes.io/change-cause: one}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: nginx, image: "nginx:1"}]}
"""


def numbers(found: dict[str, dict[str, Any]]) -> dict[int, str]:
    """Images by revision, as a DaemonSet's history keeps them."""
    return {
        one["revision"]: one["data"]["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in sorted(found.values(), key=lambda one: int(one["revision"]))
    }


async def of_daemons(api: Served, verb: str, *arguments: str, ok: bool = True) -> str:
    return await api.kubectl("rollout", verb, "daemonset/web", *arguments, ok=ok)


async def test_a_daemon_set_has_a_history_and_goes_back_in_it(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        await api.kubectl("create", "-f", "-", stdin=DAEMONS)
        await until(api, CONTROLLER_REVISIONS, lambda found: numbers(found) == {1: "nginx:1"})
        await api.kubectl("annotate", "ds/web", "kubernetes.io/change-cause=two", "--overwrite")
        await api.kubectl("set", "image", "ds/web", "nginx=nginx:2")
        await until(api, CONTROLLER_REVISIONS, lambda found: numbers(found) == {1: "nginx:1", 2: "nginx:2"})
        shown = ["daemonset.apps/web", "REVISION CHANGE-CAUSE", "1 one", "2 two"]
        assert words(await of_daemons(api, "history")) == shown
        first = await of_daemons(api, "history", "--revision=1")
        assert "daemonset.apps/web with revision #1\n" in first
        assert [line for line in words(first) if line.startswith("Image:")] == ["Image: nginx:1"]
        assert "unable to find the specified revision" in await of_daemons(api, "history", "--revision=9", ok=False)

        dry = await of_daemons(api, "undo", "--dry-run=server")
        assert dry == "daemonset.apps/web rolled back (server dry run)\n"
        assert await of_daemons(api, "undo") == "daemonset.apps/web rolled back\n"
        await until(api, CONTROLLER_REVISIONS, lambda found: numbers(found) == {2: "nginx:2", 3: "nginx:1"})
        skipped = "daemonset.apps/web skipped rollback (current template already matches revision 3)\n"
        assert await of_daemons(api, "undo", "--to-revision=3") == skipped
        assert "unable to find specified revision 1" in await of_daemons(api, "undo", "--to-revision=1", ok=False)

        await of_daemons(api, "restart")
        await until(api, CONTROLLER_REVISIONS, lambda found: list(numbers(found)) == [2, 3, 4])
        listed = words(await api.kubectl("get", "controllerrevisions", "--sort-by=.revision"))
        assert listed[0] == "NAME CONTROLLER REVISION AGE"
        assert [line.split()[1:3] for line in listed[1:]] == [["daemonset.apps/web", str(n)] for n in (2, 3, 4)]
        await api.kubectl("delete", "ds/web")
        await until(api, CONTROLLER_REVISIONS, lambda found: not found)


# Priorities


async def test_pods_have_the_priority_of_their_class(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        listed = words(await api.kubectl("get", "priorityclasses", "--sort-by=.value"))
        assert [line.split()[:3] for line in listed] == [
            ["NAME", "VALUE", "GLOBAL-DEFAULT"],
            ["system-cluster-critical", "2000000000", "false"],
            ["system-node-critical", "2000001000", "false"],
        ]
        made = await api.kubectl("create", "priorityclass", "high", "--value=1000", "--description=first")
        assert made == "priorityclass.scheduling.k8s.io/high created\n"
        overrides = '{"spec":{"priorityClassName":"%s"}}'
        await api.kubectl("run", "a", "--image=nginx", f"--overrides={overrides % 'high'}")
        await api.kubectl("run", "b", "--image=nginx")
        columns = "custom-columns=N:.metadata.name,P:.spec.priority,C:.spec.priorityClassName"
        assert words(await api.kubectl("get", "pods", "-o", columns))[1:] == ["a 1000 high", "b 0 <none>"]
        refused = await api.kubectl("run", "c", "--image=nginx", f"--overrides={overrides % 'none'}", ok=False)
        assert 'pods "c" is forbidden: no PriorityClass with name none was found' in refused
