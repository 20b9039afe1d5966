"""What people do with a cluster all day, by an unmodified kubectl: its output reads as on a real cluster.

Rows are a command and the lines that must be in its output, in this order; a line is a regular expression, and how
columns are spaced does not count.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.lab.command import LIMIT_S, Answer, User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

OBJECTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {kubernetes.io/change-cause: first version}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: traefik/whoami
        ports: [{containerPort: 80, name: http}]
        resources: {requests: {cpu: 100m, memory: 32Mi}}
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 9000, targetPort: http, nodePort: 30080}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: agent, image: traefik/whoami}]
---
apiVersion: v1
kind: Pod
metadata: {name: talk, labels: {app: talk}}
spec:
  nodeName: myk8s-worker
  terminationGracePeriodSeconds: 1
  initContainers: [{name: setup, image: busybox, command: [sh, -c, echo prepared]}]
  containers:
  - {name: main, image: busybox, command: [sh, -c, "mkfifo /tmp/say; echo one; echo two; exec cat 0<>/tmp/say"]}
  - name: side
    image: busybox
    command: [sh, -c, "echo beside >&2; exec sleep 3600"]
    env: [{name: WHERE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: WORD, value: hello}]
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers: [{name: main, image: busybox, command: [sh, -c, "echo it began; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: huge}
spec:
  containers: [{name: main, image: busybox, resources: {requests: {cpu: "1000"}}}]
"""

BARE = """
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec:
  nodeName: myk8s-worker
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox}]
  volumes: [{name: scratch, emptyDir: {}}]
"""

TIME = r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000"
AGE = r"\d+[smh]\S*( \(x\d+ over \S+\))?"
POD = r"web-[a-z0-9]+-[a-z0-9]{5}"
ADDRESS = r"10\.10\.\d\.\d+"
UNFIT = (
    r"1 node\(s\) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 Insufficient cpu. "
    "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
)
BACK_OFF = r"Back-off restarting failed container main in pod crash_default\([0-9a-f-]+\)"
REGISTERED = "Node myk8s-worker event: Registered Node myk8s-worker in Controller"
SIZE = r"\d+(Ki|Mi|Gi)?"

