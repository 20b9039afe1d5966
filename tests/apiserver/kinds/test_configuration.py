from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from fairway.apiserver.kinds import strategy_for
from tests.apiserver.kinds.support import change, new, wrong, wrong_change

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"data": {"a": "b"}, "binaryData": {"c": "MQ=="}}, []),
        (
            {"data": {"a": "b"}, "binaryData": {"a": "MQ=="}},
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
        ),
        ({"data": {"a": "x" * MIB}}, []),
        ({"data": {"a": "x" * (MIB + 1)}}, [": Too long: may not be more than 1048576 bytes"]),
    ],
)
def test_a_config_map_has_its_rules(body: dict[str, Any], found: list[str]) -> None:
    assert wrong(CONFIG_MAPS, body) == found


def test_keys_are_file_names() -> None:
    [text] = wrong(CONFIG_MAPS, {"data": {"a/b": ""}})
    assert text.startswith('data[a/b]: Invalid value: "a/b": a valid config key must consist of')


def test_an_immutable_config_map_stays() -> None:
    old = new(CONFIG_MAPS, {"data": {"a": "b"}, "immutable": True})
    assert wrong_change(CONFIG_MAPS, old, {"metadata": {**old["metadata"], "labels": {"x": "y"}}}) == []
    assert wrong_change(CONFIG_MAPS, old, {"data": {}, "immutable": False}) == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_plain_text_of_a_secret_is_encoded() -> None:
    secret = new(SECRETS, {"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "ü"}})
    assert (secret["data"], "stringData" in secret, secret["type"]) == ({"a": "MQ==", "b": "w7w="}, False, "Opaque")


@pytest.mark.parametrize(
    ("kind", "data", "found"),
    [
        ("kubernetes.io/tls", {"tls.crt": "", "tls.key": ""}, []),
        ("kubernetes.io/tls", {"tls.crt": ""}, ["data[tls.key]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {}, ["data[.dockerconfigjson]: Required value"]),
        ("example.com/own", {}, []),
    ],
)
def test_a_type_asks_for_its_keys(kind: str, data: dict[str, str], found: list[str]) -> None:
    assert wrong(SECRETS, {"type": kind, "data": data}) == found


def test_the_type_of_a_secret_does_not_change() -> None:
    old = new(SECRETS, {})
    assert wrong_change(SECRETS, old, {"type": "other"}) == ['type: Invalid value: "other": field is immutable']


def test_an_immutable_secret_stays() -> None:
    old = new(SECRETS, {"data": {"a": "MQ=="}, "immutable": True})
    assert wrong_change(SECRETS, old, {"data": {"a": "Mg=="}}) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]


def test_secrets_can_be_selected_by_type() -> None:
    assert strategy_for(SECRETS).fields(new(SECRETS, {}))["type"] == "Opaque"


def test_a_service_account_is_shown_when_it_is_deleted() -> None:
    assert strategy_for(SERVICE_ACCOUNTS).returns_deleted
    account = new(SERVICE_ACCOUNTS, {})
    assert change(SERVICE_ACCOUNTS, account, {}) == account
