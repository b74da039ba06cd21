"""Short options are found without click's search for long ones that are like them, and mean what click says."""

from functools import partial
from typing import Any

import click
import pytest

from aicli.cli.commands.classify import command

LINES = (
    "-m a.tflite photo.jpg",
    "photo.jpg -ma.tflite -k 3",
    "-k3 -vf json photo.jpg",
    "-k=3 photo.jpg",
    "-m -k photo.jpg",
    "-vx photo.jpg",
    "-x photo.jpg",
    "-model a.tflite photo.jpg",
    "-m",
    "--mod a.tflite photo.jpg",
    "--top 3 -- -m",
    "-",
)


def parsed(line: str, parser: str) -> tuple[Any, ...]:
    with click.Context(command) as context:
        make = command.make_parser if parser == "ours" else partial(click.Command.make_parser, command)
        try:
            values, words, order = make(context).parse_args(line.split())
        except click.UsageError as error:
            return type(error), error.format_message()
        return values, words, [param.name for param in order]


@pytest.mark.parametrize("line", LINES)
def test_it_is_parsed_as_click_parses_it(line: str) -> None:
    assert parsed(line, "ours") == parsed(line, "click's")


def test_no_similar_names_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was looked for names like -m")

    monkeypatch.setattr("difflib.get_close_matches", refuse)
    assert parsed("-m a.tflite -k 3 photo.jpg", "ours")[0]["model"] == "a.tflite"
