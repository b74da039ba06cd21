"""Every option of classify and detect-faces: what it needs, and what is said where that is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aicli._option import Options
from aicli.cli.options import long_flag
from aicli.options import (
    ClassifyFiles,
    ClassifyOptions,
    DetectFiles,
    DetectOptions,
    FrameOptions,
    InputOptions,
    PictureOptions,
    RunOptions,
    SavingOptions,
)

Words = tuple[str, ...]

HIDES: Words = ("-o", "out/", "--blur")
ALWAYS = {
    *(
        "--max-pixels",
        "--runtime",
        "--engine",
        "--threads",
        "--guest",
        "--guest-memory",
        "--guest-timeout",
        "--isolate",
    ),
    *("--model", "--labels", "--input-range", "--input-size", "--resize", "--channels", "--output-tensor"),
    *(
        "--signature",
        "--locale",
        "--top",
        "--min-score",
        "--min-size",
        "--thresholds",
        "--turns",
        "--border",
        "--factor",
    ),
    *("--max-faces", "--min-box", "--max-box", "--clip", "--all-frames", "--files-from", "--column", "--pull"),
    *("--format", "--output-file", "--cluster", "--jobs", "--on-error", "--timeout", "--quiet", "--verbose"),
    *("--output", "--crop", "--sheet", "--group"),
}
"""Options that have an effect in every call, or whose value is refused by what it is for."""
NEEDS: dict[str, tuple[Words, Words]] = {
    "--null": ((), ("--files-from", "names")),
    "--include": (("*.png",), ("folder",)),
    "--mean": (("1,1,1",), ("--std", "1,1,1")),
    "--std": (("1,1,1",), ("--mean", "1,1,1")),
    "--max-frames": (("3",), ("--all-frames",)),
    "--timing": ((), ("-f", "json")),
    "--resume": ((), ("-O", "r.jsonl")),
    "--overwrite": ((), ("-O", "r.jsonl")),
    "--trust-guest": ((), ("--guest", "guest.wasm")),
    "--picture-format": (("webp",), ("-o", "out/")),
    "--quality": (("50",), ("-o", "out.jpg")),
    "--landmarks": ((), ("-o", "out.png")),
    "--scores": ((), ("-o", "out.png")),
    "--color": (("red",), ("--sheet", "s.png")),
    "--line-width": (("2",), ("-o", "out.png")),
    "--blur": ((), ("-o", "out.png")),
    "--pixelate": ((), ("-o", "out.png")),
    "--cover": (("solid",), ("-o", "out.png")),
    "--shape": (("box",), HIDES),
    "--keep": (("1",), HIDES),
    "--spare": (("220,100",), HIDES),
    "--keep-metadata": ((), HIDES),
    "--margin": (("0.5",), ("--crop", "faces/")),
    "--align": ((), ("--crop", "faces/")),
    "--size": (("64",), ("--crop", "faces/")),
    "--move": ((), ("--group", "groups/")),
    "--copy": ((), ("--group", "groups/")),
    "--link": ((), ("--group", "groups/")),
    "--dry-run": ((), ("--group", "groups/")),
    "--to": (("jsonl",), ()),  # --cluster, whose package is not installed everywhere
}
"""The value of an option that has none without others, and these."""
NOT_ENOUGH: list[tuple[str, ...]] = [
    ("detect-faces", "--color", "red", *HIDES),
    ("detect-faces", "--line-width", "2", *HIDES),
    ("detect-faces", "--line-width", "2", "--sheet", "s.png"),
    ("detect-faces", "--quality", "50", "-o", "out.png"),
    ("detect-faces", "--quality", "50", "-o", "out/", "--picture-format", "png"),
    ("classify", "--quality", "50", "--sheet", "s.png"),
    ("classify", "--picture-format", "webp", "-o", "out.png"),
    ("classify", "--picture-format", "webp", "--sheet", "s.png"),
    ("classify", "--timing", "-f", "csv"),
    ("classify", "--timing", "-O", "r.csv"),
    ("classify", "--overwrite", "-o", "out.png"),
    ("classify", "--resume", "-O", "r.txt"),
    ("classify", "--include", "*.png", "-f", "json"),
]
TOGETHER: list[tuple[str, ...]] = [
    ("detect-faces", "-o", "out/", "--blur", "--pixelate"),
    ("detect-faces", "-o", "out/", "--blur", "--cover", "solid"),
    ("classify", "--group", "groups/", "--move", "--link"),
    ("classify", "-q", "-v"),
    ("detect-faces", "--min-box", "50", "--max-box", "20"),
    ("classify", "--input-range", "0,1", "--mean", "1,1,1", "--std", "1,1,1"),
    ("classify", "-o", "-", "--sheet", "-"),
    ("classify", "--all-frames", "--group", "groups/"),
]
COMMANDS: dict[str, tuple[type[Options], ...]] = {
    "classify": (InputOptions, FrameOptions, ClassifyOptions, ClassifyFiles, SavingOptions, RunOptions),
    "detect-faces": (InputOptions, FrameOptions, DetectOptions, DetectFiles, PictureOptions, RunOptions),
}


def flags_of(command: str) -> set[str]:
    found: set[str] = set()
    for options in COMMANDS[command]:
        for item in options.fields:
            if item.group is not None:
                found |= {long_flag(inner) for inner in item.group.fields}
            elif item.section and not item.argument:
                found |= {f"--{name}" for name in item.switches} if item.switches else {long_flag(item)}
    return found


@pytest.fixture
def folder(tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(examples / "astronaut.png", "photo.png")
    (tmp_path / "folder").mkdir()
    shutil.copy(examples / "astronaut.png", "folder/a.png")
    (tmp_path / "names").write_text("photo.png\0")
    shutil.copy(examples.parent / "aicli" / "_bundled" / "aicli_guest.wasm", "guest.wasm")
    return tmp_path


def test_every_option_stands_in_the_tables() -> None:
    assert flags_of("classify") | flags_of("detect-faces") == ALWAYS | set(NEEDS)
    assert not ALWAYS & set(NEEDS)


@pytest.mark.parametrize("flag", NEEDS)
def test_an_option_that_has_no_effect_says_what_it_needs(aicli: Any, folder: Path, flag: str) -> None:
    value, needed = NEEDS[flag]
    commands = [command for command in COMMANDS if flag in flags_of(command)]
    before = set(folder.rglob("*"))
    for command in commands:
        alone = aicli(command, "photo.png", flag, *value)
        assert (alone.code, alone.out) == (2, ""), alone.err
        assert len(alone.err.splitlines()) == 1
        assert set(folder.rglob("*")) == before, "nothing was begun"
    if flag == "--to":
        return
    photo = () if flag in ("--null", "--move") else ("photo.png",)
    together = aicli(commands[0], *photo, *(("folder",) if flag == "--move" else ()), flag, *value, *needed)
    assert together.code == 0, together.err


@pytest.mark.parametrize("words", NOT_ENOUGH, ids=" ".join)
def test_what_is_not_enough(aicli: Any, folder: Path, words: tuple[str, ...]) -> None:
    command, *options = words
    answer = aicli(command, "photo.png", *options)
    assert answer.code == 2 and ("no effect" in answer.err or "works with" in answer.err), answer.err


@pytest.mark.parametrize("words", TOGETHER, ids=" ".join)
def test_what_does_not_go_together(aicli: Any, folder: Path, words: tuple[str, ...]) -> None:
    command, *options = words
    answer = aicli(command, "photo.png", *options)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err


def test_a_face_to_be_spared_that_is_not_there_is_named(aicli: Any, folder: Path) -> None:
    answer = aicli("detect-faces", "photo.png", *HIDES, "--keep", "1,3", "--spare", "1,1")
    assert answer.code == 0
    assert "photo.png: there is no face number 3, at 1,1 to be left as it is" in answer.err
    assert aicli("detect-faces", "photo.png", *HIDES, "--keep", "1", "--spare", "220,100").err == ""
    with Image.open("photo.png") as photo:
        photo.save("moving.gif", save_all=True, append_images=[photo.point(lambda value: 255 - value), photo])
    frames = "detect-faces", "moving.gif", "--all-frames", "-o", "hidden.gif", "--blur"
    assert aicli(*frames, "--keep", "1,3").err.count("there is no face number 3 to be left as it is") == 1
    assert "left as it is" not in aicli(*frames, "--overwrite", "--keep", "1", "--spare", "220,100").err
