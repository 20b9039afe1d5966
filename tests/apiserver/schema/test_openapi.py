from __future__ import annotations

from fairway.api.resources import SERVICES
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.openapi import schemas

CORE = "io.k8s.api.core.v1"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_a_kind_has_its_group_version_and_kind_and_all_it_refers_to() -> None:
    made = schemas(SCHEMA, ["Service"], [SERVICES])
    service = made[f"{CORE}.Service"]
    assert service["x-kubernetes-group-version-kind"] == [{"group": "", "version": "v1", "kind": "Service"}]
    assert list(service["properties"]) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert {f"{CORE}.ServicePort", f"{META}.ObjectMeta", f"{META}.Time", f"{META}.ListMeta"} <= set(made)


def test_a_port_list_says_how_it_is_merged() -> None:
    ports = dict(schemas(SCHEMA, ["Service"], [])[f"{CORE}.ServiceSpec"]["properties"]["ports"])
    assert ports.pop("description")
    assert ports == {
        "type": "array",
        "items": ref(f"{CORE}.ServicePort"),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "port",
    }


def test_required_fields_have_their_zero_as_default() -> None:
    port = schemas(SCHEMA, ["Service"], [])[f"{CORE}.ServicePort"]
    assert port["required"] == ["port"]
    assert {name: value for name, value in port["properties"]["port"].items() if name != "description"} == {
        "type": "integer",
        "format": "int32",
        "default": 0,
    }
    assert port["properties"]["targetPort"]["allOf"] == [ref("io.k8s.apimachinery.pkg.util.intstr.IntOrString")]


def test_a_list_holds_items_of_its_kind() -> None:
    listed = schemas(SCHEMA, [], [SERVICES])[f"{CORE}.ServiceList"]
    assert listed["required"] == ["items"]
    assert listed["properties"]["items"] == {"type": "array", "items": ref(f"{CORE}.Service")}
    assert listed["x-kubernetes-group-version-kind"] == [{"group": "", "version": "v1", "kind": "ServiceList"}]
