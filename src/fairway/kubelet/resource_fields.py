"""What a resourceFieldRef names: a container's own requests and limits, as numbers of its divisor. Pure.

Rounding and defaults as in `pkg/api/v1/resource/helpers.go` (ExtractContainerResourceValue): a limit that is not set is
what the node has, a request that is not set is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from fairway.api.quantity import parse_quantity
from fairway.api.types import Object

_MILLI = Decimal("0.001")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceField:
    """resource: "limits.cpu", "requests.memory" ...; container: its name, "" for the one that asks.

    divisor: a quantity.
    """

    resource: str
    container: str = ""
    divisor: str = "1"


def parse_resource_field(given: Mapping[str, Any]) -> ResourceField | None:
    """Of a `valueFrom` or a downward API item; None for another kind of it."""
    ref = given.get("resourceFieldRef")
    if not ref:
        return None
    divisor = str(ref.get("divisor") or "1")
    return ResourceField(
        resource=ref.get("resource") or "",
        container=ref.get("containerName") or "",
        divisor="1" if parse_quantity(divisor) == 0 else divisor,
    )


def resource_value(pod: Object, wanted: ResourceField, *, container: str, allocatable: Mapping[str, str]) -> str:
    """The number, rounded up; cpu counts in thousandths while it is divided.

    container: that asks, where the field names none. allocatable: of the node, quantities by resource.
    """
    spec = pod.get("spec") or {}
    name = wanted.container or container
    of_all = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources = next((each.get("resources") or {} for each in of_all if each["name"] == name), {})
    kind, _, resource = wanted.resource.partition(".")
    given = (resources.get(kind) or {}).get(resource)
    if given is None:
        given = allocatable.get(resource, "0") if kind == "limits" else "0"
    unit = _MILLI if resource == "cpu" else Decimal(1)
    value, divisor = (_in(unit, quantity) for quantity in (str(given), wanted.divisor))
    return str((value / divisor).to_integral_value(ROUND_CEILING))


def _in(unit: Decimal, quantity: str) -> Decimal:
    return (parse_quantity(quantity) / unit).to_integral_value(ROUND_CEILING)
