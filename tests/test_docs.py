"""README.md and docs/ do not drift from the program: commands, options and links that they name exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from aicli.cli.main import cli

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for where in ("*.md", "docs/*.md", "examples/*.md", "models/*.md", "guest-rust/*.md")
    for page in PROJECT.glob(where)
)
END = {"|", "||", "&&", ";", "&", ">", ">>", "2>", "<", ")"}


def command_lines(text: str) -> Iterator[str]:
    """What follows ``aicli`` on the lines of code blocks, fenced or indented, and in code spans."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield from re.findall(r"(?:^\s*(?:\$ )?(?:\S+=\S* )*|[|;&] |xargs (?:-\S+ )*)(?:\S*/)?aicli (.*)", line)
        else:
            yield from re.findall(r"`(?:\$ )?aicli ([^`]+)`", line)


def words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if word in END:
            break
        found.append(word)
    return found


def test_make_demo_shows_the_commands_that_it_runs() -> None:
    recipe = (PROJECT / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    shown = re.findall(r'@echo "\\\$\$ aicli (.*)"', recipe)
    assert shown == re.findall(r"@\$\(BIN\)/aicli (.*)", recipe) and len(shown) == 2


def problems(arguments: list[str]) -> Iterator[str]:
    """Whatever click would not know in one command line."""
    command: click.Command = cli
    context = click.Context(cli, info_name="aicli")
    for word in arguments:
        if re.match(r"-[-a-zA-Z0]", word):  # not a lone dash or a negative number
            known = {option for parameter in command.get_params(context) for option in names_of(parameter)}
            name = word.partition("=")[0]
            if name not in known and not (name[:2] in known and name[1] != "-"):
                yield f"{context.command_path} has no option {name}"
        elif isinstance(command, click.Group):
            inner = command.get_command(context, word)
            if inner is None:
                yield f"{context.command_path} has no command {word}"
                return
            command = inner
            context = click.Context(command, info_name=word, parent=context)


def names_of(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts] if isinstance(parameter, click.Option) else []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_the_commands_in_the_docs_exist(page: Path) -> None:
    wrong = []
    for line in command_lines(page.read_text(encoding="utf-8")):
        if re.match(r"[A-Z]|\.\.\.|…", line):  # `aicli COMMAND --help`
            continue
        wrong += [f"{problem} (aicli {line})" for problem in problems(words(line))]
    assert wrong == []


def test_the_readme_is_read() -> None:
    lines = list(command_lines((PROJECT / "README.md").read_text(encoding="utf-8")))
    assert len(lines) >= 4
    assert list(problems(["classify", "--no-such-option"])) == ["aicli classify has no option --no-such-option"]
    assert list(problems(["no-such-command"])) == ["aicli has no command no-such-command"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_overview_lists_each_command() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str()


INSTALLING = re.compile(r"(?:pip3?|pipx|uv) (?:tool |pip )?install[^`|]*|\buvx (?!--from [./])[^`|]*")
NAMESAKE = re.compile(r"(?<![\w./-])aicli(?=[\[=<>~! '\"),;]|$)")


@pytest.mark.parametrize("folder", [".", "aicli", "docs", "examples", "tools", "guest-rust", "models"])
def test_nothing_installs_the_other_project_of_this_name(folder: str) -> None:
    pattern = "**/*" if folder != "." else "*"
    for path in (PROJECT / folder).glob(pattern):
        if path.suffix not in {".md", ".py", ".toml", ".rs", ".js", ".html", ""} or not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            for command in INSTALLING.findall(line):
                assert not NAMESAKE.search(command), f"{path}: {line.strip()}"
