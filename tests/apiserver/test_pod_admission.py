"""A pod gets its service account and the token's volume, unless it or the account says otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.harness import Harness, pod
from tests.apiserver.test_service_accounts import ACCOUNTS, AUTHORITY, PODS

PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
def api() -> Harness:
    made = Harness()
    made.registry.tokens = AUTHORITY
    return made


def account(api: Harness, name: str, **fields: Any) -> None:
    api.create(ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}, **fields})


def made(api: Harness, **spec: Any) -> dict[str, Any]:
    found = api.create(PODS, pod("web", **spec))["spec"]
    assert isinstance(found, dict)
    return found


def test_every_container_has_the_token_where_programs_look_for_it(api: Harness) -> None:
    spec = made(api, initContainers=[{"name": "i", "image": "nginx"}], volumes=[{"name": "mine", "emptyDir": {}}])

    mine, token = spec["volumes"]
    assert (mine["name"], token["name"][:16]) == ("mine", "kube-api-access-")
    assert token["projected"] == {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }
    mount = {"name": token["name"], "readOnly": True, "mountPath": PATH}
    assert [one["volumeMounts"] for one in (*spec["initContainers"], *spec["containers"])] == [[mount], [mount]]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")


def test_a_container_that_has_something_there_keeps_it(api: Harness) -> None:
    mount = {"name": "mine", "mountPath": PATH}
    containers = [{"name": "c", "image": "nginx", "volumeMounts": [mount]}]
    spec = made(api, containers=containers, volumes=[{"name": "mine", "emptyDir": {}}])

    assert [volume["name"] for volume in spec["volumes"]] == ["mine"]
    assert spec["containers"][0]["volumeMounts"] == [mount]


def test_a_pod_that_brings_the_volume_keeps_it(api: Harness) -> None:
    spec = made(api, volumes=[{"name": "kube-api-access-mine", "projected": {"sources": []}}])

    assert [volume["name"] for volume in spec["volumes"]] == ["kube-api-access-mine"]
    assert spec["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access-mine"


@pytest.mark.parametrize(
    ("of_account", "of_pod", "mounted"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_the_pod_says_or_else_its_account(
    api: Harness, of_account: bool | None, of_pod: bool | None, mounted: bool
) -> None:
    account(api, "robot", **({} if of_account is None else {"automountServiceAccountToken": of_account}))
    given = {} if of_pod is None else {"automountServiceAccountToken": of_pod}
    spec = made(api, serviceAccountName="robot", **given)

    assert bool(spec.get("volumes")) is mounted
    assert spec["serviceAccountName"] == "robot"


def test_an_account_that_is_not_there_is_refused(api: Harness) -> None:
    code, said = api.call("POST", PODS, pod("web", serviceAccountName="none"))
    assert code == 403
    assert said["message"] == (
        'pods "web" is forbidden: error looking up service account default/none: serviceaccount "none" not found'
    )


def test_the_accounts_pull_secrets_are_the_pods(api: Harness) -> None:
    account(api, "robot", imagePullSecrets=[{"name": "hub"}])
    assert made(api, serviceAccountName="robot")["imagePullSecrets"] == [{"name": "hub"}]
