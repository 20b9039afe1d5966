"""The tutorial tells what explain tells, word for word, in both of its languages.

Where a test fails because explain's wording changed,

    PYTHONPATH=src python -m tests.docs.tutorial

rewrites the answers and the pictures; read what it changed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.tutorial import FOLDER, PAGES, Question, ask, questions

ENGLISH, KOREAN = FOLDER / "nodeport.md", FOLDER / "nodeport.ko.md"
ROWS = [f"S{number}" for number in range(1, 14)]

_HEADING = re.compile(r"^##+ (?P<row>S\d+)\b.*$|^##+ .*$", re.MULTILINE)
_LINK = re.compile(r"\]\((?P<file>[^)#:]+)(?:#[^)]*)?\)")
_SPOKEN_OF = re.compile(r"`([0-9a-f]+:\d+|[A-Z0-9]{16})`")
_COMMANDS = re.compile(r"^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ASKED = [(page, question) for page in PAGES for question in questions(page.read_text(encoding="utf-8"))]
"""Every question of every page."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def sections(page: Path) -> dict[str, str]:
    """The text below the heading of each row."""
    text = text_of(page)
    headings = list(_HEADING.finditer(text))
    ends = [found.start() for found in headings[1:]] + [len(text)]
    return {found["row"]: text[found.end() : end] for found, end in zip(headings, ends, strict=True) if found["row"]}


def commands(page: Path) -> list[str]:
    """What a reader is told to type in a lab, without what is said about it."""
    lines = [line for found in _COMMANDS.finditer(text_of(page)) for line in found["text"].splitlines()]
    return [stripped for line in lines if (stripped := re.sub(r"\s*(^|\s)# .*$", "", line).rstrip())]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def test_both_languages_are_there() -> None:
    assert {ENGLISH, KOREAN} == set(PAGES)


@pytest.mark.parametrize(
    ("page", "question"), _ASKED, ids=[f"{page.name}: {shlex.join(each.arguments)}" for page, each in _ASKED]
)
def test_an_answer_is_what_explain_says(page: Path, question: Question) -> None:
    told = ask(question.arguments)
    if question.picture:
        assert question.answer == ""
        assert (FOLDER / question.picture).read_text(encoding="utf-8") == told
        assert f"]({question.picture})" in text_of(page), "the picture is shown"
    else:
        assert question.answer == told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_console_block_escapes_the_check(page: Path) -> None:
    assert text_of(page).count("```console") == len(questions(text_of(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_the_study_is_told_and_explained(page: Path) -> None:
    found = sections(page)
    assert list(found) == ROWS
    assert [row for row, text in found.items() if not questions(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_classes_and_hashes_it_speaks_of_are_in_an_answer_of_their_row(page: Path) -> None:
    spoken = [(row, each) for row, text in sections(page).items() for each in _SPOKEN_OF.findall(text)]
    told = {row: "".join(ask(each.arguments) for each in questions(text)) for row, text in sections(page).items()}
    assert {each for _, each in spoken} >= {"22:3", "22:2", "VTR7MTHHNMFZ3OFS"}
    assert [(row, each) for row, each in spoken if each not in told[row]] == []


def test_the_languages_ask_the_same_in_the_same_order() -> None:
    asked = {page: [(each.arguments, each.picture) for each in questions(text_of(page))] for page in PAGES}
    assert asked[ENGLISH] == asked[KOREAN]


def test_the_languages_tell_to_type_the_same_in_a_lab() -> None:
    assert commands(ENGLISH) == commands(KOREAN)
    assert len(commands(ENGLISH)) > len(ROWS)


def test_the_languages_have_the_same_headings() -> None:
    numbers = {page: re.findall(r"^##+ (?:[\d.]+ |S\d+\b)?", text_of(page), re.MULTILINE) for page in PAGES}
    assert numbers[ENGLISH] == numbers[KOREAN]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_it_points_to_is_there(page: Path) -> None:
    links = {found["file"] for found in _LINK.finditer(text_of(page))}
    assert {link for link in links if not (FOLDER / link).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_folder_is_used(page: Path) -> None:
    unused = {file.name for file in FOLDER.iterdir() if file.name not in text_of(page)}
    assert unused - {page.name for page in PAGES} == set()


@pytest.mark.parametrize(
    ("file", "like", "field", "value"),
    [
        ("svc-nodeport-affinity.yaml", "svc-nodeport.yaml", "sessionAffinity", "ClientIP"),
        ("svc-nodeport-local.yaml", "svc-nodeport.yaml", "externalTrafficPolicy", "Local"),
        ("svc-lb-ranges.yaml", "svc-lb.yaml", "loadBalancerSourceRanges", ["203.0.113.0/24"]),
    ],
)
def test_a_variation_changes_one_field_of_the_service(file: str, like: str, field: str, value: object) -> None:
    service, endpoints = documents(like)
    assert documents(file) == [service | {"spec": service["spec"] | {field: value}}, endpoints]


@pytest.mark.parametrize(
    ("file", "ready"),
    [
        ("svc-nodeport-starting.yaml", []),
        ("svc-nodeport-unready.yaml", ["10.10.1.3", "10.10.2.3"]),
        ("svc-nodeport.yaml", ["10.10.1.3", "10.10.2.3", "10.10.3.4"]),
    ],
)
def test_a_variation_changes_who_is_ready(file: str, ready: list[str]) -> None:
    service, slice_ = documents(file)
    assert service == documents("svc-nodeport.yaml")[0]
    assert [each["addresses"][0] for each in slice_["endpoints"] if each["conditions"]["ready"]] == ready
    assert len(slice_["endpoints"]) == 3
