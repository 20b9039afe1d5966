"""A field of a lab file is found again in its text."""

from __future__ import annotations

import pytest

from fairway.base.errors import Refused
from fairway.cluster.labfields import WrongField, line_of, place_of, placed, steps_of

YAML = """\
# a lab
name: a
nodes:
  - name: b
    taints:
      - a:NoExecute
      - b:NoExecute
  - {}
networks: {nodes: 10.0.0.0/8,
  pods: 10.1.0.0/16}
"""
JSON = '{"nodes":\n [{"count": 2},\n  {"count": 3}]}'


@pytest.mark.parametrize(
    ("text", "field", "line"),
    [
        (YAML, "name", 2),
        (YAML, "nodes", 3),
        (YAML, "nodes[0]", 4),
        (YAML, "nodes[0].taints[1]", 7),
        (YAML, "nodes[1]", 8),
        (YAML, "networks.pods", 10),
        (YAML, "networks", 9),
        (JSON, "nodes[1].count", 3),
        # What is not written there would be in what is.
        (YAML, "nodes[0].podCIDR", 4),
        (YAML, "nodes[7].podCIDR", 3),
        (YAML, "name.first[3]", 2),
        (YAML, "zones", None),
        (YAML, "", None),
        ("", "nodes", None),
        ("nodes: [", "nodes", None),
    ],
)
def test_the_line_of_a_field(text: str, field: str, line: int | None) -> None:
    assert line_of(steps_of(field), text) == line


def test_a_key_may_be_of_any_letters() -> None:
    text = "images:\n  shop/web:1: ./web\n  shop/db.x: ./db\n"
    assert place_of(("images", "shop/db.x"), source="f", text=text) == "f, line 3"
    assert place_of(("images", "none"), source="f", text=text) == "f, line 1"


def test_an_error_of_a_field_is_told_with_its_line_and_others_as_they_are() -> None:
    assert str(placed(WrongField("nodes[1]", "no"), source="f", text=YAML)) == "f, line 8: nodes[1]: no"
    assert str(placed(WrongField("zones", "no"), source="f", text=YAML)) == "f: zones: no"
    assert str(placed(WrongField("", "no"), source="f", text=YAML)) == "f: no"
    assert str(placed(Refused("no"), source="f", text=YAML)) == "f: no"
