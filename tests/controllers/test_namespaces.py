from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS
from fairway.api.types import Key, key_of
from fairway.controllers.cache import Cache
from fairway.controllers.controller import Change
from fairway.controllers.namespaces import reconcile_root_ca, reconcile_service_account
from fairway.controllers.wiring_namespaces import SERVICE_ACCOUNT, root_ca_publisher
from fairway.controllers.writes import Create, Update
from tests.controllers.objects import LONG_AGO, metadata
from tests.controllers.simulation import ROOT_CA, Simulation

Json = dict[str, Any]


def namespace(name: str = "n", phase: str = "Active", **fields: Any) -> Json:
    made = metadata(name, namespace=None, **fields)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": made, "status": {"phase": phase}}


def account(name: str = "default") -> Json:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, namespace="n")}


def config_map(data: Json, name: str = "kube-root-ca.crt", **fields: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, namespace="n", **fields),
        "data": data,
    }


def published() -> Json:
    [write] = reconcile_root_ca(namespace(), None, ROOT_CA)
    assert isinstance(write, Create)
    return write.body


GOING = [namespace(phase="Terminating"), namespace(deletionTimestamp=LONG_AGO)]


@pytest.mark.parametrize("of", GOING)
def test_a_namespace_on_its_way_out_gets_nothing(of: Json) -> None:
    assert reconcile_service_account(of, None) == []
    assert reconcile_root_ca(of, None, ROOT_CA) == []


def test_a_namespace_gets_its_default_service_account_and_keeps_the_one_it_has() -> None:
    wanted = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "n"}}
    assert reconcile_service_account(namespace(), None) == [Create(resource=SERVICE_ACCOUNTS, body=wanted)]
    assert reconcile_service_account(namespace(), account()) == []


def test_a_namespace_gets_the_certificates_with_a_word_about_them() -> None:
    made = published()
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("kube-root-ca.crt", "n")
    assert made["data"] == {"ca.crt": ROOT_CA}
    assert made["metadata"]["annotations"]["kubernetes.io/description"].startswith("Contains a CA bundle")
    assert reconcile_root_ca(namespace(), made, ROOT_CA) == []


def test_what_somebody_wrote_into_the_certificates_is_put_right_and_his_annotation_kept() -> None:
    changed = config_map({"ca.crt": "mine", "more": "x"}, annotations={"team": "a"})
    [write] = reconcile_root_ca(namespace(), changed, ROOT_CA)
    assert isinstance(write, Update)
    assert write.body["data"] == {"ca.crt": ROOT_CA}
    assert write.body["metadata"]["resourceVersion"] == "1"
    assert set(write.body["metadata"]["annotations"]) == {"team", "kubernetes.io/description"}


ACCOUNTS, CERTIFICATES = SERVICE_ACCOUNT, root_ca_publisher(ROOT_CA)


@pytest.mark.parametrize(
    ("controller", "resource", "previous", "current", "keys"),
    [
        (ACCOUNTS, NAMESPACES, None, namespace(), {"n"}),
        (ACCOUNTS, NAMESPACES, namespace(), namespace(labels={"a": "b"}), set()),
        (ACCOUNTS, NAMESPACES, namespace(), None, set()),
        (ACCOUNTS, SERVICE_ACCOUNTS, account(), None, {"n"}),
        (ACCOUNTS, SERVICE_ACCOUNTS, account("other"), None, set()),
        (CERTIFICATES, NAMESPACES, None, namespace(), {"n"}),
        (CERTIFICATES, CONFIG_MAPS, config_map({}), None, {"n"}),
        (CERTIFICATES, CONFIG_MAPS, config_map({}), config_map({"ca.crt": "mine"}), {"n"}),
        (CERTIFICATES, CONFIG_MAPS, None, config_map({}, "other"), set()),
    ],
)
def test_a_new_namespace_and_a_lost_object_give_work_and_others_do_not(
    controller: Any, resource: Any, previous: Json | None, current: Json | None, keys: set[str]
) -> None:
    caches = {one: Cache() for one in controller.watches}
    caches[resource].observe(key_of(current or previous or {}), previous, current)
    found = list(controller.keys(Change(resource=resource, previous=previous, current=current), caches))
    assert {key.name for key in found} == keys


@pytest.mark.parametrize("seed", range(5))
async def test_both_come_back_when_deleted(seed: int) -> None:
    cluster = Simulation(seed)
    cluster.api.put(NAMESPACES, namespace())
    await cluster.settle()
    for resource, name in ((SERVICE_ACCOUNTS, "default"), (CONFIG_MAPS, "kube-root-ca.crt")):
        assert list(cluster.api[resource]) == [Key("n", name)]
        await cluster.api.delete(resource, name, "n")
        assert not cluster.api[resource]
    await cluster.settle()
    assert list(cluster.api[SERVICE_ACCOUNTS]) == [Key("n", "default")]
    assert cluster.api[CONFIG_MAPS][Key("n", "kube-root-ca.crt")]["data"] == {"ca.crt": ROOT_CA}
    assert cluster.api.requests["create", "serviceaccounts"] == 2, "one for each time it was missing"
