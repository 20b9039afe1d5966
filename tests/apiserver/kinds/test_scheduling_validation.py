"""Where a pod may run, as people write it down wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import DEPLOYMENTS, PODS
from tests.apiserver.kinds.support import new, wrong

Json = dict[str, Any]
HARD = "requiredDuringSchedulingIgnoredDuringExecution"
SOFT = "preferredDuringSchedulingIgnoredDuringExecution"
BAD_LABEL = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
BAD_NAME = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
NO_OPERATOR = "not a valid selector operator"


def found(**spec: Any) -> list[str]:
    return wrong(PODS, {"spec": {"containers": [{"name": "c", "image": "i"}], **spec}})


def on_nodes(*terms: Json) -> Json:
    return {"nodeAffinity": {HARD: {"nodeSelectorTerms": list(terms)}}}


def expressed(key: str, operator: str, *values: str) -> Json:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def named(operator: str, *values: str, key: str = "metadata.name") -> Json:
    return {"matchFields": [{"key": key, "operator": operator, "values": list(values)}]}


TERMS = f"spec.affinity.nodeAffinity.{HARD}.nodeSelectorTerms"
ONE = f"{TERMS}[0].matchExpressions[0]"
FIELD = f"{TERMS}[0].matchFields[0]"


@pytest.mark.parametrize(
    ("affinity", "problems"),
    [
        ({}, []),
        (on_nodes({}), []),
        (on_nodes(expressed("a", "In", "x"), expressed("b/c", "Exists"), expressed("d", "Gt", "5")), []),
        (on_nodes(named("In", "worker")), []),
        (on_nodes(), [f"{TERMS}: Required value: must have at least one node selector term"]),
        (
            on_nodes(expressed("a", "NotIn")),
            [f"{ONE}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'"],
        ),
        (
            on_nodes(expressed("a", "Exists", "x")),
            [f"{ONE}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"],
        ),
        (
            on_nodes(expressed("a", "Lt", "1", "2")),
            [f"{ONE}.values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"],
        ),
        (on_nodes(expressed("a", "Is", "x")), [f'{ONE}.operator: Invalid value: "Is": {NO_OPERATOR}']),
        (on_nodes(expressed("a b", "Exists")), [f'{ONE}.key: Invalid value: "a b": {BAD_NAME}']),
        (on_nodes(expressed("a", "In", "ok", "-")), [f'{ONE}.values[1]: Invalid value: "-": {BAD_LABEL}']),
        (
            on_nodes(named("In", "a", "b")),
            [
                (
                    f"{FIELD}.values: Required value: must be only one value when `operator` is 'In' or 'NotIn' "
                    "for node field selector"
                )
            ],
        ),
        (on_nodes(named("Exists")), [f'{FIELD}.operator: Invalid value: "Exists": {NO_OPERATOR}']),
        (
            on_nodes(named("In", "a", key="metadata.uid")),
            [f'{FIELD}.key: Invalid value: "metadata.uid": not a valid field selector key'],
        ),
        (
            {"nodeAffinity": {SOFT: [{"weight": 0, "preference": {}}, {"weight": 101, "preference": {}}]}},
            [
                f"spec.affinity.nodeAffinity.{SOFT}[{index}].weight: Invalid value: {weight}: "
                "must be in the range 1-100"
                for index, weight in enumerate((0, 101))
            ],
        ),
        (
            {"nodeAffinity": {SOFT: [{"weight": 1, "preference": expressed("a", "Is", "-")}]}},
            [
                (
                    f"spec.affinity.nodeAffinity.{SOFT}[0].preference.matchExpressions[0].operator: "
                    f'Invalid value: "Is": {NO_OPERATOR}'
                )
            ],
        ),
    ],
)
def test_affinity_to_nodes(affinity: Json, problems: list[str]) -> None:
    assert found(affinity=affinity) == problems


def near(**term: Any) -> Json:
    return {"podAffinity": {HARD: [{"topologyKey": "zone", "labelSelector": {}, **term}]}}


TERM = f"spec.affinity.podAffinity.{HARD}[0]"


@pytest.mark.parametrize(
    ("affinity", "problems"),
    [
        (near(), []),
        (near(namespaces=["default"], namespaceSelector={}, matchLabelKeys=["a"], mismatchLabelKeys=["b"]), []),
        (
            near(topologyKey=""),
            [
                f"{TERM}.topologyKey: Required value: can not be empty",
                f'{TERM}.topologyKey: Invalid value: "": name part must be non-empty',
                f'{TERM}.topologyKey: Invalid value: "": {BAD_NAME}',
            ],
        ),
        (
            near(labelSelector=expressed("a", "In")),
            [
                (
                    f"{TERM}.labelSelector.matchExpressions[0].values: Required value: "
                    "must be specified when `operator` is 'In' or 'NotIn'"
                )
            ],
        ),
        (
            near(namespaceSelector=expressed("a", "In", "-")),
            [f'{TERM}.namespaceSelector.matchExpressions[0].values[0]: Invalid value: "-": {BAD_LABEL}'],
        ),
        (
            near(labelSelector=None, matchLabelKeys=["a"], mismatchLabelKeys=["b"]),
            [
                f"{TERM}.{field}: Forbidden: must not be specified when labelSelector is not set"
                for field in ("matchLabelKeys", "mismatchLabelKeys")
            ],
        ),
        (near(matchLabelKeys=["ok", "a b"]), [f'{TERM}.matchLabelKeys[1]: Invalid value: "a b": {BAD_NAME}']),
        (
            near(matchLabelKeys=["x", "a"], mismatchLabelKeys=["a"]),
            [f'{TERM}.matchLabelKeys[1]: Invalid value: "a": exists in both matchLabelKeys and mismatchLabelKeys'],
        ),
        (
            {"podAntiAffinity": {SOFT: [{"weight": 200, "podAffinityTerm": {"topologyKey": "a b"}}]}},
            [
                f"spec.affinity.podAntiAffinity.{SOFT}[0].weight: Invalid value: 200: must be in the range 1-100",
                (
                    f"spec.affinity.podAntiAffinity.{SOFT}[0].podAffinityTerm.topologyKey: "
                    f'Invalid value: "a b": {BAD_NAME}'
                ),
            ],
        ),
    ],
)
def test_affinity_to_pods(affinity: Json, problems: list[str]) -> None:
    assert found(affinity=affinity) == problems


def test_a_name_of_a_namespace_is_a_label() -> None:
    [problem] = found(affinity=near(namespaces=["a.b"]))
    assert problem.startswith(f'{TERM}.namespace: Invalid value: "a.b": a lowercase RFC 1123 label must consist of')


def labelled(affinity: Json) -> Json:
    spec = {"containers": [{"name": "c", "image": "i"}], "affinity": affinity}
    return {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": spec}


def test_label_keys_become_part_of_the_selector_of_the_very_pod() -> None:
    affinity = near(labelSelector={"matchLabels": {"x": "y"}}, matchLabelKeys=["a", "none"], mismatchLabelKeys=["b"])
    [term] = new(PODS, labelled(affinity))["spec"]["affinity"]["podAffinity"][HARD]
    assert term["labelSelector"] == {
        "matchLabels": {"x": "y"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["1"]},
            {"key": "b", "operator": "NotIn", "values": ["2"]},
        ],
    }
    both = near(labelSelector={"matchLabels": {"a": "1"}}, matchLabelKeys=["none", "a"])
    assert wrong(PODS, labelled(both)) == [
        f'{TERM}[1]: Invalid value: "a": exists in both matchLabelKeys and labelSelector'
    ]


def spread(**constraint: Any) -> Json:
    return {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", **constraint}


FIRST = "spec.topologySpreadConstraints[0]"


@pytest.mark.parametrize(
    ("constraints", "problems"),
    [
        ([spread(minDomains=2, nodeAffinityPolicy="Ignore", nodeTaintsPolicy="Honor")], []),
        ([spread(labelSelector={"matchLabels": {"a": "1"}}, matchLabelKeys=["b"])], []),
        ([spread(), spread(whenUnsatisfiable="ScheduleAnyway"), spread(topologyKey="host")], []),
        (
            [spread(), spread()],
            [f'{FIRST}.{{topologyKey, whenUnsatisfiable}}: Duplicate value: "{{zone, DoNotSchedule}}"'],
        ),
        (
            [spread(minDomains=0, whenUnsatisfiable="ScheduleAnyway")],
            [
                f"{FIRST}.minDomains: Invalid value: 0: must be greater than zero",
                (
                    f"{FIRST}.minDomains: Invalid value: 0: can only use minDomains if "
                    "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
                ),
            ],
        ),
        (
            [spread(nodeTaintsPolicy="Some")],
            [f'{FIRST}.nodeTaintsPolicy: Unsupported value: "Some": supported values: "Honor", "Ignore"'],
        ),
        (
            [spread(matchLabelKeys=["a"])],
            [f"{FIRST}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"],
        ),
        (
            [spread(labelSelector=expressed("a", "Exists"), matchLabelKeys=["a"])],
            [f'{FIRST}.matchLabelKeys[0]: Invalid value: "a": exists in both matchLabelKeys and labelSelector'],
        ),
        (
            [spread(labelSelector=expressed("a", "Is"))],
            [f'{FIRST}.labelSelector.matchExpressions[0].operator: Invalid value: "Is": {NO_OPERATOR}'],
        ),
    ],
)
def test_spread_constraints(constraints: list[Json], problems: list[str]) -> None:
    assert found(topologySpreadConstraints=constraints) == problems


@pytest.mark.parametrize(
    ("toleration", "problems"),
    [
        ({"operator": "Exists"}, []),
        ({"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}, []),
        ({"key": "a b"}, [f'spec.tolerations[0].key: Invalid value: "a b": {BAD_NAME}']),
        ({"key": "a", "value": "-"}, [f'spec.tolerations[0].operator: Invalid value: "-": {BAD_LABEL}']),
        (
            {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5},
            [
                (
                    'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
                    "effect must be 'NoExecute' when `tolerationSeconds` is set"
                )
            ],
        ),
        (
            {"key": "a", "effect": "Never"},
            [
                (
                    'spec.tolerations[0].effect: Unsupported value: "Never": supported values: '
                    '"NoSchedule", "PreferNoSchedule", "NoExecute"'
                )
            ],
        ),
    ],
)
def test_tolerations(toleration: Json, problems: list[str]) -> None:
    assert found(tolerations=[toleration]) == problems


def test_node_selectors() -> None:
    assert found(nodeSelector={"disk": "ssd"}) == []
    assert found(nodeSelector={"a b": "-"}) == [
        f'spec.nodeSelector: Invalid value: "a b": {BAD_NAME}',
        f'spec.nodeSelector: Invalid value: "-": {BAD_LABEL}',
    ]


def test_templates_are_judged_like_pods() -> None:
    template = {
        "metadata": {"labels": {"a": "1"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], "affinity": on_nodes()},
    }
    body = {"spec": {"selector": {"matchLabels": {"a": "1"}}, "template": template}}
    path = f"spec.template.spec.affinity.nodeAffinity.{HARD}.nodeSelectorTerms"
    assert wrong(DEPLOYMENTS, body) == [f"{path}: Required value: must have at least one node selector term"]
