"""A request's body: JSON, YAML or protobuf read into an object, with the messages of the real server.

Order and texts: apiserver `endpoints/handlers/{create,rest}.go` (`transformDecodeError`), apimachinery
`runtime/serializer/json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fairway.api.resources import BY_KIND, Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.apiserver import protobuf
from fairway.apiserver.gojson import syntax_error
from fairway.apiserver.options import FieldValidation, json_kind
from fairway.apiserver.strategy import Strategy, load_json, strict_error

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MEDIA_TYPES = (JSON, YAML, PROTOBUF)

MAX_BYTES = 3 * 1024 * 1024
"""Of one body (apiserver `server/config.go`, MaxRequestBodyBytes)."""

_MAX_YAML_VALUES = 1_000_000
"""Values a YAML document may have once its aliases are followed; a few lines can ask for billions."""

_GO_PACKAGES = {
    "": "core",
    "apps": "apps",
    "discovery.k8s.io": "discovery",
    "coordination.k8s.io": "coordination",
    "scheduling.k8s.io": "scheduling",
    "autoscaling": "autoscaling",
}
"""Go packages of the internal types, which conversion errors name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A decoded object, and what was unknown or double in it (texts for warnings)."""

    obj: Object
    warnings: tuple[str, ...]


def media_type(content_type: str) -> str:
    """The media type without its parameters; JSON where none is given."""
    return content_type.partition(";")[0].strip().lower() or JSON


def read_object(
    data: bytes, content_type: str, strategy: Strategy, validation: FieldValidation, *, resource: Resource | None = None
) -> Body:
    """The object of a POST or PUT, decoded by its kind.

    resource: whose kind is wanted, by default the strategy's. Raises ApiError 400 or 415.
    """
    wanted = resource or strategy.resource
    raw, duplicates = load(data, content_type, wanted.kind)
    check_kind(raw, wanted)
    obj, unknown = strategy.decode({**raw, "kind": wanted.kind, "apiVersion": wanted.api_version})
    return Body(obj=obj, warnings=judge([*duplicates, *unknown], validation, wanted))


def judge(problems: Sequence[str], validation: FieldValidation, resource: Resource) -> tuple[str, ...]:
    """Unknown and double fields as warnings, or ApiError 400 where the client asked for strictness."""
    if not problems or validation is FieldValidation.IGNORE:
        return ()
    if validation is FieldValidation.STRICT:
        raise strict_error(resource, problems)
    return tuple(problems)


def load(data: bytes, content_type: str, kind: str) -> tuple[Object, list[str]]:
    """A body as a dict, and the fields that stand twice in it. `kind` is what is wanted, for the messages."""
    found = media_type(content_type)
    if found == PROTOBUF:
        return protobuf.decode(data), []
    if found == YAML:
        return _object(_load_yaml(data, kind), data, kind), []
    if found != JSON:
        raise unsupported_media_type(MEDIA_TYPES)
    value, duplicates = parse_json(
        data, f"the object provided is unrecognized (must be of type {kind}): ", _summary(data)
    )
    return _object(value, data, kind), duplicates


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415 with the list of what would have been taken."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def parse_json(data: bytes, prefix: str = "", suffix: str = "") -> tuple[Any, list[str]]:
    """JSON and its double fields. Raises ApiError 400: `prefix`, the words of Go's decoder, `suffix`."""
    try:
        return load_json(data)
    except RecursionError:
        problem = "exceeded max depth"
    except ValueError:  # Also bytes that are no UTF-8; Go's scanner takes those, Python does not.
        problem = syntax_error(data) or "invalid UTF-8 in string literal"
    if prefix.startswith("the object provided"):
        problem = f"couldn't get version/kind; json parse error: {problem}"
    raise ApiError(400, "BadRequest", f"{prefix}{problem}{suffix}")


def _object(value: Any, data: bytes, kind: str) -> Object:
    if isinstance(value, dict):
        return value
    # The type the real server first decodes into, to see which kind it has before it.
    wanted = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
    raise ApiError(
        400,
        "BadRequest",
        f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: "
        f"json: cannot unmarshal {json_kind(value)} into Go value of type {wanted}{_summary(data)}",
    )


def _summary(data: bytes) -> str:
    """The start of a body as error messages show it: text of objects, else hexadecimal."""
    if not data:
        return " (<empty>)"
    head = data[:30]
    shown = head.decode("utf-8", "replace") if data.startswith(b"{") else head.hex()
    return f" ({shown}{' ...' if len(data) > 30 else ''})"


def check_kind(raw: Object, wanted: Resource) -> None:
    """A body may leave out its kind and version; others than the URL's are refused."""
    kind, version = raw.get("kind") or wanted.kind, raw.get("apiVersion") or wanted.api_version
    if (kind, version) == (wanted.kind, wanted.api_version):
        return
    problem = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/api/legacyscheme/scheme.go:30"'
    found = BY_KIND.get((version, kind)) if isinstance(version, str) and isinstance(kind, str) else None
    if found is not None:
        problem = f"converting ({_go_name(found)}) to ({_internal_name(wanted)}): unknown conversion"
    short = str(version).rpartition("/")[2]
    raise ApiError(400, "BadRequest", f'{kind} in version "{short}" cannot be handled as a {wanted.kind}: {problem}')


def _go_name(resource: Resource) -> str:
    return f"{resource.version}.{resource.kind}"


def _internal_name(resource: Resource) -> str:
    return f"{_GO_PACKAGES.get(resource.group, resource.group)}.{resource.kind}"


class _Loader(yaml.CSafeLoader):
    """YAML as sigs.k8s.io/yaml reads it: dates stay text, and so do numbers to the base of sixty."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _load_yaml(data: bytes, kind: str) -> Any:
    prefix = f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
    try:
        value = yaml.load(data, _Loader)  # noqa: S506 - a subclass of the safe loader
        _count(value, {})
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ApiError(400, "BadRequest", f"{prefix}json parse error: yaml: {problem}{_summary(data)}") from None
    except (RecursionError, ValueError) as error:
        raise ApiError(400, "BadRequest", f"{prefix}json parse error: yaml: {error}{_summary(data)}") from None
    return _json_keys(value)


def _count(value: Any, known: dict[int, int]) -> int:
    """Values of a document with its aliases followed. Raises ValueError where they are too many, or a cycle."""
    if not isinstance(value, (dict, list)):
        return 1
    found = known.get(id(value))
    if found is not None:
        if found < 0:
            raise ValueError("anchor contains itself")
        return found
    known[id(value)] = -1
    children = value.values() if isinstance(value, dict) else value
    total = 1 + sum(_count(child, known) for child in children)
    if total > _MAX_YAML_VALUES:
        raise ValueError("document contains excessive aliasing")
    known[id(value)] = total
    return total


def _json_keys(value: Any) -> Any:
    """YAML's keys may be of any type, JSON's are text."""
    if isinstance(value, dict):
        return {_json_key(key): _json_keys(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_json_keys(child) for child in value]
    if isinstance(value, (bytes, set)):
        raise ApiError(400, "BadRequest", f"YAML values of type {type(value).__name__} have no JSON form")
    return value


def _json_key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)
