"""A pod from its binding to its end, with real processes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from fairway.fabric.spawner import HostKind, HostSpec
from tests.kubelet.conftest import RunNode
from tests.kubelet.objects import NODE, NODE_IP, container, exists, pod_object, service, shell, stubborn
from tests.watch.fake_api import raw

FOREVER = ["sleep", "infinity"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


# Starting.


async def test_a_bound_pod_becomes_ready_with_two_writes(run_node: RunNode) -> None:
    """Writes are what a cluster's API server can do least of."""
    async with run_node() as node:
        await node.apply(pod_object("web", container("web", "busybox")))
        await node.until(lambda: node.ready("web"))

        first, last = node.writes("web")
        assert first["phase"] == "Pending"
        assert first["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
        assert "podIP" not in first
        assert (last["phase"], last["podIP"], last["hostIP"]) == ("Running", "127.9.1.2", NODE_IP)
        assert last["podIPs"] == [{"ip": "127.9.1.2"}]
        assert last["containerStatuses"][0]["image"] == "docker.io/library/busybox:latest"
        assert list(last["containerStatuses"][0]["state"]) == ["running"]


async def test_what_is_done_is_told_in_events(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", container("main", "busybox")))
        await node.until(lambda: bool(node.events("Started")))

        await node.until_events("Pulled", ['Container image "busybox" already present on machine'])
        await node.until_events("Created", ["Created container: main"])
        await node.until_events("Started", ["Started container main"])


async def test_a_pod_is_a_host_of_its_own_name_with_its_files(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", uid="u1"))
        await node.until(lambda: node.ready("web"))

        spec = node.spawner.specs["web"]
        assert (spec.kind, spec.hostname, spec.hidden, spec.tied) == (HostKind.POD, "web", ("/secret",), True)
        assert spec.owner == "default/web/u1"
        assert "127.9.1.2\tweb\n" in spec.files["/etc/hosts"]
        assert spec.files["/etc/resolv.conf"].startswith("search default.svc.cluster.local svc.cluster.local")


async def test_a_sidecar_runs_beside_the_others_and_ends_after_them(run_node: RunNode, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lasting = f"trap 'echo NAME ends >> {trace}; exit 0' TERM; echo NAME >> {trace}; while :; do sleep 0.01; done"
    proxy = shell(lasting.replace("NAME", "proxy"), "proxy", restartPolicy="Always")
    async with run_node() as node:
        main = shell(lasting.replace("NAME", "main"), readinessProbe=exists(trace))
        await node.apply(pod_object("web", main, initContainers=[proxy]))
        await node.until(lambda: node.ready("web"))
        assert [status["ready"] for status in node.status("web")["initContainerStatuses"]] == [True]

        await node.apply(pod_object("web", main, initContainers=[proxy], deleted=30))
        await node.until(lambda: node.pod("web") is None)

    assert trace.read_text() == "proxy\nmain\nmain ends\nproxy ends\n"


async def test_a_pod_on_the_nodes_network_is_within_the_node_and_takes_no_address(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", hostNetwork=True))
        await node.until(lambda: node.ready("web"))

        spec = node.spawner.specs["web"]
        assert (spec.within, spec.hostname) == (NODE, NODE)
        assert spec.files["/etc/hosts"].startswith("# Kubernetes-managed hosts file (host network).\n")
        assert [write["podIPs"] for write in node.writes("web")] == [[{"ip": NODE_IP}]] * 2
        assert node.network.attached == {}

        await node.apply(pod_object("web", hostNetwork=True, deleted=30))
        await node.until(lambda: node.pod("web") is None)
        await node.apply(pod_object("other"))
        await node.until(lambda: node.ready("other"))
        assert node.status("other")["podIP"] == "127.9.1.2"


async def test_a_name_that_another_host_has_gets_a_part_of_the_uid(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.spawner.create_host(HostSpec(name="mypc", kind=HostKind.CLIENT, hostname="mypc"))
        await node.apply(pod_object("mypc", uid="0a1b2c3d"))
        await node.until(lambda: node.ready("mypc"))

        assert sorted(node.spawner.specs) == ["mypc", "mypc-0a1b2"]


async def test_a_container_knows_its_services_its_pod_and_its_node(run_node: RunNode) -> None:
    async with run_node() as node:
        node.services.append(service("kubernetes", cluster_ip="10.200.1.1", ports=(("https", 443),)))
        fields = [{"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]
        env = [*fields, {"name": "API", "value": "$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)"}]
        await node.apply(
            pod_object(
                "web", container(command=["sleep"], args=["$(LONG)"], env=[*env, {"name": "LONG", "value": "infinity"}])
            )
        )
        await node.until(lambda: node.ready("web"))

        spawned = node.spawner.processes[0].spawned
        environment = spawned["env"]
        assert isinstance(environment, dict)
        assert environment["API"] == "10.200.1.1:443"
        assert environment["NODE_IP"] == NODE_IP
        assert environment["HOSTNAME"] == "web"
        assert spawned["argv"] == ("sleep", "infinity")
        assert spawned["new_pid_namespace"] is True


async def test_sigterm_is_held_back_only_for_a_program_that_lets_it_in_again(run_node: RunNode) -> None:
    own = container("own", image="traefik/whoami", args=["--port", str(free_port())])
    other = container("other", image="traefik/whoami", command=["sleep", "infinity"])
    async with run_node() as node:
        await node.apply(pod_object("web", own, other, container("shell")))
        await node.until(lambda: node.ready("web"))

        held = {process.spawned["argv"]: process.spawned["hold_sigterm"] for process in node.spawner.processes}
    assert sorted(held.values()) == [False, False, True]
    assert held["sleep", "infinity"] is False


async def test_init_containers_run_one_after_another_before_the_others(run_node: RunNode, tmp_path: Path) -> None:
    trace, up = tmp_path / "trace", tmp_path / "up"
    async with run_node() as node:
        await node.apply(
            pod_object(
                "web",
                shell(f"echo main >> {trace}; touch {up}; exec sleep infinity", readinessProbe=exists(up)),
                initContainers=[shell(f"echo one >> {trace}", "one"), shell(f"echo two >> {trace}", "two")],
            )
        )
        await node.until(lambda: node.ready("web"))

        assert trace.read_text() == "one\ntwo\nmain\n"
        init = node.status("web")["initContainerStatuses"]
        assert [(status["name"], status["ready"]) for status in init] == [("one", True), ("two", True)]
        assert init[0]["state"]["terminated"]["reason"] == "Completed"


async def test_all_containers_of_a_pod_run_in_its_one_host(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", container("a", "busybox"), container("b", "busybox")))
        await node.until(lambda: node.ready("web"))

        assert [process.spawned["host"] for process in node.spawner.processes] == ["web", "web"]
        assert list(node.network.attached.values()).__len__() == 1


# What cannot be started.


async def test_an_unknown_image_waits_with_an_event_that_lists_the_known_ones(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", container(image="redis:7.2")))
        await node.until(lambda: len(node.events("Failed")) == 2)

        assert node.state("web")["waiting"]["reason"] == "ErrImagePull"
        message = next(text for text in node.events("Failed") if text.startswith("Failed to pull"))
        assert message.startswith('Failed to pull image "redis:7.2": this lab has no registry')
        assert "mendhak/http-https-echo" in message
        assert node.status("web")["phase"] == "Pending"


async def test_an_image_that_is_corrected_starts(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", container(image="redis")))
        await node.until(lambda: "waiting" in node.state("web") and bool(node.events("Failed")))

        await node.apply({**pod_object("web", container(image="busybox")), "status": node.status("web")})
        await node.until(lambda: node.ready("web"))

        assert node.status("web")["containerStatuses"][0]["restartCount"] == 0


async def test_what_the_lab_lacks_is_named_and_the_pod_waits(run_node: RunNode) -> None:
    async with run_node() as node:
        volumes = [{"name": "disk", "hostPath": {"path": "/"}}]
        await node.apply(pod_object("web", hostPID=True, volumes=volumes))
        await node.until(lambda: bool(node.events("Unsupported")) and bool(node.state("web")))

        text = "this lab does not offer: spec.volumes[0] (hostPath); remove it from the pod"
        await node.until_events("Unsupported", [text])
        assert node.state("web") == {"waiting": {"reason": "CreateContainerConfigError", "message": text}}
        assert node.spawner.specs == {}


async def test_a_program_that_is_not_there_is_a_start_error_and_backs_off(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", container(command=["no-such-program"])))
        await node.until(lambda: node.state("web").get("waiting", {}).get("reason") == "CrashLoopBackOff")

        ended = node.status("web")["containerStatuses"][0]["lastState"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
        assert "no-such-program: not found in $PATH" in ended["message"]


async def test_a_sandbox_that_fails_is_told_and_made_again(run_node: RunNode) -> None:
    async with run_node() as node:
        node.network.refuse = "no link for you"
        await node.apply(pod_object("web"))
        await node.until(lambda: bool(node.events("FailedCreatePodSandBox")))
        assert node.spawner.specs == {}, "nothing half made is left"

        node.network.refuse = ""
        await node.until(lambda: node.ready("web"))

        await node.until_events("FailedCreatePodSandBox", ["Failed to create pod sandbox: no link for you"])


# Ending by itself.


async def test_a_pod_that_is_done_has_succeeded_and_keeps_its_address(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("job", shell("exit 0"), restartPolicy="Never"))
        await node.until(lambda: node.status("job").get("phase") == "Succeeded" and not node.spawner.specs)
        await node.until(lambda: node.condition("job", "PodReadyToStartContainers") == "False")

        assert node.status("job")["podIP"] == "127.9.1.2"
        assert node.state("job")["terminated"]["reason"] == "Completed"
        assert node.network.attached == {}


async def test_a_pod_that_fails_has_failed_with_the_exit_code(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("job", shell("exit 3"), restartPolicy="Never"))
        await node.until(lambda: node.status("job").get("phase") == "Failed")

        ended = node.state("job")["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (3, "Error")


async def test_a_container_killed_by_a_signal_tells_128_and_the_signal(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("job", shell("kill -9 $$$$"), restartPolicy="Never"))
        await node.until(lambda: node.status("job").get("phase") == "Failed")

        assert node.state("job")["terminated"]["exitCode"] == 137


async def test_a_crashing_container_is_restarted_at_once_and_then_backs_off(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", shell("exit 1"), uid="u"))
        await node.until(lambda: node.state("web").get("waiting", {}).get("reason") == "CrashLoopBackOff")
        await node.until(lambda: bool(node.events("BackOff")))

        status = node.status("web")["containerStatuses"][0]
        assert (status["restartCount"], len(node.spawner.processes)) == (1, 2)
        message = "back-off 10s restarting failed container=web pod=web_default(u)"
        assert status["state"]["waiting"]["message"] == message
        assert status["lastState"]["terminated"]["exitCode"] == 1
        await node.until_events("BackOff", ["Back-off restarting failed container web in pod web_default(u)"])


async def test_on_failure_leaves_alone_what_succeeded(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("job", shell("exit 0", "a"), container("b", "busybox"), restartPolicy="OnFailure"))
        await node.until(lambda: "terminated" in node.state("job", 0) and "running" in node.state("job", 1))

        assert node.status("job")["phase"] == "Running"
        assert len(node.spawner.processes) == 2


# Deletion.


async def test_a_deleted_pod_gets_sigterm_and_then_leaves_the_api(run_node: RunNode, tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"trap 'echo bye > {said}; exit 0' TERM; touch {said}; while :; do sleep 0.01; done"
    web = shell(script, readinessProbe=exists(said))
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        await node.apply({**pod_object("web", web, deleted=30), "status": node.status("web")})
        await node.until(lambda: node.pod("web") is None)

        assert said.read_text() == "bye\n"
        assert node.spawner.specs == {}
        assert node.network.attached == {}
        await node.until_events("Killing", ["Stopping container web"])
        assert node.writes("web")[-1]["phase"] == "Succeeded"


async def test_what_ignores_sigterm_is_killed_when_its_grace_is_over(run_node: RunNode, tmp_path: Path) -> None:
    web = stubborn(tmp_path / "up")
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        await node.apply({**pod_object("web", web, deleted=1), "status": node.status("web")})
        await node.until(lambda: node.pod("web") is None)

        assert node.writes("web")[-1]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_a_second_deletion_may_shorten_the_grace(run_node: RunNode, tmp_path: Path) -> None:
    web = stubborn(tmp_path / "up")
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: node.ready("web"))
        await node.apply({**pod_object("web", web, deleted=3600), "status": node.status("web")})
        await node.until(lambda: bool(node.events("Killing")))
        await node.apply({**pod_object("web", web, deleted=0), "status": node.status("web")})
        await node.until(lambda: node.pod("web") is None)


async def test_a_pod_that_vanishes_is_ended_at_once_and_not_written_again(run_node: RunNode) -> None:
    """terminationGracePeriodSeconds 0: the API server has deleted it before its node hears of it."""
    async with run_node() as node:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        process, writes = node.spawner.processes[0], len(node.writes("web"))
        await node.remove("web")
        await process.wait()
        await node.apply(pod_object("next"))
        await node.until(lambda: node.ready("next"))

        assert process.child.returncode == -9
        assert len(node.writes("web")) == writes
        assert sorted(node.spawner.specs) == ["next"]


async def test_a_pod_of_the_same_name_waits_for_the_first_to_be_gone(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", container(command=FOREVER), uid="first"))
        await node.until(lambda: node.ready("web"))
        node.api.remove(next(iter(node.api.objects)), "web", "default")
        await node.apply(pod_object("web", container(command=FOREVER), uid="second"))
        await node.until(lambda: node.ready("web"))

        assert [spec.owner for spec in node.spawner.specs.values()] == ["default/web/second"]
        assert list(node.spawner.specs) == ["web"]
        assert node.status("web")["podIP"] == "127.9.1.3", "an address is not given out again at once"
        assert node.status("web")["containerStatuses"][0]["restartCount"] == 0


async def test_a_kubelet_that_ends_stops_its_containers_and_leaves_the_pods(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web", container(command=FOREVER)))
        await node.until(lambda: node.ready("web"))
        pid = node.spawner.processes[0].pid

    assert not is_running(pid)
    assert node.spawner.specs == {}
    assert node.pod("web") is not None


async def test_restarts_count_on_after_the_kubelet_was_restarted(run_node: RunNode) -> None:
    before = {
        "phase": "Running",
        "containerStatuses": [
            {"name": "web", "containerID": "fairway://old", "restartCount": 4, "state": {"running": {}}}
        ],
    }
    async with run_node() as node:
        await node.apply(pod_object("web", container(command=FOREVER), status=before))
        await node.until(lambda: node.ready("web"))

        status = node.status("web")["containerStatuses"][0]
        assert status["restartCount"] == 5
        assert status["lastState"]["terminated"]["reason"] == "Unknown"


async def test_a_pod_that_was_over_before_is_left_alone(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("done", restartPolicy="Never", status={"phase": "Succeeded"}))
        await node.apply(pod_object("web"))
        await node.until(lambda: node.ready("web"))

        assert node.writes("done") == []
        assert list(node.spawner.specs) == ["web"]


# An API server with bad days.


async def test_a_status_that_could_not_be_written_is_written_again(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("first"))
        await node.until(lambda: node.ready("first"))
        node.api.canned.append(raw(b"{}", status=503))
        await node.apply(pod_object("web"))
        await node.until(lambda: node.ready("web"))


async def test_what_is_not_enforced_is_told(run_node: RunNode) -> None:
    async with run_node() as node:
        limits = {"resources": {"limits": {"memory": "64Mi"}}}
        await node.apply(pod_object("web", container(**limits)))
        await node.until(lambda: node.ready("web") and bool(node.events("NotEnforced")))

        text = "not enforced in this lab, the pod runs without: spec.containers[0].resources.limits"
        await node.until_events("NotEnforced", [text])
        assert node.status("web")["qosClass"] == "Burstable"


async def test_many_pods_cost_each_the_same_number_of_writes(run_node: RunNode) -> None:
    async with run_node() as node:
        for index in range(20):
            await node.apply(pod_object(f"p{index}", container(command=FOREVER)))
        await node.until(lambda: all(node.ready(f"p{index}") for index in range(20)))

        assert {len(node.writes(f"p{index}")) for index in range(20)} <= {1, 2}
        assert len({node.status(f"p{index}")["podIP"] for index in range(20)}) == 20
        assert len(os.listdir("/proc/self/fd")) < 200


# What it refers to.


async def test_a_container_waits_for_its_config_map(run_node: RunNode, tmp_path: Path) -> None:
    up = tmp_path / "up"
    reference = {"name": "WHERE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "where"}}}
    web = shell("touch $WHERE; exec sleep infinity", env=[reference], readinessProbe=exists(up))
    async with run_node() as node:
        await node.apply(pod_object("web", web))
        await node.until(lambda: "waiting" in node.state("web") and bool(node.events("Failed")))
        waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}
        await node.until(lambda: node.state("web") == {"waiting": waiting})
        assert node.events("Failed") == ['Error: configmap "settings" not found']

        metadata = {"name": "settings", "namespace": "default"}
        await node.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"where": str(up)}})
        await node.until(lambda: node.ready("web"))
