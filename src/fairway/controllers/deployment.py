"""Deployments: a ReplicaSet for each pod template, and the way from one to the next. Pure.

Rules: `pkg/controller/deployment/{deployment_controller,sync,rolling,recreate}.go`. One reconcile takes the next step
and writes the status by what the view shows; the ReplicaSets' own changes call for the step after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.api.resources import DEPLOYMENTS, REPLICA_SETS
from fairway.api.types import Object, key_of
from fairway.controllers import deployment_status as conditions
from fairway.controllers.deployment_revisions import (
    REVISION,
    history,
    make_replica_set,
    next_revision,
    revision,
    same_template,
    with_revision,
    with_sizes,
)
from fairway.controllers.deployment_rolling import (
    DESIRED_REPLICAS,
    ScaledSet,
    Strategy,
    new_set_replicas,
    old_sets_replicas,
    proportional,
)
from fairway.controllers.objects import (
    annotations_of,
    changed,
    created,
    is_terminating,
    name,
    spec,
    status,
    uid,
    without_zeros,
)
from fairway.controllers.ownership import claim
from fairway.controllers.pods import is_finished
from fairway.controllers.replicaset import replicas
from fairway.controllers.writes import Create, Delete, EventType, Recheck, Record, Update, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView:
    """A Deployment and what it could own.

    replica_sets: those it controls and those of its namespace without a controller. pods: of the ReplicaSets it
    controls, on nodes that exist; only Recreate looks at them. strangers: names of the namespace's ReplicaSets that
    another object controls.
    """

    deployment: Object
    replica_sets: Sequence[Object]
    pods: Sequence[Object] = ()
    strangers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rollout:
    """The ReplicaSets in their parts: new has the Deployment's template (None before it is made), old is all others."""

    deployment: Object
    strategy: Strategy
    new: Object | None
    old: tuple[Object, ...]

    @classmethod
    def of(cls, deployment: Object, owned: Sequence[Object]) -> _Rollout:
        in_order = sorted(owned, key=created)
        new = next((one for one in in_order if same_template(deployment, one)), None)
        old = tuple(one for one in in_order if new is None or uid(one) != uid(new))
        return cls(deployment=deployment, strategy=Strategy.of(deployment), new=new, old=old)

    @property
    def everyone(self) -> list[Object]:
        return [*self.old, self.new] if self.new else [*self.old]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What to do with ReplicaSets, and what the Progressing condition should say of it."""

    writes: tuple[Write, ...] = ()
    news: conditions.Condition | None = None
    revision: int | None = None
    estimate: bool = True
    collided: bool = False


def reconcile(view: DeploymentView, now: datetime) -> list[Write]:
    """Adopt and release ReplicaSets, or else take the next step of a rollout or scaling and write the status."""
    deployment = view.deployment
    if not spec(deployment).get("selector"):
        return []
    claimed = claim(deployment, DEPLOYMENTS, view.replica_sets, REPLICA_SETS)
    if claimed.writes:
        return list(claimed.writes)
    rollout = _Rollout.of(deployment, [one for one in claimed.owned if not is_terminating(one)])
    if is_terminating(deployment):
        return _finish(view, rollout, _Step(estimate=False), now)
    pausing = conditions.paused_condition(deployment)
    if spec(deployment).get("paused") or _is_scaled(rollout):
        step = _scale(rollout)
        return _finish(
            view, rollout, _Step(writes=step.writes, news=pausing, revision=step.revision, estimate=False), now
        )
    if pausing is not None:
        return _finish(view, rollout, _Step(news=pausing, estimate=False), now)
    if not rollout.strategy.rolling:
        return _finish(view, rollout, _recreate(view, rollout), now)
    return _finish(view, rollout, _roll(view, rollout), now)


def _finish(view: DeploymentView, rollout: _Rollout, step: _Step, now: datetime) -> list[Write]:
    """The step's writes, then status and revision in one write: PUT of /status keeps annotations it is sent."""
    deployment = view.deployment
    wanted = conditions.wanted_status(
        deployment, rollout.new, rollout.everyone, now, news=step.news, estimate=step.estimate
    )
    if step.collided:
        wanted["collisionCount"] = int(wanted.get("collisionCount", 0)) + 1
    writes = list(step.writes)
    noted = str(step.revision) if step.revision else annotations_of(deployment).get(REVISION)
    if without_zeros(wanted) != without_zeros(status(deployment)) or noted != annotations_of(deployment).get(REVISION):
        body = changed(deployment)
        body["status"] = wanted
        if noted is not None:
            body["metadata"].setdefault("annotations", {})[REVISION] = noted
        writes.append(Update(resource=DEPLOYMENTS, body=body, subresource="status"))
    due = conditions.deadline_in_s(deployment, wanted, now) if step.estimate else None
    return writes if due is None else [*writes, Recheck(after_s=due)]


def _is_scaled(rollout: _Rollout) -> bool:
    """Whether `spec.replicas` changed since an active ReplicaSet was last scaled."""
    return any(
        annotations_of(one).get(DESIRED_REPLICAS, str(rollout.strategy.replicas)) != str(rollout.strategy.replicas)
        for one in rollout.everyone
        if replicas(one) > 0
    )


def _scale(rollout: _Rollout) -> _Step:
    """Give every ReplicaSet its share of the new size; no new ReplicaSet is made.

    The one there is takes over what its Deployment says all the same, and idle ones beyond the limit go.
    """
    new = ScaledSet.of(rollout.new) if rollout.new else None
    old = [ScaledSet.of(one) for one in rollout.old]
    sizes = proportional(rollout.strategy, new, old, int(status(rollout.deployment).get("replicas") or 0))
    number = max(next_revision(rollout.old), revision(rollout.new)) if rollout.new else None
    step = _Step(writes=_resize(rollout, sizes, number), revision=number)
    return _with_history(rollout, step) if spec(rollout.deployment).get("paused") else step


