"""Who gets a token, what it says, and for how long it proves anything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairway.apiserver.jwt import InvalidTokenError, SigningKey
from fairway.apiserver.service_accounts import ISSUER, TokenAuthority
from fairway.cluster.pki import new_signing_key
from tests.apiserver.harness import START, Harness, pod

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PODS = "/api/v1/namespaces/default/pods"
AUTHORITY = TokenAuthority(key=SigningKey(new_signing_key()))


@pytest.fixture
def api() -> Harness:
    made = Harness()
    made.registry.tokens = AUTHORITY
    for name in ("default", "robot"):
        made.create(ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    return made


def request(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def token(api: Harness, account: str = "robot", **spec: Any) -> str:
    return str(api.create(f"{ACCOUNTS}/{account}/token", request(**spec))["status"]["token"])


def uid(api: Harness, url: str) -> str:
    return str(api.get(url)[1]["metadata"]["uid"])


def bound(api: Harness, name: str = "web") -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid(api, f"{PODS}/{name}")}


def test_a_token_says_whose_it_is_and_until_when(api: Harness) -> None:
    api.create(PODS, pod("web", serviceAccountName="robot"))
    reference = bound(api)

    made = api.create(f"{ACCOUNTS}/robot/token", request(expirationSeconds=3607, boundObjectRef=reference))

    assert made["metadata"]["name"] == "robot"
    assert made["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3607, "boundObjectRef": reference}
    assert made["status"]["expirationTimestamp"] == "2026-01-01T01:00:07Z"
    claims = dict(AUTHORITY.key.verify(made["status"]["token"]))
    now = int(START.timestamp())
    assert claims.pop("jti")
    assert claims == {
        "aud": [ISSUER],
        "exp": now + 3607,
        "iat": now,
        "iss": ISSUER,
        "kubernetes.io": {
            "namespace": "default",
            "pod": {"name": "web", "uid": reference["uid"]},
            "serviceaccount": {"name": "robot", "uid": uid(api, f"{ACCOUNTS}/robot")},
        },
        "nbf": now,
        "sub": "system:serviceaccount:default:robot",
    }


def test_a_token_proves_its_account(api: Harness) -> None:
    user = AUTHORITY.user_of(api.revisions, token(api), START)
    assert user.name == "system:serviceaccount:default:robot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:default")


def test_a_token_ends_with_its_time_its_account_and_its_pod(api: Harness) -> None:
    api.create(PODS, pod("web", serviceAccountName="robot"))
    free, held = token(api), token(api, boundObjectRef=bound(api))
    other = token(api, "default")
    for_others = token(api, audiences=["vault"])

    def proves(text: str, after_s: float = 0.0) -> bool:
        try:
            AUTHORITY.user_of(api.revisions, text, START + timedelta(seconds=after_s))
        except InvalidTokenError:
            return False
        return True

    assert [proves(one) for one in (free, held, other, for_others)] == [True, True, True, False]
    assert [proves(free, after_s) for after_s in (-100, -30, 3600, 3630, 3700)] == [False, True, True, True, False]
    api.call("DELETE", f"{PODS}/web?gracePeriodSeconds=0")
    assert [proves(one) for one in (free, held, other)] == [True, False, True]
    api.create(PODS, pod("web", serviceAccountName="robot"))
    assert not proves(held)  # another pod of that name
    api.call("DELETE", f"{ACCOUNTS}/robot")
    assert [proves(one) for one in (free, held, other)] == [False, False, True]


@pytest.mark.parametrize(
    ("account", "spec", "code", "message"),
    [
        ("none", {}, 404, 'serviceaccounts "none" not found'),
        (
            "robot",
            {"expirationSeconds": 599},
            422,
            (
                'TokenRequest.authentication.k8s.io "robot" is invalid: spec.expirationSeconds: Invalid value: 599: '
                "may not specify a duration less than 10 minutes"
            ),
        ),
        (
            "robot",
            {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "none"}},
            404,
            'pods "none" not found',
        ),
        (
            "robot",
            {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web"}},
            400,
            'cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.',
        ),
        (
            "default",
            {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "x"}},
            409,
            (
                'Operation cannot be fulfilled on pods "web": the UID in the bound object reference (x) does not match '
                "the UID in record. The object might have been deleted and then recreated"
            ),
        ),
        (
            "robot",
            {"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}},
            400,
            "cannot bind token to object of type v1, Kind=ConfigMap",
        ),
    ],
)
def test_what_a_token_cannot_be_for_is_refused(
    api: Harness, account: str, spec: dict[str, Any], code: int, message: str
) -> None:
    api.create(PODS, pod("web"))
    status, said = api.call("POST", f"{ACCOUNTS}/{account}/token", request(**spec))
    assert (status, said["message"]) == (code, message)


def test_without_a_key_there_are_no_tokens() -> None:
    api = Harness()
    api.create(ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})
    assert api.call("POST", f"{ACCOUNTS}/robot/token", request())[0] == 404
    assert "volumes" not in api.create(PODS, pod("web"))["spec"]
