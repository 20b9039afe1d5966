"""Files of a volume change all at once, and people see no others than are meant."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from fairway.kubelet.volume_files import File
from fairway.kubelet.volume_writer import make_empty, write_files

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def seen(volume: Path) -> dict[str, tuple[bytes, int]]:
    """What a reader finds, by path."""
    names = [entry for entry in volume.iterdir() if not entry.name.startswith("..")]
    files = [path for name in names for path in ([name] if name.is_file() else [*name.rglob("*")]) if path.is_file()]
    return {str(path.relative_to(volume)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in files}


def test_files_are_seen_through_one_link(tmp_path: Path) -> None:
    write_files(tmp_path / "v", {"a": File(b"1", 0o400), "deep/er/b": File(b"2", 0o644)}, NOW)

    assert seen(tmp_path / "v") == {"a": (b"1", 0o400), "deep/er/b": (b"2", 0o644)}
    assert os.readlink(tmp_path / "v" / "a") == "..data/a"
    assert os.readlink(tmp_path / "v" / "deep") == "..data/deep"
    assert os.readlink(tmp_path / "v" / "..data").startswith("..2026_01_02_03_04_05.")


def test_a_change_replaces_all_and_leaves_nothing_old(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    write_files(volume, {"a": File(b"1", 0o644), "gone": File(b"x", 0o644), "d/x": File(b"y", 0o644)}, NOW)
    with (volume / "a").open("rb") as open_before:
        write_files(volume, {"a": File(b"2", 0o644), "new": File(b"3", 0o644)}, NOW)
        assert open_before.read() == b"1"

    assert seen(volume) == {"a": (b"2", 0o644), "new": (b"3", 0o644)}
    assert len([entry for entry in volume.iterdir() if entry.name.startswith("..")]) == 2  # ..data and what it names


def test_a_volume_may_have_no_files(tmp_path: Path) -> None:
    write_files(tmp_path / "v", {}, NOW)
    assert seen(tmp_path / "v") == {}


def test_an_empty_directory_is_for_everybody_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    make_empty(tmp_path / "v")
    (tmp_path / "v" / "mine").write_text("x")
    make_empty(tmp_path / "v")

    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o777
    assert (tmp_path / "v" / "mine").read_text() == "x"
