"""Every lab file in the documentation is one, and every field of lab files is in it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from fairway.base.errors import Refused
from fairway.cluster.labfile import ClientEntry, LabFile, NetworksEntry, NodeEntry, decode_lab_file
from fairway.cluster.layout import lay_out

REFERENCE = Path(__file__).parents[2] / "docs" / "labfile.md"
TEXT = REFERENCE.read_text("utf-8")
EXAMPLES = [
    block
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", TEXT, re.MULTILINE)
    if not block.strip().startswith("fairway")
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_a_lab(text: str) -> None:
    lab = decode_lab_file(text, source=str(REFERENCE))
    assert lay_out(lab, source=str(REFERENCE), text=text).nodes


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize(
    ("section", "kind"),
    [("The lab", LabFile), ("A node", NodeEntry), ("networks", NetworksEntry)],
)
def test_the_fields_of_a_section_are_those_there_are(section: str, kind: type) -> None:
    of_section = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", of_section, re.MULTILINE)
    assert sorted(told) == sorted(field.encode_name for field in msgspec.structs.fields(kind))


def test_a_client_has_the_fields_that_are_told() -> None:
    told = ", each `name` and `address`"
    assert f"machines outside the cluster{told}" in TEXT
    assert [field.encode_name for field in msgspec.structs.fields(ClientEntry)] == ["name", "address"]


def test_the_error_that_is_shown_is_the_one_that_comes() -> None:
    [shown] = re.findall(r"^    fairway: (lab\.yaml, line 5: .*)$", TEXT, re.MULTILINE)
    text = "name: bad\nnodes:\n  - name: a\n  - name: b\n    address: 10.0.0.1\n"
    with pytest.raises(Refused) as refused:
        lay_out(decode_lab_file(text, source="lab.yaml"), source="lab.yaml", text=text)
    assert str(refused.value) == shown
