"""A strategy per kind: defaults, validation, immutability. Pure."""

from __future__ import annotations

from fairway.api.resources import Resource
from fairway.apiserver.strategy import Strategy


def strategy_for(resource: Resource) -> Strategy:
    """The strategy of a resource of the table."""
    return Strategy(resource)
