"""The served API as an unmodified kubectl sees it: the words a person reads, and what is stored."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver.harness import config_map, deployment, pod, service
from tests.apiserver.serving import LIMIT_S, Served, served

ECHO = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: deploy-echo
spec:
  replicas: 3
  selector:
    matchLabels:
      app: deploy-websrv
  template:
    metadata:
      labels:
        app: deploy-websrv
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: kans-websrv
        image: mendhak/http-https-echo
        ports:
        - containerPort: 8080
"""
NODE_PORT = """\
apiVersion: v1
kind: Service
metadata:
  name: svc-nodeport
spec:
  ports:
    - name: svc-webport
      port: 9000
      targetPort: 8080
  selector:
    app: deploy-websrv
  type: NodePort
"""


def manifest(directory: Path, name: str, *documents: Any) -> str:
    path = directory / name
    texts = [one if isinstance(one, str) else yaml.safe_dump(one) for one in documents]
    path.write_text("---\n".join(texts))
    return str(path)


async def stored(api: Served, path: str) -> Any:
    code, found = await api.call("GET", path)
    assert code == 200, found
    return found


async def test_apply_creates_then_finds_nothing_to_do_then_changes_what_differs(tmp_path: Path):
    files = f"{manifest(tmp_path, 'echo.yaml', ECHO)},{manifest(tmp_path, 'svc.yaml', NODE_PORT)}"
    async with served(tmp_path) as api:
        created = "deployment.apps/deploy-echo created\nservice/svc-nodeport created\n"
        assert await api.kubectl("apply", "-f", files) == created
        unchanged = "deployment.apps/deploy-echo unchanged\nservice/svc-nodeport unchanged\n"
        assert await api.kubectl("apply", "-f", files) == unchanged
        before = await stored(api, "/api/v1/namespaces/default/services/svc-nodeport")
        manifest(tmp_path, "svc.yaml", NODE_PORT.replace("9000", "9001") + "  externalTrafficPolicy: Local\n")
        changed = "deployment.apps/deploy-echo unchanged\nservice/svc-nodeport configured\n"
        assert await api.kubectl("apply", "-f", files) == changed
        after = await stored(api, "/api/v1/namespaces/default/services/svc-nodeport")
    assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    assert [port["port"] for port in after["spec"]["ports"]] == [9001]
    assert after["spec"]["externalTrafficPolicy"] == "Local"


async def test_apply_on_the_server_side_dry_run_and_diff_change_nothing(tmp_path: Path):
    file = manifest(tmp_path, "svc.yaml", NODE_PORT)
    async with served(tmp_path) as api:
        # Before 1.27 it asks an OpenAPI v2 document whether a kind takes a dry run, and that has no paths here.
        if await api.kubectl_minor() < 27:
            assert "doesn't support dry-run" in await api.kubectl("apply", "--dry-run=server", "-f", file, ok=False)
            return
        said = await api.kubectl("apply", "--dry-run=server", "-f", file)
        assert said == "service/svc-nodeport created (server dry run)\n"
        assert "svc-nodeport" not in await api.kubectl("get", "svc")
        await api.kubectl("apply", "-f", file)
        assert await api.kubectl("diff", "-f", file) == ""
        manifest(tmp_path, "svc.yaml", NODE_PORT.replace("9000", "9001"))
        diff = await api.kubectl("diff", "-f", file, ok=False)
        assert "+    port: 9001" in diff
        assert "9001" not in await api.kubectl("get", "svc")


async def test_get_shows_the_columns_a_person_knows(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment("web"))
        await api.call("POST", "/api/v1/namespaces/default/pods", pod("p"))
        wide = await api.kubectl("get", "deploy,pod,svc", "-o", "wide")
        heads = [line.split() for line in wide.splitlines() if line.startswith("NAME")]
        assert await api.kubectl("get", "svc", "-o", "name") == "service/kubernetes\n"
        assert await api.kubectl("get", "svc", "kubernetes", "-o", "jsonpath={.spec.clusterIP}") == "10.200.1.1"
        assert json.loads(await api.kubectl("get", "svc", "-o", "json"))["items"][0]["kind"] == "Service"
        shown = yaml.safe_load(await api.kubectl("get", "ns", "default", "-o", "yaml"))
        assert (shown["kind"], shown["status"]["phase"]) == ("Namespace", "Active")
        everywhere = await api.kubectl("get", "svc", "-A", "--no-headers")
        assert everywhere.split()[:3] == ["default", "kubernetes", "ClusterIP"]
        assert "component=apiserver" in await api.kubectl("get", "svc", "--show-labels")
        assert await api.kubectl("get", "pods", "-l", "app=none") == "No resources found in default namespace.\n"
        assert "p " in await api.kubectl("get", "pods", "--field-selector", "metadata.name=p")
        by_name = await api.kubectl("get", "ns", "--sort-by=.metadata.name", "-o", "name")
        assert by_name.split()[0] == "namespace/default"
    assert heads == [
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"],
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"],
        ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"],
    ]


