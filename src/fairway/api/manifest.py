"""Files of objects, as people write them and as kubectl prints them: JSON or YAML, Lists, many documents."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator
from typing import Any

import msgspec
import yaml

from fairway.api.resources import BY_KIND
from fairway.api.types import Object
from fairway.base.errors import Refused

DEFAULT_NAMESPACE = "default"

_MAX_VALUES = 5_000_000
"""More values than this in one document come from aliases that repeat each other, not from a cluster."""

_LARGE = 1_000_000
"""Characters of JSON that no person wrote: read five times as fast, and a key that stands twice has its last value."""

_MAX_DEPTH = 100
"""Objects nest about 20 deep; JSON's own limit in the API server is 10,000."""

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$")

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_objects(text: str, *, source: str) -> list[Object]:
    """The objects in a file's text, in its order; the items of a List stand for themselves.

    source: how errors name the file. Objects of namespaced kinds that name no namespace get "default", as from kubectl.
    Raises Refused, naming source, line, column and object, for what is neither JSON nor YAML, what is no object, and an
    object without apiVersion, kind or name.
    """
    objects: list[Object] = []
    try:
        for place, document in _documents(text, source):
            if document is not None:
                objects.extend(_objects_of(document, f"{source}: {place}"))
    except RecursionError:
        raise Refused(f"{source}: it is nested too deeply") from None
    return objects


def parse_documents(text: str, *, source: str) -> list[Any]:
    """The documents in a file's text, whatever they are; None for an empty one. Raises Refused as `parse_objects`."""
    try:
        return [document for _, document in _documents(text, source)]
    except RecursionError:
        raise Refused(f"{source}: it is nested too deeply") from None


