"""What the demo prints of a walk, in each language, as wide as the terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from rich.console import Console

from fairway.base.text import columns
from fairway.cli import demo as module
from fairway.cli.demo import _show, _summary, demo
from fairway.cluster.demo import Finished
from fairway.cluster.walk.language import Language
from fairway.cluster.walk.stage import Check, Claim, Heading, Ran
from fairway.cluster.walk.study import SECOND_FAMILY, rows
from fairway.plan.options import Mode


def told(show: Callable[[Console], None], *, width: int = 80) -> list[str]:
    """The lines of a terminal without colours."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(console)
    return console.file.getvalue().splitlines()


def finished(language: Language, *, over: str = "", failed: str = "") -> Finished:
    claims = [
        Claim(id=row.id, claim=language.tell(row.claim), ok=row.id != failed, evidence=(), over=over)
        for row in rows(Mode.NFTABLES)
    ]
    return Finished(claims=claims, way=None)


@pytest.mark.parametrize("over", ["", "IPv6"])
@pytest.mark.parametrize("language", Language)
def test_the_table_of_claims_lines_up(language: Language, over: str) -> None:
    lines = told(lambda console: _summary(console, language, finished(language, over=over)))
    table = [columns(line) for line in lines if line and line[0] in "┏┡│└"]
    assert len(table) > len(rows(Mode.NFTABLES))
    assert len(set(table)) == 1
    assert table[0] <= 80


@pytest.mark.parametrize("width", range(60, 100))
@pytest.mark.parametrize("language", Language)
def test_the_table_holds_every_claim_in_full(language: Language, width: int) -> None:
    """Also where a line of two columns a letter ends at the very edge of its cell."""
    ended = finished(language)
    lines = told(lambda console: _summary(console, language, ended), width=width)
    cells = [[cell.strip() for cell in line.split("│")[1:4]] for line in lines if line.startswith("│")]
    table, last = dict[str, str](), ""
    for row, claim, _ in cells:
        last = row or last
        table[last] = table.get(last, "") + claim
    assert {row: text.replace(" ", "") for row, text in table.items()} == {
        claim.id: claim.claim.replace(" ", "") for claim in ended.claims
    }


@pytest.mark.parametrize(
    ("language", "failed", "last"),
    [
        (Language.ENGLISH, "", "13 of 13 claims hold."),
        (Language.ENGLISH, "S4", "12 of 13 claims hold."),
        (Language.KOREAN, "", "13개 항목 중 13개를 통과했습니다."),
        (Language.KOREAN, "S4", "13개 항목 중 12개를 통과했습니다."),
    ],
)
def test_the_last_line_counts(language: Language, failed: str, last: str) -> None:
    lines = told(lambda console: _summary(console, language, finished(language, failed=failed)))
    assert lines[-1] == last


@pytest.mark.parametrize(
    ("language", "shown", "lines"),
    [
        (Language.ENGLISH, Check(what="all answer", ok=False, seen=["[x]"]), ["  ✘ all answer", "    seen: ['[x]']"]),
        (Language.KOREAN, Check(what="응답이 온다", ok=False, seen=None), ["  ✘ 응답이 온다", "    실제: None"]),
        (Language.ENGLISH, Claim(id="S5", claim="all answer", ok=False, evidence=()), ["  does not hold: all answer"]),
        (Language.KOREAN, Claim(id="S5", claim="접속된다", ok=True, evidence=()), ["  통과: 접속된다"]),
        (
            Language.KOREAN,
            Ran(command="ip a", output="[1]\n" * 20, code=0),
            ["$ ip a", *["  [1]"] * 14, "  ... 외 6줄"],
        ),
    ],
)
def test_what_is_shown(language: Language, shown: object, lines: list[str]) -> None:
    assert told(lambda console: _show(console, language, shown)) == lines


@pytest.mark.parametrize(
    ("language", "begins"), [(Language.ENGLISH, "S5 over IPv6  부하분산 ─"), (Language.KOREAN, "S5 (IPv6)  부하분산 ─")]
)
def test_a_heading_fills_the_line(language: Language, begins: str) -> None:
    heading = Heading(id="S5", title="부하분산", over="IPv6")
    _, line = told(lambda console: _show(console, language, heading))
    assert line.startswith(begins)
    assert columns(line) == 80


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("language", Language)
def test_no_heading_is_cut(language: Language, mode: Mode) -> None:
    for row in (*rows(mode), SECOND_FAMILY):
        heading = Heading(id=row.id, title=language.tell(row.title), over="IPv6" if row.sends else "")
        _, line = told(lambda console, shown=heading: _show(console, language, shown))
        assert line.endswith("──"), line


@pytest.mark.parametrize(("args", "language"), [([], Language.ENGLISH), (["--lang", "ko"], Language.KOREAN)])
def test_only_the_option_chooses_and_json_says_which_it_is(
    monkeypatch: pytest.MonkeyPatch, args: list[str], language: Language
) -> None:
    monkeypatch.setattr(module, "run_demo", lambda _name, **given: finished(given["language"]))
    ran = CliRunner().invoke(demo, [*args, "-o", "json"], env={"LANG": "ko_KR.UTF-8", "LC_ALL": "ko_KR.UTF-8"})
    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["lang"]) == (0, language)
    assert [claim["id"] for claim in told["claims"]] == [row.id for row in rows(Mode.NFTABLES)]
    assert told["claims"][4]["claim"] == language.tell("all answer, also the one without a pod")