async def test_get_and_describe_of_what_is_not_there_say_so(tmp_path: Path):
    async with served(tmp_path) as api:
        missing = 'Error from server (NotFound): services "none" not found\n'
        assert await api.kubectl("get", "svc", "none", ok=False) == missing
        assert await api.kubectl("describe", "svc", "none", ok=False) == missing
        unknown = await api.kubectl("get", "frobs", ok=False)
        assert unknown == 'error: the server doesn\'t have a resource type "frobs"\n'


async def test_describe_tells_a_service_and_a_node(tmp_path: Path):
    node = {"metadata": {"name": "n1", "labels": {"a": "b"}}, "spec": {"podCIDR": "10.10.1.0/24"}}
    async with served(tmp_path) as api:
        await api.call(
            "POST", "/api/v1/namespaces/default/services", service("web", type="NodePort", selector={"a": "b"})
        )
        await api.call("POST", "/api/v1/nodes", node)
        lines = [line.split() for line in (await api.kubectl("describe", "svc", "web")).splitlines()]
        assert ["Selector:", "a=b"] in lines
        assert ["Type:", "NodePort"] in lines
        assert ["External", "Traffic", "Policy:", "Cluster"] in lines
        assert "PodCIDR:                      10.10.1.0/24" in await api.kubectl("describe", "node", "n1")


async def test_the_networks_and_addresses_of_services_are_shown(tmp_path: Path):
    async with served(tmp_path) as api:
        lines = (await api.kubectl("get", "servicecidr")).splitlines()
        assert lines[0].split() == ["NAME", "CIDRS", "AGE"]
        assert lines[1].split()[:2] == ["kubernetes", "10.200.1.0/24"]
        lines = [line.split() for line in (await api.kubectl("get", "ip")).splitlines()]
        assert lines == [["NAME", "PARENTREF"], ["10.200.1.1", "services/default/kubernetes"]]
        described = await api.kubectl("describe", "servicecidr", "kubernetes")
        assert "Kubernetes Service CIDR is ready" in described
        assert "10.200.1.0/24" in described
        assert "services" in await api.kubectl("describe", "ip", "10.200.1.1")
        cidr = manifest(
            tmp_path,
            "cidr.yaml",
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "ServiceCIDR",
                "metadata": {"name": "further"},
                "spec": {"cidrs": ["203.0.113.0/24"]},
            },
        )
        assert await api.kubectl("apply", "-f", cidr) == "servicecidr.networking.k8s.io/further created\n"
        await api.kubectl("wait", "--for=condition=Ready", "servicecidr/further")
        await api.kubectl("delete", "servicecidr", "further")


