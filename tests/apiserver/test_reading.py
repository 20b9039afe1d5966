"""Requests that read: lists, pages and revisions, the forms of an answer, and watches."""

from __future__ import annotations

import pytest

from fairway.apiserver.request import Response
from fairway.apiserver.revisions import Revisions
from tests.apiserver.harness import Harness, config_map, namespace, pod
from tests.apiserver.urls import CONFIG_MAPS, NAMESPACES, PODS, SERVICES

BAD_VERSION = (
    'invalid resource version: resourceVersion: Invalid value: "banana": strconv.ParseUint: parsing "banana": '
)
BAD_TOKEN = "invalid continue token: continue key is not valid: "
UNKNOWN_FIELD = '"spec.nothing" is not a known field selector: only "metadata.name", "metadata.namespace"'
BAD_LIST = 'ListOptions.meta.k8s.io "" is invalid: '
BAD_MATCH = BAD_LIST + "resourceVersionMatch: Forbidden: "


@pytest.fixture
def api() -> Harness:
    return Harness()


def names(answer: tuple[int, dict]) -> list[str]:
    assert answer[0] == 200, answer
    return [item["metadata"]["name"] for item in answer[1]["items"]]


# Lists


def test_a_list_carries_the_newest_revision_and_its_items_no_kind(api):
    api.create(CONFIG_MAPS, config_map("b"))
    api.create(CONFIG_MAPS, config_map("a"))
    code, found = api.get(CONFIG_MAPS)
    assert (code, found["kind"], found["apiVersion"]) == (200, "ConfigMapList", "v1")
    assert found["metadata"] == {"resourceVersion": str(api.revisions.revision)}
    assert [sorted(item) for item in found["items"]] == [["metadata"], ["metadata"]]
    assert names((code, found)) == ["a", "b"]
    assert api.get("/api/v1/namespaces/none/configmaps")[1]["items"] == []