def _roll(view: DeploymentView, rollout: _Rollout) -> _Step:
    """Rolling update: more of the new as far as maxSurge goes, then fewer of the old as far as maxUnavailable goes."""
    old = [ScaledSet.of(one) for one in rollout.old]
    if rollout.new is None:
        return _make(view, rollout, new_set_replicas(rollout.strategy, 0, old))
    new = ScaledSet.of(rollout.new)
    size = new_set_replicas(rollout.strategy, new.desired, [*old, new])
    step = _keep(rollout, rollout.new, size)
    if size != new.desired:
        return step
    fewer = old_sets_replicas(rollout.strategy, new, [one for one in old if one.desired > 0])
    return _and_clean_up(rollout, step, _resize(rollout, fewer))


def _recreate(view: DeploymentView, rollout: _Rollout) -> _Step:
    """Recreate: nothing new before every old pod is gone."""
    fewer = {name(one): 0 for one in rollout.old if replicas(one) > 0}
    if fewer:
        return _Step(writes=_resize(rollout, fewer))
    new_uid = uid(rollout.new) if rollout.new else None
    if any(int(status(one).get("replicas") or 0) for one in rollout.old) or any(
        not is_finished(pod) and not any(owner.get("uid") == new_uid for owner in pod["metadata"]["ownerReferences"])
        for pod in view.pods
    ):
        return _Step()
    if rollout.new is None:
        return _make(view, rollout, rollout.strategy.replicas)
    return _and_clean_up(rollout, _keep(rollout, rollout.new, rollout.strategy.replicas), ())


def _make(view: DeploymentView, rollout: _Rollout, size: int) -> _Step:
    """Create the new ReplicaSet."""
    deployment = rollout.deployment
    number = next_revision(rollout.old)
    made = make_replica_set(deployment, size, rollout.strategy, number)
    if name(made) in view.strangers:
        # The status counts the collision, and with the count the next name is another.
        return _Step(collided=True)
    failed = Record(
        regarding=deployment,
        type=EventType.WARNING,
        reason=conditions.CREATE_ERROR,
        message=f'Failed to create new replica set "{name(made)}": ',
    )
    writes: list[Write] = [Create(resource=REPLICA_SETS, body=made, failed=failed)]
    if size > 0:
        writes.append(_scaled_record(deployment, name(made), 0, size))
    message = f'Created new replica set "{name(made)}"'
    return _Step(writes=tuple(writes), news=conditions.progressing(conditions.CREATED, message), revision=number)


def _keep(rollout: _Rollout, new: Object, size: int) -> _Step:
    """Bring the new ReplicaSet's size, revision and copied fields up to date; after a rollback it is an old one."""
    deployment = rollout.deployment
    number = max(next_revision(rollout.old), revision(new))
    body = with_sizes(with_revision(new, deployment, number), rollout.strategy)
    body["spec"]["replicas"] = size
    writes: list[Write] = []
    if body != new:
        writes.append(Update(resource=REPLICA_SETS, body=body))
    if size != replicas(new):
        writes.append(_scaled_record(deployment, name(new), replicas(new), size))
    found = conditions.progressing(conditions.FOUND, f'Found new replica set "{name(new)}"')
    known = any(one.get("type") == "Progressing" for one in status(deployment).get("conditions") or ())
    return _Step(writes=tuple(writes), news=None if known else found, revision=number)


def _and_clean_up(rollout: _Rollout, step: _Step, writes: tuple[Write, ...]) -> _Step:
    """Further writes; once the rollout is complete, also delete old ReplicaSets beyond `revisionHistoryLimit`."""
    if not writes and conditions.is_complete(rollout.deployment, status(rollout.deployment)):
        return _with_history(rollout, step)
    return _Step(writes=(*step.writes, *writes), news=step.news, revision=step.revision)


def _with_history(rollout: _Rollout, step: _Step) -> _Step:
    """The step, and the end of old ReplicaSets beyond `revisionHistoryLimit`."""
    excess = history(rollout.deployment, rollout.old)
    gone = (Delete(resource=REPLICA_SETS, key=key_of(one), uid=uid(one)) for one in excess)
    return _Step(writes=(*step.writes, *gone), news=step.news, revision=step.revision)


def _resize(rollout: _Rollout, sizes: dict[str, int], number: int | None = None) -> tuple[Write, ...]:
    """Set `spec.replicas` by name, and the annotations that tell the next scaling from what.

    number: the revision of the new ReplicaSet, where it is to be brought up to date, too.
    """
    writes: list[Write] = []
    for one in rollout.everyone:
        size = sizes.get(name(one), replicas(one))
        body = with_revision(one, rollout.deployment, number) if one is rollout.new and number else changed(one)
        if name(one) in sizes:
            body = with_sizes(body, rollout.strategy)
            body["spec"]["replicas"] = size
        if body != one:
            writes.append(Update(resource=REPLICA_SETS, body=body))
        if size != replicas(one):
            writes.append(_scaled_record(rollout.deployment, name(one), replicas(one), size))
    return tuple(writes)


def _scaled_record(deployment: Object, which: str, before: int, after: int) -> Record:
    way = "up" if after > before else "down"
    message = f"Scaled {way} replica set {which} from {before} to {after}"
    return Record(regarding=deployment, reason="ScalingReplicaSet", message=message)
