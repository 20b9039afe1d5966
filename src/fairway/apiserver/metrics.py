"""`/metrics`: what the server holds, by kube-apiserver's names (apiserver `storage/etcd3/metrics`, component-base
`version`), in Prometheus' text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fairway.api.resources import RESOURCES
from fairway.apiserver.discovery import VERSION
from fairway.apiserver.revisions import Revisions

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUILD_LABELS = {
    "build_date": "buildDate",
    "compiler": "compiler",
    "git_commit": "gitCommit",
    "git_tree_state": "gitTreeState",
    "git_version": "gitVersion",
    "go_version": "goVersion",
    "major": "major",
    "minor": "minor",
    "platform": "platform",
}


def metrics_text(revisions: Revisions) -> str:
    """The objects of each kind there are now, and the server's version."""
    objects = [({"resource": one.group_resource}, len(revisions.records(one))) for one in RESOURCES]
    build = [({label: VERSION[name] for label, name in _BUILD_LABELS.items()}, 1)]
    return "".join(
        (
            *_family("apiserver_storage_objects", "Number of stored objects by kind", objects),
            *_family("kubernetes_build_info", "The version served, by its parts; always 1", build),
        )
    )


def _family(name: str, told: str, samples: Iterable[tuple[Mapping[str, str], int]]) -> Iterable[str]:
    """A gauge. No label's value has a quote, a backslash or a line's end in it: none is a user's text."""
    yield f"# HELP {name} {told}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
        yield f"{name}{{{inner}}} {value}\n"
