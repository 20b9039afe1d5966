"""Which of the nodes that can take a pod it would rather have. Pure.

Scores, their weights and how they are brought to 0..100 are kube-scheduler's (`apis/config/v1/default_plugins.go`,
`plugins/helper/normalize_score.go`). A score that is the same for all nodes, as where a pod wishes for nothing, does
not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairway.api.types import Object
from fairway.controllers.affinity import preference
from fairway.controllers.objects import name, spec
from fairway.controllers.pod_affinity import affinity_score, domain
from fairway.controllers.pod_spread import crowding
from fairway.controllers.scheduling import SchedulingView
from fairway.controllers.taints import PREFER_NO_SCHEDULE, taints_of, tolerates

MAX_SCORE = 100
TAINT_WEIGHT = 3
NODE_AFFINITY_WEIGHT = 2
POD_AFFINITY_WEIGHT = 2
SPREAD_WEIGHT = 2


def scores(view: SchedulingView, nodes: Sequence[Object]) -> dict[str, int]:
    """By name, the more the better."""
    parts = (
        (TAINT_WEIGHT, _by_taints(view, nodes)),
        (NODE_AFFINITY_WEIGHT, _by_node_affinity(view, nodes)),
        (POD_AFFINITY_WEIGHT, _by_pod_affinity(view, nodes)),
        (SPREAD_WEIGHT, _by_spread(view, nodes)),
    )
    return {name(node): sum(weight * part.get(name(node), 0) for weight, part in parts) for node in nodes}


def _by_taints(view: SchedulingView, nodes: Sequence[Object]) -> Mapping[str, int]:
    """Fewer PreferNoSchedule taints that are not tolerated."""
    tolerations = [
        one for one in spec(view.pod).get("tolerations") or () if one.get("effect") in (None, "", PREFER_NO_SCHEDULE)
    ]
    bad = {
        name(node): sum(
            one.get("effect") == PREFER_NO_SCHEDULE and not tolerates(tolerations, one) for one in taints_of(node)
        )
        for node in nodes
    }
    most = max(bad.values(), default=0)
    return {one: MAX_SCORE - MAX_SCORE * count // most if most else MAX_SCORE for one, count in bad.items()}


def _by_node_affinity(view: SchedulingView, nodes: Sequence[Object]) -> Mapping[str, int]:
    liked = {name(node): preference(spec(view.pod), node) for node in nodes}
    most = max(liked.values(), default=0)
    return {one: MAX_SCORE * weight // most if most else 0 for one, weight in liked.items()}


def _by_pod_affinity(view: SchedulingView, nodes: Sequence[Object]) -> Mapping[str, int]:
    drawn = affinity_score(view)
    keys = {found.key for found in drawn}
    liked = {
        name(node): sum(drawn[found] for key in keys if (found := domain(node, {"topologyKey": key}))) for node in nodes
    }
    least, most = min(liked.values(), default=0), max(liked.values(), default=0)
    return {one: MAX_SCORE * (sum_ - least) // (most - least) if most > least else 0 for one, sum_ in liked.items()}


def _by_spread(view: SchedulingView, nodes: Sequence[Object]) -> Mapping[str, int]:
    full = crowding(view, nodes)
    if not full:
        return {}
    rounded = {one: round(amount) for one, amount in full.items()}
    least, most = min(rounded.values()), max(rounded.values())
    return {one: MAX_SCORE * (most + least - amount) // most if most else MAX_SCORE for one, amount in rounded.items()}