def test_pages_show_one_revision_whatever_is_written_between_them(api):
    for name in "abcde":
        api.create(CONFIG_MAPS, config_map(name))
    _, first = api.get(f"{CONFIG_MAPS}?limit=2")
    assert (names((200, first)), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    api.call("DELETE", f"{CONFIG_MAPS}/c")
    api.create(CONFIG_MAPS, config_map("bb"))
    api.patch(f"{CONFIG_MAPS}/d", {"data": {"x": "1"}})
    _, second = api.get(f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert names((200, second)) == ["c", "d"]
    assert "data" not in second["items"][1]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    _, third = api.get(f"{CONFIG_MAPS}?limit=2&continue={second['metadata']['continue']}")
    assert names((200, third)) == ["e"]
    assert third["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


def test_a_page_of_a_revision_no_longer_kept_is_gone():
    api = Harness(revisions=Revisions(max_events=10))
    for name in "abcde":
        api.create(CONFIG_MAPS, config_map(name))
    _, first = api.get(f"{CONFIG_MAPS}?limit=2")
    for turn in range(20):
        api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": str(turn)}})
        api.revisions.compact()
    code, status = api.get(f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (code, status["reason"]) == (410, "Expired")
    assert status["message"].startswith("The provided continue parameter is too old to display a consistent list")
    code, status = api.get(f"{CONFIG_MAPS}?resourceVersion=9&resourceVersionMatch=Exact")
    message = "The resourceVersion for the provided list is too old."
    assert (code, status["message"]) == (410, message)


def test_an_exact_list_shows_that_revision_and_one_not_older_the_newest(api):
    api.create(CONFIG_MAPS, config_map("a"))
    at = api.revisions.revision
    api.create(CONFIG_MAPS, config_map("b"))
    _, exact = api.get(f"{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=Exact")
    assert (names((200, exact)), exact["metadata"]) == (["a"], {"resourceVersion": str(at)})
    assert names(api.get(f"{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan")) == ["a", "b"]
    assert names(api.get(f"{CONFIG_MAPS}?resourceVersion={at}")) == ["a", "b"]
    assert names(api.get(f"{CONFIG_MAPS}?resourceVersion=0")) == ["a", "b"]


WATCH_LIST = f"{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"


@pytest.mark.parametrize("url", [f"{CONFIG_MAPS}?", f"{SERVICES}/kubernetes?", WATCH_LIST])
def test_a_revision_that_lies_ahead_is_not_waited_for(api, url):
    code, status = api.get(f"{url}resourceVersion=99999")
    assert (code, status["reason"]) == (504, "Timeout")
    assert status["message"] == f"Timeout: Too large resource version: 99999, current: {api.revisions.revision}"
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("resourceVersion=banana", 400, BAD_VERSION + "invalid syntax"),
        ("continue=nonsense", 400, BAD_TOKEN + "invalid character '\\x9e' looking for beginning of value"),
        (
            "continue=bm90IGpzb24&resourceVersion=5",
            400,
            "specifying resource version is not allowed when using continue",
        ),
        ("fieldSelector=spec.nothing%3Dx", 400, UNKNOWN_FIELD),
        (
            "resourceVersionMatch=Exact",
            422,
            BAD_MATCH + "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "sendInitialEvents=true",
            422,
            BAD_LIST + "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ),
        (
            "watch=true&sendInitialEvents=true",
            422,
            BAD_MATCH + "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=true&resourceVersionMatch=NotOlderThan",
            422,
            BAD_MATCH + "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        ("includeObject=Everything", 400, 'unrecognized includeObject value: "Everything"'),
    ],
)
def test_list_options_that_cannot_be_read_are_refused(api, query, code, message):
    found, status = api.get(f"{CONFIG_MAPS}?{query}")
    assert (found, status["message"]) == (code, message)


# Forms


def test_a_table_and_partial_metadata_are_given_where_they_are_preferred(api):
    api.create(CONFIG_MAPS, config_map("a"))
    _, shown = api.get(CONFIG_MAPS, accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    assert (shown["kind"], shown["apiVersion"], shown["rows"][0]["cells"][0]) == ("Table", "meta.k8s.io/v1", "a")
    partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    _, shown = api.get(CONFIG_MAPS, accept=partial)
    assert shown["kind"] == "PartialObjectMetadataList"
    assert [sorted(item) for item in shown["items"]] == [["apiVersion", "kind", "metadata"]]
    _, shown = api.get(f"{CONFIG_MAPS}/a", accept=partial.replace("MetadataList", "Metadata"))
    assert shown["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/vnd.kubernetes.protobuf,application/json", "ConfigMapList"),
        ("*/*", "ConfigMapList"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "ConfigMapList"),
        ("application/json;q=0.5,application/json;as=Table;v=v1;g=meta.k8s.io", "Table"),
    ],
)
def test_the_first_form_that_can_be_given_is_taken(api, accept, kind):
    assert api.get(CONFIG_MAPS, accept=accept)[1]["kind"] == kind


def test_a_form_that_cannot_be_given_is_refused(api):
    code, status = api.get(CONFIG_MAPS, accept="application/vnd.kubernetes.protobuf")
    assert (code, status["reason"]) == (406, "NotAcceptable")
    message = "only the following media types are accepted: application/json, application/yaml"
    assert status["message"] == message


def test_people_get_indented_json_and_yaml_where_they_ask(api):
    pretty = api.respond("GET", f"{SERVICES}/kubernetes", user_agent="curl/8")
    assert isinstance(pretty, Response)
    assert pretty.body.startswith(b'{\n  "kind": "Service",\n  "apiVersion": "v1",\n  "metadata": {\n    "name": "kub')
    shown = api.respond("GET", f"{SERVICES}/kubernetes", accept="application/yaml")
    assert isinstance(shown, Response)
    assert shown.body.startswith(b"kind: Service\napiVersion: v1\nmetadata:\n  name: kubernetes\n")
    assert shown.content_type == "application/yaml"


# Watches


def test_a_watch_without_a_version_begins_with_what_there_is(api):
    api.create(CONFIG_MAPS, config_map("a"))
    for query in ("watch=true", "watch=1&resourceVersion=0"):
        watch = api.watch(f"{CONFIG_MAPS}?{query}")
        assert watch.seen() == [("ADDED", "a")]
        api.create(CONFIG_MAPS, config_map("b"))
        assert watch.seen() == [("ADDED", "b")]
        api.call("DELETE", f"{CONFIG_MAPS}/b")
        assert watch.seen() == [("DELETED", "b")]


def test_a_watch_sees_only_what_is_durable(api):
    watch = api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion={api.revisions.revision}")
    api.is_slow_disk = True
    api.call("POST", CONFIG_MAPS, config_map("a"))
    assert watch.seen() == []
    api.publish()
    assert watch.seen() == [("ADDED", "a")]


def test_a_watch_list_ends_its_initial_events_with_a_bookmark(api):
    api.create(CONFIG_MAPS, config_map("a", x="1"))
    api.create(CONFIG_MAPS, config_map("b"))
    ask = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    watch = api.watch(f"{CONFIG_MAPS}?{ask}&allowWatchBookmarks=true&labelSelector=x")
    added, bookmark = watch.events()
    assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"] == {
        "resourceVersion": str(api.revisions.revision),
        "annotations": {"k8s.io/initial-events-end": "true"},
    }
    assert api.watch(f"{CONFIG_MAPS}?{ask}").seen() == [("ADDED", "a"), ("ADDED", "b")]


def test_a_watch_from_too_old_a_version_says_so_in_the_stream():
    api = Harness(revisions=Revisions(max_events=10))
    for turn in range(20):
        api.create(CONFIG_MAPS, config_map(f"n{turn}"))
        api.revisions.compact()
    (event,) = api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion=1").events()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


def test_a_watch_from_another_servers_history_is_told_to_list_anew(api):
    (event,) = api.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion=99999").events()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_watch_by_name_and_namespace_sees_nothing_else(api):
    api.create(NAMESPACES, namespace("n"))
    one = api.watch(f"{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3Da")
    everywhere = api.watch("/api/v1/configmaps?watch=true")
    api.create(CONFIG_MAPS, config_map("a"))
    api.create(CONFIG_MAPS, config_map("b"))
    api.create("/api/v1/namespaces/n/configmaps", config_map("a"))
    assert one.seen() == [("ADDED", "a")]
    assert everywhere.seen() == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "a")]


def test_a_pod_bound_to_a_node_enters_that_nodes_watch(api):
    watch = api.watch("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1")
    api.create(PODS, pod("p"))
    assert watch.seen() == []
    api.call("POST", f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "n1"}})
    assert watch.seen() == [("ADDED", "p")]


def test_a_table_watch_defines_its_columns_once(api):
    api.create(CONFIG_MAPS, config_map("a"))
    watch = api.watch(f"{CONFIG_MAPS}?watch=true", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    api.create(CONFIG_MAPS, config_map("b"))
    first, second = watch.events()
    assert (first["type"], first["object"]["kind"]) == ("ADDED", "Table")
    assert "columnDefinitions" in first["object"]
    assert "columnDefinitions" not in second["object"]
    assert second["object"]["rows"][0]["cells"][0] == "b"


def test_a_watch_lasts_as_long_as_its_client_says(api):
    assert api.watch(f"{CONFIG_MAPS}?watch=true&timeoutSeconds=7").stream.timeout_s == 7
    assert api.watch(f"{CONFIG_MAPS}?watch=true").stream.timeout_s == 1800