async def test_patch_of_three_kinds(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call(
            "POST", "/api/v1/namespaces/default/services", service("web", type="NodePort", selector={"a": "b"})
        )
        policy = '{"spec":{"externalTrafficPolicy": "Local"}}'
        assert await api.kubectl("patch", "svc", "web", "-p", policy) == "service/web patched\n"
        assert await api.kubectl("patch", "svc", "web", "-p", policy) == "service/web patched (no change)\n"
        await api.kubectl("patch", "svc", "web", "--type=merge", "-p", '{"spec":{"sessionAffinity":"ClientIP"}}')
        operation = '[{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]'
        await api.kubectl("patch", "svc", "web", "--type=json", "-p", operation)
        found = await stored(api, "/api/v1/namespaces/default/services/web")
    assert found["spec"]["externalTrafficPolicy"] == "Local"
    assert found["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert found["metadata"]["labels"] == {"x": "y"}


async def test_label_and_annotate(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call("POST", "/api/v1/namespaces/default/configmaps", config_map("a"))
        assert await api.kubectl("label", "cm", "a", "x=1") == "configmap/a labeled\n"
        taken = "error: 'x' already has a value (1), and --overwrite is false\n"
        assert await api.kubectl("label", "cm", "a", "x=2", ok=False) == taken
        assert await api.kubectl("label", "cm", "a", "x=2", "--overwrite") == "configmap/a labeled\n"
        assert await api.kubectl("label", "cm", "a", "x-") in ("configmap/a unlabeled\n", "configmap/a labeled\n")
        assert await api.kubectl("annotate", "cm", "a", "note=hello") == "configmap/a annotated\n"
        metadata = (await stored(api, "/api/v1/namespaces/default/configmaps/a"))["metadata"]
    assert (metadata.get("labels"), metadata["annotations"]) == (None, {"note": "hello"})


async def test_delete_waits_until_it_is_gone(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call("POST", "/api/v1/namespaces/default/configmaps", config_map("a"))
        await api.call("POST", "/api/v1/namespaces/default/services", service("web"))
        assert await api.kubectl("delete", "cm/a", "svc/web") == 'configmap "a" deleted\nservice "web" deleted\n'
        gone = 'Error from server (NotFound): configmaps "a" not found\n'
        assert await api.kubectl("delete", "cm", "a", ok=False) == gone
        assert await api.kubectl("delete", "cm", "a", "--ignore-not-found") == ""


async def test_delete_of_a_pod_waits_for_its_kubelet(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call("POST", "/api/v1/namespaces/default/pods", pod("p", nodeName="n1"))
        path = "/api/v1/namespaces/default/pods"
        query = "watch=true&fieldSelector=metadata.name%3Dp"
        async with api.admin.get(f"{api.url}{path}?{query}") as watch, asyncio.TaskGroup() as group:
            deleting = group.create_task(api.kubectl("delete", "pod", "p"))
            await watch.content.readline()
            marked = json.loads(await watch.content.readline())
            assert marked["object"]["metadata"]["deletionGracePeriodSeconds"] == 30
            assert not deleting.done()
            assert "Terminating" in await api.kubectl("get", "pod", "p")
            await api.call("DELETE", f"{path}/p", {"gracePeriodSeconds": 0})
        assert deleting.result() == 'pod "p" deleted\n'


async def test_create_in_its_typed_forms_sends_protobuf(tmp_path: Path):
    async with served(tmp_path) as api:
        assert await api.kubectl("create", "ns", "n") == "namespace/n created\n"
        made = await api.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2", "-n", "n")
        assert made == "deployment.apps/web created\n"
        assert (
            await api.kubectl("create", "service", "nodeport", "web", "--tcp=80:8080", "-n", "n")
            == "service/web created\n"
        )
        assert await api.kubectl("create", "configmap", "c", "--from-literal=a=b", "-n", "n") == "configmap/c created\n"
        found = await stored(api, "/apis/apps/v1/namespaces/n/deployments/web")
        assert found["spec"]["replicas"] == 2
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx"
        port = (await stored(api, "/api/v1/namespaces/n/services/web"))["spec"]["ports"][0]
        assert (port["port"], port["targetPort"]) == (80, 8080)
        assert await api.kubectl("delete", "ns", "n") == 'namespace "n" deleted\n'
        assert (await api.call("GET", "/api/v1/namespaces/n"))[0] == 404


async def test_create_replace_edit_run_expose_and_set(tmp_path: Path):
    async with served(tmp_path) as api:
        file = manifest(tmp_path, "cm.yaml", config_map("a"))
        assert await api.kubectl("create", "-f", file) == "configmap/a created\n"
        again = f'Error from server (AlreadyExists): error when creating "{file}": configmaps "a" already exists\n'
        assert await api.kubectl("create", "-f", file, ok=False) == again
        manifest(tmp_path, "cm.yaml", config_map("a") | {"data": {"x": "1"}})
        assert await api.kubectl("replace", "-f", file) == "configmap/a replaced\n"
        assert await api.kubectl("run", "web", "--image=nginx", "--port=80") == "pod/web created\n"
        assert await api.kubectl("expose", "pod", "web", "--port=80") == "service/web exposed\n"
        await api.kubectl("create", "deployment", "d", "--image=nginx")
        assert await api.kubectl("set", "image", "deploy/d", "nginx=nginx:2") == "deployment.apps/d image updated\n"
        assert await api.kubectl("scale", "deploy/d", "--replicas=4") == "deployment.apps/d scaled\n"
        assert await api.kubectl("rollout", "restart", "deploy/d") == "deployment.apps/d restarted\n"
        found = await stored(api, "/apis/apps/v1/namespaces/default/deployments/d")
        assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 4)
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
        assert (await stored(api, "/api/v1/namespaces/default/configmaps/a"))["data"] == {"x": "1"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            NODE_PORT.replace("port: 9000", "port: 0"),
            'The Service "svc-nodeport" is invalid: spec.ports[0].port: Invalid value: 0: must be between 1 and 65535',
        ),
        (
            NODE_PORT.replace("type: NodePort", "typ: NodePort"),
            'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field "spec.typ"',
        ),
        (
            NODE_PORT.replace("port: 9000", 'port: "9000"'),
            "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            NODE_PORT + "  clusterIP: 10.200.1.1\n",
            'spec.clusterIPs: Invalid value: ["10.200.1.1"]: failed to allocate IP 10.200.1.1: provided IP is already',
        ),
    ],
)
async def test_manifests_with_errors_get_the_real_message_and_change_nothing(tmp_path: Path, document: str, words: str):
    async with served(tmp_path) as api:
        file = manifest(tmp_path, "svc.yaml", document)
        if "strict" in words and await api.kubectl_minor() < 27:
            # It asks for no validation by the server, which then warns and goes on, as the real one does.
            assert 'Warning: unknown field "spec.typ"' in await api.kubectl("apply", "-f", file)
            return
        assert words in await api.kubectl("apply", "-f", file, ok=False)
        assert await api.kubectl("get", "svc", "-o", "name") == "service/kubernetes\n"


async def test_get_watch_follows_changes(tmp_path: Path):
    async with served(tmp_path) as api:
        process = await asyncio.create_subprocess_exec(
            "kubectl", "get", "svc", "-w", "-o", "name", env=api.environment, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            assert await process.stdout.readline() == b"service/kubernetes\n"
            await api.call("POST", "/api/v1/namespaces/default/services", service("web"))
            assert await process.stdout.readline() == b"service/web\n"
        process.send_signal(signal.SIGINT)
        await process.wait()


async def test_wait_returns_when_the_condition_holds(tmp_path: Path):
    pods = "/api/v1/namespaces/default/pods"
    async with served(tmp_path) as api:
        await api.call("POST", pods, pod("p"))
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(api.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=20s"))
            group.create_task(
                api.call("PATCH", f"{pods}/p/status", ready, Content_Type="application/strategic-merge-patch+json")
            )
        assert waiting.result() == "pod/p condition met\n"
        if await api.kubectl_minor() < 27:
            return  # To it a pod that is gone already is an error, and which comes first is chance here.
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(api.kubectl("wait", "--for=delete", "pod/p", "--timeout=20s"))
            group.create_task(api.call("DELETE", f"{pods}/p"))


async def test_what_the_server_says_of_itself(tmp_path: Path):
    async with served(tmp_path) as api:
        version = json.loads(await api.kubectl("version", "-o", "json"))
        assert version["serverVersion"]["gitVersion"] == "v1.33.0+fairway"
        resources = await api.kubectl("api-resources", "-o", "name")
        assert {"services", "pods", "deployments.apps", "endpointslices.discovery.k8s.io"} <= set(resources.split())
        assert set((await api.kubectl("api-versions")).split()) >= {"v1", "apps/v1", "discovery.k8s.io/v1"}
        assert await api.kubectl("auth", "can-i", "create", "services") == "yes\n"
        if await api.kubectl_minor() >= 28:  # the first with `auth whoami`, and explain by OpenAPI v3
            assert "FIELD: ports <[]ServicePort>" in await api.kubectl("explain", "service.spec.ports")
            assert "admin" in await api.kubectl("auth", "whoami")
        assert api.url in await api.kubectl("cluster-info")


async def test_server_side_apply_is_refused_in_words(tmp_path: Path):
    async with served(tmp_path) as api:
        said = await api.kubectl("apply", "--server-side", "-f", manifest(tmp_path, "svc.yaml", NODE_PORT), ok=False)
        assert "415: Unsupported Media Type" in said


async def test_a_kind_that_is_not_served_is_told_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}}))
    async with served(tmp_path) as api:
        said = await api.kubectl("apply", "-f", str(file), ok=False)
    assert 'no matches for kind "Job" in version "batch/v1"' in said