def describe(obj: Any) -> str:
    """An object's namespace and name for an error, as far as it has them."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("name"):
        return "without a name"
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


_Document = tuple[str, Any]
"""Where a document begins, as "line 1, column 1", and what it says."""


def _documents(text: str, source: str) -> Iterator[_Document]:
    if text.lstrip()[:1] not in ("{", "["):
        return _yaml_documents(text, source)
    try:
        return iter(_json_documents(text))
    except json.JSONDecodeError as error:
        try:  # braces also open a mapping in YAML, whose keys need no quotes
            return iter(list(_yaml_documents(text, source)))
        except Refused:
            raise Refused(f"{source}: {_place(error.lineno, error.colno)}: {error.msg}") from None
    except ValueError as error:
        raise Refused(f"{source}: {error}") from None


def _json_documents(text: str) -> list[_Document]:
    """All documents of a stream of JSON, which need nothing between them."""
    if len(text) > _LARGE:
        try:
            return [(_place(1, 1), msgspec.json.decode(text))]
        except msgspec.DecodeError:
            pass  # several documents, or a mistake, which is told with its place below
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    documents: list[_Document] = []
    position = len(text) - len(text.lstrip())
    while position < len(text):
        document, end = decoder.raw_decode(text, position)
        line_start = text.rfind("\n", 0, position) + 1
        documents.append((_place(text.count("\n", 0, position) + 1, position - line_start + 1), document))
        position = end + len(text[end:]) - len(text[end:].lstrip())
    return documents


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {repeated!r} stands twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _place(line: int, column: int) -> str:
    return f"line {line}, column {column}"


def _yaml_documents(text: str, source: str) -> Iterator[_Document]:
    loader = _ManifestLoader(text)
    try:
        _check_depth(text)
        while loader.check_node():
            node = loader.get_node()
            document = loader.construct_document(node)
            _check_size(document, source)
            yield _place(node.start_mark.line + 1, node.start_mark.column + 1), document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{_place(mark.line + 1, mark.column + 1)}: " if mark else ""
        raise Refused(f"{source}: {where}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Refused(f"{source}: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()


def _check_depth(text: str) -> None:
    """Refuse deep nesting by the flat stream of events: libyaml's binding recurses in C and would overrun its stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise RecursionError
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _ManifestLoader(_SafeLoader):  # type: ignore[misc]  # which of the two bases is known at run time
    """YAML as sigs.k8s.io/yaml reads it: only what JSON has, so a date stays the text it is written as."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        result: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = _key(self.construct_object(key_node, deep=True))
            if key is None:
                raise _problem("a key must be a text", key_node)
            if key in result:
                raise _problem(f"the key {key!r} stands twice in one mapping", key_node)
            result[key] = self.construct_object(value_node, deep=deep)
        return result


def _restrict(loader: Any) -> None:
    """Leave the loader only the types of JSON: no dates, no numbers to base 60, no sets, no binary values."""
    kept = (f"{_TAG}bool", f"{_TAG}null", f"{_TAG}merge")
    loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag in kept]
        for first, rules in loader.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
    loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))
    for name in ("binary", "timestamp", "omap", "pairs", "set"):
        loader.add_constructor(f"{_TAG}{name}", _refuse_tag)


def _refuse_tag(loader: Any, node: yaml.Node) -> Any:
    raise _problem(f"a value of type {node.tag.removeprefix(_TAG)} has no form in JSON", node)


def _problem(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


def _key(key: Any) -> str | None:
    """A key as JSON carries it: numbers and truth values as their text."""
    if isinstance(key, str):
        return key
    return json.dumps(key) if isinstance(key, bool | int | float) else None


def _check_size(document: Any, source: str) -> None:
    """Refuse what aliases make endless or immense: a few lines can stand for billions of values."""
    sizes: dict[int, int] = {}
    open_ids: set[int] = set()

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        identity = id(value)
        if identity in open_ids:
            raise Refused(f"{source}: an alias stands inside what it stands for")
        if identity not in sizes:
            open_ids.add(identity)
            sizes[identity] = 1 + sum(size(item) for item in (value.values() if isinstance(value, dict) else value))
            open_ids.discard(identity)
        return sizes[identity]

    if size(document) > _MAX_VALUES:
        raise Refused(f"{source}: its aliases stand for more than {_MAX_VALUES} values; write them out")


def _objects_of(document: Any, where: str) -> list[Object]:
    if not isinstance(document, dict):
        raise Refused(f"{where}: expected an object, got {_json_type(document)}")
    kind, api_version = document.get("kind"), document.get("apiVersion")
    for name, value in (("apiVersion", api_version), ("kind", kind)):
        if not isinstance(value, str) or not value:
            raise Refused(f"{where}: the object {describe(document)} has no {name}; every object needs one")
    if str(kind).endswith("List") and "items" in document:
        return _items_of(document, where)
    return [_with_namespace(_checked(document, where))]


def _items_of(document: Object, where: str) -> list[Object]:
    """The items of a List; those of a typed list, such as a ServiceList, get its apiVersion and kind."""
    items = document["items"]
    if items is None:
        return []
    if not isinstance(items, list):
        raise Refused(f"{where}: items: expected a list, got {_json_type(items)}")
    item_kind = str(document["kind"]).removesuffix("List")
    objects: list[Object] = []
    for index, item in enumerate(items):
        if item_kind and isinstance(item, dict):
            item = {"apiVersion": document["apiVersion"], "kind": item_kind, **item}
        objects.extend(_objects_of(item, f"{where}: items[{index}]"))
    return objects


def _checked(obj: Object, where: str) -> Object:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise Refused(f"{where}: the {obj['kind']} has no metadata, so no name; give it metadata.name")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise Refused(f"{where}: the {obj['kind']} has no name; give it metadata.name, a text")
    return obj


def _with_namespace(obj: Object) -> Object:
    resource = BY_KIND.get((obj["apiVersion"], obj["kind"]))
    if resource is None or not resource.namespaced or obj["metadata"].get("namespace"):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": DEFAULT_NAMESPACE}}


def _json_type(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "nothing")


_restrict(_ManifestLoader)