ROWS: list[tuple[str, list[str]]] = [
    (
        "describe service web",
        [
            "Name: web",
            "Namespace: default",
            "Labels: app=web",
            "Selector: app=web",
            "Type: NodePort",
            "IP Family Policy: SingleStack",
            "IP Families: IPv4",
            r"IP: 10\.200\.1\.\d+",
            "Port: http 9000/TCP",
            "TargetPort: http/TCP",
            "NodePort: http 30080/TCP",
            f"Endpoints: {ADDRESS}:80,{ADDRESS}:80,{ADDRESS}:80",
            "Session Affinity: None",
            "External Traffic Policy: Cluster",
            "Events: <none>",
        ],
    ),
    (
        "describe pod talk",
        [
            "Name: talk",
            "Priority: 0",
            r"Node: myk8s-worker/172\.18\.0\.5",
            f"Start Time: {TIME}",
            "Labels: app=talk",
            "Status: Running",
            f"IP: {ADDRESS}",
            "Init Containers:",
            "setup:",
            "State: Terminated",
            "Reason: Completed",
            "Exit Code: 0",
            "Ready: True",
            "Containers:",
            "main:",
            r"Container ID: fairway://\w{64}",
            "Image: busybox",
            "State: Running",
            f"Started: {TIME}",
            "Restart Count: 0",
            "side:",
            "Environment:",
            r"WHERE: \(v1:spec.nodeName\)",
            "WORD: hello",
            "Conditions:",
            "Initialized True",
            "Ready True",
            "ContainersReady True",
            "PodScheduled True",
            "QoS Class: BestEffort",
            "Tolerations: node.kubernetes.io/not-ready:NoExecute op=Exists for 300s",
            "node.kubernetes.io/unreachable:NoExecute op=Exists for 300s",
            "Type Reason Age From Message",
            f'Normal Pulled {AGE} kubelet Container image "busybox" already present on machine',
            f"Normal Created {AGE} kubelet Created container: setup",
            f"Normal Started {AGE} kubelet Started container setup",
            f"Normal Created {AGE} kubelet Created container: main",
            f"Normal Started {AGE} kubelet Started container main",
            f"Normal Started {AGE} kubelet Started container side",
        ],
    ),
    (
        "describe pods -l app=web",
        [
            f"Name: {POD}",
            "Controlled By: ReplicaSet/web-[a-z0-9]+",
            "Requests:",
            "cpu: 100m",
            "memory: 32Mi",
            "Readiness: http-get http://:http/ delay=0s timeout=1s period=1s #success=1 #failure=3",
            "QoS Class: Burstable",
            f"Normal Scheduled {AGE} default-scheduler Successfully assigned default/{POD} to myk8s-worker3?2?",
            f'Normal Pulled {AGE} kubelet Container image "traefik/whoami" already present on machine',
            f"Normal Created {AGE} kubelet Created container: web",
            f"Normal Started {AGE} kubelet Started container web",
        ],
    ),
    (
        "describe pod huge",
        [
            "Node: <none>",
            "Status: Pending",
            "PodScheduled False",
            rf"Warning FailedScheduling {AGE} default-scheduler 0/4 nodes are available: {UNFIT}",
        ],
    ),
    (
        "describe pod crash",
        [
            "Last State: Terminated",
            "Reason: Error",
            "Exit Code: 3",
            "Ready: False",
            r"Restart Count: [1-9]\d*",
            f"Warning BackOff {AGE} kubelet {BACK_OFF}",
        ],
    ),
    (
        "describe node myk8s-worker",
        [
            "Name: myk8s-worker",
            "Roles: <none>",
            "Labels: beta.kubernetes.io/arch=.*",
            "kubernetes.io/hostname=myk8s-worker",
            "Taints: <none>",
            "Unschedulable: false",
            "Lease:",
            "HolderIdentity: myk8s-worker",
            "AcquireTime: <unset>",
            f"RenewTime: {TIME}",
            "Conditions:",
            f"MemoryPressure False {TIME} {TIME} KubeletHasSufficientMemory kubelet has sufficient memory available",
            f"DiskPressure False {TIME} {TIME} KubeletHasNoDiskPressure kubelet has no disk pressure",
            f"PIDPressure False {TIME} {TIME} KubeletHasSufficientPID kubelet has sufficient PID available",
            f"Ready True {TIME} {TIME} KubeletReady kubelet is posting ready status",
            "Addresses:",
            r"InternalIP: 172\.18\.0\.5",
            "Hostname: myk8s-worker",
            "Capacity:",
            r"cpu: \d+",
            f"memory: {SIZE}",
            "pods: 110",
            "Allocatable:",
            "pods: 110",
            "System Info:",
            r"Kernel Version: \S+",
            "OS Image: .+",
            "Operating System: linux",
            r"Container Runtime Version: fairway://\S+",
            r"Kubelet Version: v1\.33\.0\+fairway",
            r"PodCIDR: 10\.10\.1\.0/24",
            r"Non-terminated Pods: \(\d in total\)",
            "Namespace Name CPU Requests CPU Limits Memory Requests Memory Limits Age",
            rf"default agent-\w{{5}} 0 \(0%\) 0 \(0%\) 0 \(0%\) 0 \(0%\) {AGE}",
            rf"default {POD} 100m \(\d+%\) 0 \(0%\) 32Mi \(0%\) 0 \(0%\) {AGE}",
            "Allocated resources:",
            r"cpu 100m \(\d+%\) 0 \(0%\)",
            r"memory 32Mi \(0%\) 0 \(0%\)",
            "Events:",
        ],
    ),
    *(
        (
            "describe node myk8s-worker",
            [f"Normal {reason} {AGE} {who} {message}".rstrip()],
        )
        for reason, who, message in (
            ("Starting", "kubelet", r"Starting kubelet\."),
            ("Starting", "fairway-proxy", ""),
            ("NodeHasSufficientMemory", "kubelet", "Node myk8s-worker status is now: NodeHasSufficientMemory"),
            ("NodeReady", "kubelet", "Node myk8s-worker status is now: NodeReady"),
            ("RegisteredNode", "node-controller", REGISTERED),
        )
    ),
    (
        "describe endpointslices -l kubernetes.io/service-name=web",
        [
            r"Name: web-\w{5}",
            "Labels: app=web",
            "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io",
            "kubernetes.io/service-name=web",
            "AddressType: IPv4",
            "Name Port Protocol",
            "http 80 TCP",
            f"- Addresses: {ADDRESS}",
            "Ready: true",
            "Hostname: <unset>",
            f"TargetRef: Pod/{POD}",
            r"NodeName: myk8s-worker\d?",
            "Zone: <unset>",
            "Events: <none>",
        ],
    ),
    (
        "describe deployment web",
        [
            "Annotations: deployment.kubernetes.io/revision: 1",
            "kubernetes.io/change-cause: first version",
            "Selector: app=web",
            r"Replicas: 3 desired \| 3 updated \| 3 total \| 3 available \| 0 unavailable",
            "StrategyType: RollingUpdate",
            "RollingUpdateStrategy: 25% max unavailable, 25% max surge",
            "Pod Template:",
            "Image: traefik/whoami",
            "Available True MinimumReplicasAvailable",
            "Progressing True NewReplicaSetAvailable",
            "OldReplicaSets: <none>",
            r"NewReplicaSet: web-[a-z0-9]+ \(3/3 replicas created\)",
            f"Normal ScalingReplicaSet {AGE} deployment-controller Scaled up replica set web-[a-z0-9]+ from 0 to 3",
        ],
    ),
    (
        "describe daemonset agent",
        [
            "Selector: app=agent",
            "Node-Selector: <none>",
            "Desired Number of Nodes Scheduled: 3",
            "Number of Nodes Scheduled with Available Pods: 3",
            "Pods Status: 3 Running / 0 Waiting / 0 Succeeded / 0 Failed",
            rf"Normal SuccessfulCreate {AGE} daemonset-controller Created pod: agent-\w{{5}}",
        ],
    ),
    (
        "get events",
        [
            "LAST SEEN TYPE REASON OBJECT MESSAGE",
            f"{AGE} Normal Scheduled pod/{POD} Successfully assigned default/{POD} to .*",
        ],
    ),
    (
        "events --for deployment/web",
        [f"{AGE} Normal ScalingReplicaSet Deployment/web Scaled up replica set web-[a-z0-9]+ from 0 to 3"],
    ),
    (
        "get pods -l app=web -o wide",
        [
            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
            rf"{POD} 1/1 Running 0 {AGE} {ADDRESS} myk8s-worker\d? <none> <none>",
        ],
    ),
    ("get pod crash", [rf"crash 0/1 (CrashLoopBackOff|Error) [1-9]\d* \({AGE} ago\) {AGE}"]),
    ("auth can-i create pods/eviction", ["yes"]),
    (
        "auth can-i --list",
        ["Resources Non-Resource URLs Resource Names Verbs", r"\*\.\* \[\] \[\] \[\*\]", r"\[\*\] \[\] \[\*\]"],
    ),
    ("rollout history daemonset/agent", ["daemonset.apps/agent", "REVISION CHANGE-CAUSE", "1 <none>"]),
    ("get service web -o yaml", ["kind: Service", "clusterIP: 10.*", "- name: http", "nodePort: 30080"]),
    ("get nodes -o jsonpath={.items[*].metadata.name}", ["myk8s-control-plane( myk8s-worker[23]?){3}"]),
    (
        "get deployments -o custom-columns=NAME:.metadata.name,IMAGE:.spec.template.spec.containers[*].image",
        ["NAME IMAGE", "web traefik/whoami"],
    ),
    ("logs talk -c main", ["one", "two"]),
    ("logs talk --all-containers", ["one", "two"]),
    ("logs talk --all-containers", ["prepared"]),
    ("logs -l app=talk --all-containers --prefix", [r"\[pod/talk/side\] beside"]),
    ("logs talk -c main --tail=1", [r"^two$"]),
    ("logs talk -c main --since=1h --timestamps", [r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z one"]),
    ("logs crash --previous", ["it began"]),
    ("logs -l app=web --tail=1 --prefix", [rf"\[pod/{POD}/web\] .+"]),
    ("logs deployment/web --tail=1", [f"Found 3 pods, using pod/{POD}"]),
    ("exec talk -c side -- sh -c 'echo $WORD $WHERE'", ["hello myk8s-worker"]),
    ("exec deploy/web -- hostname", [POD]),
    ("exec deploy/web -- cat /etc/hostname", [POD]),
]
SINCE = {"events --for deployment/web": 26}
"""kubectl's minor version that brought a command."""

REFUSALS: list[tuple[str, str]] = [
    ("logs talk -c none", "container none is not valid for pod talk"),
    ("logs talk -c main --previous", 'previous terminated container "main" in pod "talk" not found'),
    ("logs none", 'pods "none" not found'),
    ("exec talk -c none -- true", "container none is not valid for pod talk"),
    ("exec talk -c side -- none", 'exec: "none": executable file not found in $PATH'),
    ("exec talk -c side -- sh -c false", "command terminated with exit code 1"),
    ("exec huge -- true", "pod huge does not have a host assigned"),
    ("top pods", "Metrics API not available"),
    ("top nodes", "Metrics API not available"),
    ("scale deployment/web --replicas=2 --current-replicas=7", "Expected replicas to be 7, was 3"),
    ("rollout undo deployment/web --to-revision=9", "unable to find specified revision 9 in history"),
    ("rollout resume deployment/web", "is not paused"),
    ("wait pod/talk --for=condition=Never --timeout=1s", "timed out waiting for the condition on pods/talk"),
    ("drain none", 'nodes "none" not found'),
]


@pytest.fixture(scope="module")
def daily() -> Iterator[User]:
    """A lab of this module's own, since nodes are drained in it, with OBJECTS as they are when they have settled."""
    with tempfile.TemporaryDirectory(prefix="fairway-test-") as folder:
        user = User(state=Path(folder))
        up = user.fairway("up")
        assert up.code == 0, up.err
        try:
            kubectl(user, "apply", "-f", "-", stdin=OBJECTS)
            for what in ("deployment/web", "daemonset/agent"):
                assert "successfully rolled out" in kubectl(user, "rollout", "status", what, "--timeout=60s")
            assert "condition met" in kubectl(user, "wait", "pod/talk", "--for=condition=Ready", "--timeout=60s")
            until_told(user, "involvedObject.name=crash,reason=BackOff")
            until_told(user, "involvedObject.name=huge,reason=FailedScheduling")
            yield user
        finally:
            assert user.fairway("down").code == 0


def until_told(user: User, selector: str, least: int = 1) -> None:
    """Follow events until one was told so often."""
    path = '-o=jsonpath={.count}{"\\n"}'
    argv = ["timeout", str(LIMIT_S), "kubectl", "get", "events", "-w", "--field-selector", selector, path]
    environment = user.environment(KUBECONFIG=str(user.state / "myk8s" / "kubeconfig"))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as following:
        assert following.stdout is not None
        assert any(int(line.strip() or 1) >= least for line in following.stdout), selector
        following.terminate()


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def missing(output: str, wanted: list[str]) -> str | None:
    """The first wanted line that does not come after those before it."""
    lines = iter(squeezed(output))
    return next((one for one in wanted if not any(re.fullmatch(one, line) for line in lines)), None)


@pytest.fixture(scope="module")
def minor(daily: User) -> int:
    """kubectl's minor version."""
    found = json.loads(kubectl(daily, "version", "--client", "-o", "json"))["clientVersion"]["minor"]
    return int(re.sub(r"\D", "", found))


@pytest.fixture(scope="module")
def ask(daily: User) -> Callable[[str], Answer]:
    """What kubectl says to a command; asked once, as many rows are about one."""

    @cache
    def asked(command: str) -> Answer:
        return daily.run(["kubectl", *shlex.split(command)], KUBECONFIG=str(daily.state / "myk8s" / "kubeconfig"))

    return asked


@pytest.mark.parametrize(
    ("command", "wanted"), ROWS, ids=[f"{n}-{command[:30]}" for n, (command, _) in enumerate(ROWS)]
)
def test_what_is_read_has_the_lines_of_a_real_cluster(
    ask: Callable[[str], Answer], minor: int, command: str, wanted: list[str]
) -> None:
    if minor < SINCE.get(command, 0):
        pytest.skip(f"kubectl {command.split()[0]} came with 1.{SINCE[command]}")
    answer = ask(command)
    assert answer.code == 0, answer.err
    output = answer.out + answer.err
    lacking = missing(output, wanted)
    assert lacking is None, f"{lacking!r} is not, or not there, in:\n{output}"


@pytest.mark.parametrize(("command", "words"), REFUSALS, ids=[command for command, _ in REFUSALS])
def test_what_cannot_be_is_refused_in_the_words_of_a_real_cluster(
    ask: Callable[[str], Answer], command: str, words: str
) -> None:
    answer = ask(command)
    assert answer.code != 0
    assert words in answer.err


def test_logs_follow_what_a_container_says(daily: User) -> None:
    argv = ["timeout", str(LIMIT_S), "kubectl", "logs", "-f", "talk", "-c", "main", "--tail=1"]
    environment = daily.environment(KUBECONFIG=str(daily.state / "myk8s" / "kubeconfig"))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "two\n"
        kubectl(daily, "exec", "talk", "-c", "main", "--", "sh", "-c", "echo three > /tmp/say")
        assert following.stdout.readline() == "three\n"
        following.terminate()


def test_a_node_is_drained_and_comes_back(daily: User) -> None:
    node = "myk8s-worker"
    kubectl(daily, "apply", "-f", "-", stdin=BARE)
    assert kubectl(daily, "cordon", node) == f"node/{node} cordoned\n"
    assert kubectl(daily, "cordon", node) == f"node/{node} already cordoned\n"
    assert missing(kubectl(daily, "get", "nodes"), [rf"{node} Ready,SchedulingDisabled <none> {AGE} \S+"]) is None

    refused = kubectl(daily, "drain", node)
    for words in (
        "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): default/agent-",
        "cannot delete Pods with local storage (use --delete-emptydir-data to override): default/bare",
        "declare no controller (use --force to override): default/",
    ):
        assert words in refused
    [gone] = pods_on(daily, node, "web")
    drained = kubectl(daily, "drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data")
    for line in (f"evicting pod default/{gone}", f"pod/{gone} evicted", "pod/bare evicted", f"node/{node} drained"):
        assert line in squeezed(drained)

    assert "successfully rolled out" in kubectl(daily, "rollout", "status", "deployment/web", "--timeout=60s")
    assert pods_on(daily, node, "web") == []
    assert len(pods_on(daily, node, "agent")) == 1
    described = kubectl(daily, "describe", "node", node)
    wanted = ["Taints: node.kubernetes.io/unschedulable:NoSchedule", "Unschedulable: true"]
    assert missing(described, [*wanted, r"Non-terminated Pods: \(1 in total\)"]) is None
    assert kubectl(daily, "uncordon", node) == f"node/{node} uncordoned\n"
    assert kubectl(daily, "uncordon", node) == f"node/{node} already uncordoned\n"


def pods_on(user: User, node: str, app: str) -> list[str]:
    selected = ("-l", f"app={app}", "--field-selector", f"spec.nodeName={node}")
    return kubectl(user, "get", "pods", *selected, "-o", "jsonpath={.items[*].metadata.name}").split()


def test_a_deployment_is_rolled_out_back_and_held(daily: User) -> None:
    def rolled_out() -> None:
        said = kubectl(daily, "rollout", "status", "deployment/web", "--timeout=60s")
        assert said.endswith('deployment "web" successfully rolled out\n'), said

    def history() -> list[str]:
        return squeezed(kubectl(daily, "rollout", "history", "deployment/web"))[2:-1]

    assert kubectl(daily, "rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    kubectl(daily, "annotate", "deployment/web", "kubernetes.io/change-cause=restarted", "--overwrite")
    rolled_out()
    assert history() == ["1 first version", "2 restarted"]
    one = kubectl(daily, "rollout", "history", "deployment/web", "--revision=2")
    wanted = [
        "deployment.apps/web with revision #2",
        "Pod Template:",
        r"(Annotations: )?kubectl.kubernetes.io/restartedAt: \S+",
    ]
    assert missing(one, [*wanted, "Image: traefik/whoami"]) is None

    assert kubectl(daily, "rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    rolled_out()
    assert history() == ["2 restarted", "3 first version"]
    kubectl(daily, "rollout", "undo", "deployment/web", "--to-revision=2")
    rolled_out()
    assert history() == ["3 first version", "4 restarted"]

    assert kubectl(daily, "rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    assert "is already paused" in kubectl(daily, "rollout", "pause", "deployment/web")
    assert "can't restart paused deployment" in kubectl(daily, "rollout", "restart", "deployment/web")
    assert kubectl(daily, "rollout", "resume", "deployment/web") == "deployment.apps/web resumed\n"


def test_a_deployment_is_scaled(daily: User) -> None:
    scaled = kubectl(daily, "scale", "deployment/web", "--replicas=5", "--current-replicas=3")
    assert scaled == "deployment.apps/web scaled\n"
    until(daily, "deployment/web", "{.status.readyReplicas}", "5")
    assert kubectl(daily, "scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    until(daily, "deployment/web", "{.status.replicas}", "3")
    described = kubectl(daily, "describe", "deployment", "web")
    telling = f"Normal ScalingReplicaSet {AGE} deployment-controller Scaled"
    told = [
        f"{telling} {way} replica set web-[a-z0-9]+ from {sizes}"
        for way, sizes in (("up", "3 to 5"), ("down", "5 to 3"))
    ]
    assert missing(described, told) is None


def test_a_pod_is_waited_for_until_it_is_gone(daily: User) -> None:
    kubectl(daily, "run", "brief", "--image=busybox", "--restart=Never", "--", "true")
    until(daily, "pod/brief", "{.status.phase}", "Succeeded")
    assert missing(kubectl(daily, "get", "pod", "brief"), [f"brief 0/1 Completed 0 {AGE}"]) is None
    assert "completed pod; current phase is Succeeded" in kubectl(daily, "exec", "brief", "--", "true")
    assert 'pod "brief" deleted' in kubectl(daily, "delete", "pod", "brief", "--wait=false")
    assert "timed out" not in kubectl(daily, "wait", "pod/brief", "--for=delete", "--timeout=60s")


def test_a_node_that_falls_silent_says_so(daily: User) -> None:
    node = "myk8s-worker3"
    paused = daily.fairway("fault", "pause", "node", node, "--for", "6")
    assert paused.code == 0, paused.err
    kubectl(daily, "wait", f"node/{node}", "--for=condition=Ready=Unknown", "--timeout=60s")
    until(daily, f"node/{node}", "{.spec.taints[1].key}", "node.kubernetes.io/unreachable")
    unknown = f"Unknown {TIME} {TIME} NodeStatusUnknown Kubelet stopped posting node status."
    silent = [
        r"Taints: node.kubernetes.io/unreachable:NoExecute",
        "node.kubernetes.io/unreachable:NoSchedule",
        f"MemoryPressure {unknown}",
        f"Ready {unknown}",
        f"Normal NodeNotReady {AGE} node-controller Node {node} status is now: NodeNotReady",
    ]
    described = kubectl(daily, "describe", "node", node)
    assert missing(described, silent) is None, described
    assert missing(kubectl(daily, "get", "nodes"), [rf"{node} NotReady <none> {AGE} \S+"]) is None

    kubectl(daily, "wait", f"node/{node}", "--for=condition=Ready", "--timeout=60s")
    until_told(daily, f"involvedObject.name={node},reason=NodeReady", 2)
