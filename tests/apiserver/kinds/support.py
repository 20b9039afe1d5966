"""What the tests of kinds share: objects made and changed as the handlers do it, and what is wrong with them."""

from __future__ import annotations

import copy
from typing import Any

from fairway.api.resources import Resource
from fairway.api.status import Cause
from fairway.apiserver.kinds import strategy_for


def new(resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
    """A body decoded, defaulted and prepared for creation."""
    strategy = strategy_for(resource)
    metadata = {"name": "x", **({"namespace": "default"} if resource.namespaced else {}), **body.get("metadata", {})}
    obj, problems = strategy.decode(copy.deepcopy({**body, "metadata": metadata}))
    assert problems == []
    return strategy.prepare_create(strategy.default(obj))


def change(resource: Resource, old: dict[str, Any], body: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    """An object with the parts of `body` in place of its own, as an update."""
    strategy = strategy_for(resource)
    obj, _ = strategy.decode(copy.deepcopy({**old, **body}))
    return strategy.prepare_update(strategy.default(obj), old, subresource=subresource)


def texts(causes: list[Cause]) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in causes]


def wrong(resource: Resource, body: dict[str, Any]) -> list[str]:
    """What is wrong with a new object."""
    return texts(strategy_for(resource).validate_create(new(resource, body)))


def wrong_change(resource: Resource, old: dict[str, Any], body: dict[str, Any], subresource: str = "") -> list[str]:
    """What is wrong with a change."""
    changed = change(resource, old, body, subresource)
    return texts(strategy_for(resource).validate_update(changed, old, subresource=subresource))
