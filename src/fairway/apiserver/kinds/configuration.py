"""ConfigMaps, Secrets and ServiceAccounts (kubernetes `pkg/apis/core/validation`, `pkg/registry/core/secret`)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import ClassVar

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.strategy import Strategy
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import all_invalid, forbidden, immutable, invalid_value, required, too_long

_LIMIT = 1024 * 1024
"""Bytes of all values (`MaxSecretSize`)."""

_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
"""Keys that a Secret of a type must have."""


class ConfigMapStrategy(Strategy):
    def validate(self, obj: Object) -> list[Cause]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        causes: list[Cause] = []
        for field, values in (("data", data), ("binaryData", binary)):
            for key in values:
                causes += all_invalid(f"{field}[{key}]", key, names.config_key(key))
                if field == "data" and key in binary:
                    causes.append(invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size = sum(len(value.encode()) for value in data.values()) + sum(map(_decoded_size, binary.values()))
        return causes + ([too_long("", _LIMIT)] if size > _LIMIT else [])

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return [*_frozen(new, old, ("data", "binaryData")), *self.validate(new)]


class SecretStrategy(Strategy):
    selectable: ClassVar[Mapping[str, str]] = {"type": "type"}

    def fill(self, obj: Object) -> None:
        obj.setdefault("type", "Opaque")
        plain = obj.pop("stringData", None)
        if plain:
            encoded = {key: base64.b64encode(text.encode()).decode("ascii") for key, text in plain.items()}
            obj["data"] = {**(obj.get("data") or {}), **encoded}

    def validate(self, obj: Object) -> list[Cause]:
        data = obj.get("data") or {}
        causes: list[Cause] = []
        for key in data:
            causes += all_invalid(f"data[{key}]", key, names.config_key(key))
        if sum(map(_decoded_size, data.values())) > _LIMIT:
            causes.append(too_long("data", _LIMIT))
        missing = [key for key in _REQUIRED_KEYS.get(obj["type"], ()) if key not in data]
        return causes + [required(f"data[{key}]") for key in missing]

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return [
            *immutable("type", new.get("type"), old.get("type")),
            *_frozen(new, old, ("data",)),
            *self.validate(new),
        ]


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4


def _frozen(new: Object, old: Object, fields: tuple[str, ...]) -> Iterator[Cause]:
    """An immutable object stays so, and so do its values."""
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            yield forbidden(field, "field is immutable when `immutable` is set")


class ServiceAccountStrategy(Strategy):
    returns_deleted = True
