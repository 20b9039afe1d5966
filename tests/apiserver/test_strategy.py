from __future__ import annotations

import copy
from typing import Any

import pytest

from fairway.api.resources import CONFIG_MAPS, DEPLOYMENTS, SERVICES
from fairway.api.status import ApiError, Cause
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.strategy import DecodeError, Strategy, invalid, load_json

PLAIN = Strategy(CONFIG_MAPS)


def cause(field: str, message: str) -> Cause:
    return Cause(reason="FieldValueInvalid", message=message, field=field)


class TestLoadJson:
    def test_double_fields_are_named_with_their_path_and_the_last_wins(self) -> None:
        data = b'{"a":1,"b":{"c":1,"c":2,"c":3},"d":[{"e":1},{"e":1,"e":2}],"a":4}'
        assert load_json(data) == (
            {"a": 4, "b": {"c": 3}, "d": [{"e": 1}, {"e": 2}]},
            ['duplicate field "a"', 'duplicate field "b.c"', 'duplicate field "d[1].e"'],
        )

    def test_plain_json_has_none(self) -> None:
        assert load_json(b'{"a":{"x":1},"b":{"x":1}}') == ({"a": {"x": 1}, "b": {"x": 1}}, [])

    def test_no_json_is_a_value_error(self) -> None:
        with pytest.raises(ValueError):
            load_json(b"{")


class TestInvalid:
    def test_one_cause_stands_alone(self) -> None:
        error = invalid(SERVICES, "a", [cause("spec.x", "wrong")])
        assert (error.code, error.reason, error.message) == (422, "Invalid", 'Service "a" is invalid: spec.x: wrong')
        assert error.details == {
            "name": "a",
            "kind": "Service",
            "causes": [{"reason": "FieldValueInvalid", "message": "wrong", "field": "spec.x"}],
        }

    def test_several_are_listed_and_the_same_is_said_once(self) -> None:
        error = invalid(DEPLOYMENTS, "d", [cause("a", "1"), cause("b", "2"), cause("a", "1")])
        assert error.message == 'Deployment.apps "d" is invalid: [a: 1, b: 2]'
        assert error.details is not None
        assert (error.details["group"], len(error.details["causes"])) == ("apps", 3)


class TestDecode:
    def test_kind_and_version_are_filled_in(self) -> None:
        obj, _ = PLAIN.decode({"metadata": {"name": "a"}})
        assert obj == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}

    def test_a_wrong_type_names_the_kind(self) -> None:
        with pytest.raises(DecodeError) as caught:
            PLAIN.decode({"data": []})
        detail = "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string"
        assert caught.value.detail == detail
        assert caught.value.message == f'ConfigMap in version "v1" cannot be handled as a ConfigMap: {detail}'

    def test_strictness_refuses_unknown_fields(self) -> None:
        with pytest.raises(ApiError) as caught:
            PLAIN.decode({"dta": {}, "x": 1}, strict=True)
        assert caught.value.code == 400
        assert caught.value.message == (
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
            'strict decoding error: unknown field "dta", unknown field "x"'
        )


class TestPrepare:
    def deployment(self, **changes: Any) -> dict[str, Any]:
        strategy = strategy_for(DEPLOYMENTS)
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **changes}
        obj, _ = strategy.decode({"metadata": {"name": "d", "namespace": "default"}, "spec": spec})
        return strategy.default(obj)

    def test_a_new_object_starts_with_generation_one_and_no_status(self) -> None:
        obj = self.deployment()
        obj["metadata"].update(generation=7, managedFields=[{}], deletionTimestamp="x")
        obj["status"] = {"replicas": 9}
        made = strategy_for(DEPLOYMENTS).prepare_create(obj)
        assert made["metadata"] == {"name": "d", "namespace": "default", "generation": 1}
        assert made["status"] == {}

    def test_a_changed_spec_counts_and_keeps_the_status(self) -> None:
        strategy = strategy_for(DEPLOYMENTS)
        old = {**strategy.prepare_create(self.deployment()), "status": {"replicas": 1}}
        same = strategy.prepare_update({**copy.deepcopy(old), "status": {}}, old)
        assert same == old
        new = {**self.deployment(replicas=5), "status": {"replicas": 99}}
        made = strategy.prepare_update(new, old)
        assert (made["metadata"]["generation"], made["status"]) == (2, {"replicas": 1})

    def test_a_status_keeps_the_spec(self) -> None:
        strategy = strategy_for(DEPLOYMENTS)
        old = strategy.prepare_create(self.deployment())
        new = {**self.deployment(replicas=5), "status": {"replicas": 1}}
        made = strategy.prepare_update(new, old, subresource="status")
        assert (made["spec"], made["status"], made["metadata"]["generation"]) == (old["spec"], {"replicas": 1}, 1)

    def test_what_the_server_owns_is_taken_from_the_old_object(self) -> None:
        old = {"metadata": {"name": "a", "uid": "u", "creationTimestamp": "then"}}
        new = {"metadata": {"name": "a", "creationTimestamp": "now", "generation": 9}}
        assert PLAIN.prepare_update(new, old) == old

    def test_arguments_stay_as_they_were(self) -> None:
        strategy = strategy_for(DEPLOYMENTS)
        obj = self.deployment()
        before = copy.deepcopy(obj)
        strategy.default(obj)
        strategy.prepare_create(obj)
        strategy.prepare_update(obj, before)
        assert obj == before


def test_names_and_namespaces_can_be_selected() -> None:
    obj = {"metadata": {"name": "a", "namespace": "b"}}
    assert PLAIN.fields(obj) == {"metadata.name": "a", "metadata.namespace": "b"}
    assert PLAIN.field_names() == {"metadata.name", "metadata.namespace"}


def test_services_can_be_selected_by_address_and_type() -> None:
    strategy = strategy_for(SERVICES)
    obj = {"metadata": {"name": "a"}, "spec": {"clusterIP": "None", "type": "ClusterIP"}}
    assert {name: value for name, value in strategy.fields(obj).items() if name.startswith("spec")} == {
        "spec.clusterIP": "None",
        "spec.type": "ClusterIP",
    }
