"""Every sentence of the walk is there in every language, with the same placeholders, and each call fills them all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import pytest

import fairway
from fairway.cluster.labs import STUDY_LAB
from fairway.cluster.walk.language import TRANSLATIONS, Language, Unseen
from fairway.cluster.walk.stage import Check, Claim, Heading, Stage
from fairway.cluster.walk.study import SECOND_FAMILY, rows
from fairway.plan.options import Mode

PACKAGE = Path(fairway.__file__).parent
TELLING = [*sorted((PACKAGE / "cluster" / "walk").glob("*.py")), PACKAGE / "cluster/demo.py", PACKAGE / "cli/demo.py"]
"""Where the demo's own sentences are written."""

PROGRESS = {PACKAGE / "cluster/lab.py": "report", PACKAGE / "fabric/firstprocess.py": "_progress"}
"""Where the lab's lines of progress are written, and by which call."""

OTHERS = [language for language in Language if language is not Language.ENGLISH]

_CALLS = {"check", "tell", "Unseen", "Row"}

_AFTER_CONSONANT_OR_VOWEL = re.compile(r"\}['\")]* ?(은|는|이|가|을|를|로|으로|와|과)(?![가-힣])")


class Told(NamedTuple):
    """A sentence where it is written, and the names of the values that are given with it."""

    where: str
    sentence: str
    values: frozenset[str]


def told(path: Path, calls: set[str]) -> Iterator[Told]:
    """The sentences that a module tells; one that comes in a variable is written, and found, somewhere else."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in calls:
            continue
        where = f"{path.name}:{node.lineno}"
        if name == "Row":
            texts = [word.value for word in node.keywords if word.arg in ("title", "claim")]
            values = frozenset[str]()
        else:
            texts, values = node.args[:1], frozenset(str(word.arg) for word in node.keywords)
        for text in texts:
            if isinstance(text, ast.JoinedStr):
                raise AssertionError(f"{where}: an f-string cannot be translated: name its values")
            if isinstance(text, ast.Constant):
                assert isinstance(text.value, str), where
                yield Told(where, text.value, values)


def progress(path: Path, call: str) -> Iterator[str]:
    """The lines of progress of a module, with {number} for what they put in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and call in (getattr(node.func, "attr", ""), getattr(node.func, "id", "")):
            match node.args[0]:
                case ast.Constant(value=str(line)):
                    yield line
                case ast.JoinedStr(values=parts):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{number}" for part in parts)


SENTENCES = [each for path in TELLING for each in told(path, _CALLS)]
LINES = {line for path, call in PROGRESS.items() for line in progress(path, call)}
TEXTS = {each.sentence for each in SENTENCES} | LINES


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


def test_the_sentences_are_found() -> None:
    of_rows = {text for mode in Mode for row in (*rows(mode), SECOND_FAMILY) for text in (row.title, row.claim)}
    assert of_rows < TEXTS
    assert {"waiting for the nodes to be Ready", "making {number} hosts"} <= LINES
    assert len(TEXTS) > 100


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated_and_no_translation_is_left_over(language: Language) -> None:
    assert set(TRANSLATIONS[language]) == TEXTS


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_same_placeholders_and_other_words(language: Language) -> None:
    unlike = {
        sentence: translated
        for sentence, translated in TRANSLATIONS[language].items()
        if placeholders(sentence) != placeholders(translated) or sentence == translated
    }
    assert unlike == {}


def test_each_call_gives_the_values_its_sentence_asks_for() -> None:
    assert [each for each in SENTENCES if placeholders(each.sentence) != each.values] == []


def test_no_korean_particle_hangs_on_what_a_value_ends_in() -> None:
    translated = TRANSLATIONS[Language.KOREAN].values()
    assert [each for each in translated if _AFTER_CONSONANT_OR_VOWEL.search(each)] == []


def test_a_sentence_is_told_with_its_values() -> None:
    assert Language.ENGLISH.tell("all {calls} calls were answered", calls=300) == "all 300 calls were answered"
    assert Language.KOREAN.tell("all {calls} calls were answered", calls=300) == "요청 300번에 모두 응답이 온다"


@pytest.mark.parametrize(
    ("language", "line", "retold"),
    [
        (Language.ENGLISH, "making 5 hosts", "making 5 hosts"),
        (Language.KOREAN, "making 5 hosts", "호스트 5개를 만듭니다"),
        (Language.KOREAN, "linking them", "호스트를 서로 연결합니다"),
        (Language.KOREAN, "a line of {another} version 2", "a line of {another} version 2"),
    ],
)
def test_progress_of_the_lab_is_told_again(language: Language, line: str, retold: str) -> None:
    assert language.retell(line) == retold


def test_values_are_never_read_as_sentences() -> None:
    assert Language.KOREAN.tell("seen: {seen}", seen="{held} [bold]") == "실제: {held} [bold]"


async def test_a_row_is_told_in_the_language_of_its_stage() -> None:
    shown: list[object] = []

    async def walk(stage: Stage) -> None:
        stage.check("all {calls} calls were answered", True, 3, calls=3)
        raise Unseen("the rules of {nodes} lack {pattern!r}", nodes="myk8s-worker", pattern="-m recent")

    stage = Stage(scenario=STUDY_LAB, hosts=None, kubectl_like=None, show=shown.append, language=Language.KOREAN)
    claim = await stage.row("S6", "a loop of calls", "all answer, also the one without a pod", walk)
    checks = (
        Check(what="요청 3번에 모두 응답이 온다", ok=True, seen=3),
        Check(what="이 항목을 끝까지 진행할 수 있다", ok=False, seen="myk8s-worker 의 룰에 '-m recent' 패턴이 없다"),
    )
    told = "모든 노드로 접속에 성공한다. 파드가 없는 노드도 마찬가지다"
    assert claim == Claim(id="S6", claim=told, ok=False, evidence=checks)
    assert shown == [Heading(id="S6", title="부하분산 (반복 접속)"), *checks, claim]
