"""The volumes of pods: what is in them, who sees it, and what becomes of a change."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.command import User
from tests.lab.conftest import kubectl, until
from tests.lab.ordinary import ORDINARY_UID, command_for_everyone, is_root

pytestmark = pytest.mark.lab

NAMESPACE = "volumes"
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 60 & wait; done"]
FOLLOWS_S = 30.0
"""For what a kubelet does within a sync."""


@pytest.fixture(scope="module", autouse=True)
def namespace(lab: User) -> Iterator[None]:
    kubectl(lab, "create", "namespace", NAMESPACE)
    yield
    assert "deleted" in kubectl(lab, "delete", "namespace", NAMESPACE)


def here(lab: User, *args: str, stdin: str = "") -> str:
    return kubectl(lab, "-n", NAMESPACE, *args, stdin=stdin)


def create(
    lab: User, name: str, *containers: dict[str, Any], labels: dict[str, str] | None = None, **spec: Any
) -> None:
    """A pod; of a container only what is given differs from an idle busybox."""
    given = [{"name": "main", "image": "busybox", "command": SLEEP, **each} for each in (containers or ({},))]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"containers": given, **spec},
    }
    assert here(lab, "apply", "-f", "-", stdin=yaml.safe_dump(body)) == f"pod/{name} created\n"


def ready(lab: User, name: str) -> None:
    said = here(lab, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=30s")
    assert said == f"pod/{name} condition met\n", said + here(lab, "describe", "pod", name)


def sh(lab: User, name: str, script: str, container: str = "main") -> str:
    return here(lab, "exec", name, "-c", container, "--", "sh", "-c", script)


def events(lab: User, name: str) -> dict[str, str]:
    """The last message of each reason."""
    found = json.loads(here(lab, "get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json"))
    return {event["reason"]: event["message"] for event in found["items"]}


def test_the_containers_of_a_pod_share_an_empty_dir_and_no_other_pod_does(lab: User) -> None:
    mount = {"name": "scratch", "mountPath": "/fairway-data"}
    volumes = [{"name": "scratch", "emptyDir": {}}]
    writer = {"name": "init", "image": "busybox", "command": ["sh", "-c", "echo hello > /fairway-data/said"]}
    part = {"name": "scratch", "mountPath": "/etc/fairway/part", "subPath": "in/side"}
    create(
        lab,
        "sharing",
        {"volumeMounts": [mount]},
        {"name": "other", "volumeMounts": [{**mount, "mountPath": "/srv", "readOnly": True}, part]},
        initContainers=[{**writer, "volumeMounts": [mount]}],
        volumes=volumes,
    )
    create(lab, "apart", {"volumeMounts": [mount]}, volumes=volumes)
    ready(lab, "sharing")
    ready(lab, "apart")

    assert sh(lab, "sharing", "cat /fairway-data/said; echo more > /fairway-data/in/side/x") == "hello\n"
    assert sh(lab, "sharing", "ls /srv; cat /etc/fairway/part/x; echo x 2>/dev/null >/srv/y || echo no", "other") == (
        "in\nsaid\nmore\nno\n"
    )
    assert sh(lab, "apart", "ls -A /fairway-data; stat -c %a /fairway-data") == "777\n"


def test_config_maps_and_secrets_are_files_with_their_modes(lab: User) -> None:
    here(lab, "create", "configmap", "settings", "--from-literal=colour=blue", "--from-literal=size=large")
    here(lab, "create", "secret", "generic", "keys", "--from-literal=token=hidden")
    items = [{"key": "colour", "path": "deep/er/colour", "mode": 0o400}]
    create(
        lab,
        "filed",
        {
            "volumeMounts": [
                {"name": "all", "mountPath": "/config"},
                {"name": "some", "mountPath": "/etc/some"},
                {"name": "keys", "mountPath": "/var/run/keys"},
                {"name": "none", "mountPath": "/none"},
                {"name": "all", "mountPath": "/etc/fairway.conf", "subPath": "size"},
            ]
        },
        volumes=[
            {"name": "all", "configMap": {"name": "settings"}},
            {"name": "some", "configMap": {"name": "settings", "items": items}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o440}},
            {"name": "none", "configMap": {"name": "nowhere", "optional": True}},
        ],
    )
    ready(lab, "filed")

    assert sh(lab, "filed", "cd /config; for f in *; do echo $f $(cat $f) $(stat -Lc %a $f); done") == (
        "colour blue 644\nsize large 644\n"
    )
    assert sh(lab, "filed", "cat /etc/some/deep/er/colour; stat -Lc ' %a' /etc/some/deep/er/colour") == "blue 400\n"
    assert sh(lab, "filed", "cat /run/keys/token; stat -Lc ' %a' /run/keys/token; ls /none") == "hidden 440\n"
    assert sh(lab, "filed", "cat /etc/fairway.conf; readlink /config/size") == "large..data/size\n"
    assert "read-only file system" in sh(lab, "filed", "echo x >/config/new").lower()

    described = here(lab, "describe", "pod", "filed")
    for line in (
        '      /etc/fairway.conf from all (rw,path="size")\n',
        "    Type:      ConfigMap (a volume populated by a ConfigMap)\n    Name:      settings\n    Optional:  false\n",
        "    Type:        Secret (a volume populated by a Secret)\n    SecretName:  keys\n    Optional:    false\n",
    ):
        assert line in described


def test_a_changed_config_map_reaches_the_files_within_a_sync(lab: User) -> None:
    here(lab, "create", "configmap", "changing", "--from-literal=a=old", "--from-literal=b=old")
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "labels", "mountPath": "/labels"}]
    create(
        lab,
        "following",
        {"volumeMounts": mounts, "resources": {"requests": {"cpu": "100m"}}},
        labels={"app": "x"},
        volumes=[
            {"name": "v", "configMap": {"name": "changing"}},
            {
                "name": "labels",
                "downwardAPI": {
                    "items": [
                        {"path": "all", "fieldRef": {"fieldPath": "metadata.labels"}},
                        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "requests.cpu"}},
                    ]
                },
            },
        ],
    )
    ready(lab, "following")
    assert sh(lab, "following", "cat /v/a /v/b /labels/cpu /labels/all") == 'oldold1app="x"'

    here(lab, "patch", "configmap", "changing", "-p", '{"data":{"a":null,"b":"new","c":"more"}}')
    here(lab, "label", "pod", "following", "tier=web")

    wanted = 'b new\nc more\napp="x"\ntier="web"'
    end = time.monotonic() + FOLLOWS_S
    while (said := sh(lab, "following", "cd /v; for f in *; do echo $f $(cat $f); done; cat /labels/all")) != wanted:
        assert time.monotonic() < end, said


def test_a_pod_waits_for_its_config_map_and_says_so(lab: User) -> None:
    volumes = [{"name": "config", "configMap": {"name": "late"}}]
    create(lab, "waiting", {"volumeMounts": [{"name": "config", "mountPath": "/config"}]}, volumes=volumes)
    until(lab, "events", "{.involvedObject.name} {.reason}", "waiting FailedMount", namespace=NAMESPACE)

    status = json.loads(here(lab, "get", "pod", "waiting", "-o", "json"))["status"]
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert "podIP" not in status
    assert events(lab, "waiting")["FailedMount"] == (
        'MountVolume.SetUp failed for volume "config" : configmap "late" not found'
    )

    here(lab, "create", "configmap", "late", "--from-literal=a=b")
    ready(lab, "waiting")
    assert sh(lab, "waiting", "cat /config/a") == "b"


MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def test_a_pod_calls_the_api_server_with_its_service_accounts_token(lab: User) -> None:
    create(lab, "caller")
    ready(lab, "caller")

    assert sh(lab, "caller", f"cd {MOUNT}; ls; cat namespace") == f"ca.crt\nnamespace\ntoken\n{NAMESPACE}"
    call = f'curl -sS --cacert {MOUNT}/ca.crt -H "Authorization: Bearer $(cat {MOUNT}/token)"'
    assert '"major": "1"' in sh(lab, "caller", f"{call} https://kubernetes.default.svc/version").replace('":"', '": "')
    review = '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
    url = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
    said = sh(lab, "caller", f"{call} -H 'Content-Type: application/json' -d '{review}' {url}")
    assert json.loads(said)["status"]["userInfo"]["username"] == f"system:serviceaccount:{NAMESPACE}:default"

    token = sh(lab, "caller", f"cat {MOUNT}/token")
    here(lab, "delete", "pod", "caller")
    create(lab, "thief", automountServiceAccountToken=False)
    ready(lab, "thief")
    stolen = f"curl -sk -H 'Authorization: Bearer {token}' -o /dev/null -w '%{{http_code}}'"
    assert sh(lab, "thief", f"{stolen} https://kubernetes.default.svc/version") == "401"
    assert sh(lab, "thief", f"ls {MOUNT} 2>/dev/null || echo none") == "none\n"


def test_an_ordinary_users_pods_have_volumes_tokens_and_host_ports_too() -> None:
    if not is_root():
        return  # then all of the above was an ordinary user's
    folder = Path(tempfile.mkdtemp(prefix="fairway-nobody-"))
    try:
        folder.chmod(0o755)
        command = command_for_everyone(folder)
        state = folder / "state"
        state.mkdir()
        os.chown(state, ORDINARY_UID, ORDINARY_UID)
        nobody = User(state=state, uid=ORDINARY_UID, command=command)
        assert nobody.fairway("up").code == 0
        kubectl(nobody, "create", "namespace", NAMESPACE)
        here(nobody, "create", "configmap", "settings", "--from-literal=colour=blue")
        mounts = [{"name": "v", "mountPath": "/fairway-top"}, {"name": "w", "mountPath": "/etc/fairway"}]
        port = {"containerPort": 80, "hostPort": 8091}
        create(
            nobody,
            "web",
            {"image": "traefik/whoami", "command": None, "volumeMounts": mounts, "ports": [port]},
            volumes=[{"name": "v", "configMap": {"name": "settings"}}, {"name": "w"}],
        )
        ready(nobody, "web")
        assert sh(nobody, "web", "cat /fairway-top/colour; echo x >/etc/fairway/y && cat /etc/fairway/y") == "bluex\n"
        call = f'curl -sS --cacert {MOUNT}/ca.crt -H "Authorization: Bearer $(cat {MOUNT}/token)"'
        url = "https://kubernetes.default.svc/api/v1/namespaces/default"
        assert json.loads(sh(nobody, "web", f"{call} {url}"))["metadata"]["name"] == "default"
        node = json.loads(here(nobody, "get", "pod", "web", "-o", "json"))["spec"]["nodeName"]
        said = nobody.fairway("exec", node, "--", "curl", "-s", "-m5", "http://127.0.0.1:8091/")
        assert "Hostname: web\n" in said.out
        assert nobody.fairway("down").code == 0
    finally:
        shutil.rmtree(folder)
