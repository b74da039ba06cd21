"""Commands made from option classes: click options from the fields, objects from click's values.

A command is a function whose parameters are annotated with classes of :mod:`aicli.options`::

    @option_command("classify")
    def command(options: ClassifyOptions, run: RunOptions) -> int: ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

import click
from click.core import ParameterSource

from aicli._option import Option, Options
from aicli.options import ClassifyOptions, DetectOptions, FrameOptions, InputOptions, Limits, PictureOptions, RunOptions

__all__ = ["SIZE", "given", "option_command", "some_options", "spelled"]

SECTIONS = (
    *("Input", "Model", "Output", "Pictures", "Run", "Call", "Grants"),
    *("Address", "Access", "Uploads", "Training", "Work", "Times", "Sandbox"),
)
"""The sections of a long ``--help``, in their order."""
OTHER = "Other"
COLUMN = 30
"""Where the explanations begin, as with click's own."""

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


if TYPE_CHECKING:
    IntType = click.ParamType[int]
else:  # generic from click 8.4 on
    IntType = click.ParamType


class SizeType(IntType):
    """A number of bytes: ``268435456``, ``256M``, ``1GiB``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if match is None or int(match[1]) == 0:
            self.fail(f"'{value}' is not a size; write it as 256M or 1G", param, ctx)
        return int(match[1]) * UNITS[match[2].upper()]


SIZE = SizeType()


class SectionedOption(click.Option):
    """An option that knows its section of ``--help``."""

    section = OTHER


class SectionedCommand(click.Command):
    """A command whose ``--help`` lists its options in sections, all in the same columns."""

    def make_parser(self, ctx: click.Context) -> Any:
        """click's, which takes ``-m`` for a long option first and looks for names like it: 2 ms, for nothing."""
        parser = super().make_parser(ctx)
        known, short, any_option = (
            getattr(parser, name, None) for name in ("_short_opt", "_match_short_opt", "_process_opts")
        )
        if known is not None and callable(short) and callable(any_option):
            vars(parser)["_process_opts"] = lambda arg, state: (short if arg in known else any_option)(arg, state)
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, which lets the last of several switches of one option win in silence."""
        words = args[: args.index("--")] if "--" in args else args
        switches: dict[str, list[str]] = {}
        for param in self.params:
            if isinstance(param, click.Option) and param.name and isinstance(param.flag_value, str):
                switches.setdefault(param.name, []).extend(flag for flag in param.opts if flag in words)
        for flags in switches.values():
            if len(flags) > 1:
                raise click.UsageError(f"{flags[0]} and {flags[1]} ask for different things; choose one", ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {name: [] for name in (*SECTIONS, OTHER)}
        for param in self.get_params(ctx):
            record = None if isinstance(param, click.Argument) else param.get_help_record(ctx)
            if record is not None:
                rows[getattr(param, "section", OTHER)].append(record)
        widest = max(len(first) for section in rows.values() for first, _ in section)
        for name, section in rows.items():
            if section:
                with formatter.section(name):
                    formatter.write_dl([(first.ljust(min(widest, COLUMN)), text) for first, text in section], COLUMN)


def option_command(name: str, **only: Sequence[str]) -> Callable[[Callable[..., int]], click.Command]:
    """Makes a command of a function whose parameters are annotated with option classes.

    ``only`` names for a parameter the options of its class that the command has; the others keep their defaults.
    """

    def decorate(function: Callable[..., int]) -> click.Command:
        classes = {parameter: hint for parameter, hint in get_type_hints(function).items() if parameter != "return"}

        def callback(**values: Any) -> int:
            return function(**{parameter: made(options, values) for parameter, options in classes.items()})

        every = ((param, only.get(key)) for key, options in classes.items() for param in click_params(options))
        params = [param for param, names in every if names is None or param.name in names]
        assert len({flag for param in params for flag in param.opts}) == sum(len(param.opts) for param in params)
        callback.__doc__ = function.__doc__
        return click.command(name, cls=SectionedCommand, params=params)(callback)

    return decorate


def some_options(options: type[Options], *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command some options of a class, in this order; their values arrive as the keywords of these names."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        fields = {item.name: item for item in options.fields}
        params = [param for name in names for param in click_options(fields[name], name)]
        present = function.__dict__.setdefault("__click_params__", [])
        present.extend(reversed(params))
        return function

    return decorate


def given(name: str) -> bool:
    """Whether the user gave the option of this name to the command that runs."""
    source = click.get_current_context().get_parameter_source(name)
    return source not in (None, ParameterSource.DEFAULT)


def spelled(option: str) -> str:
    """A hint's option as the command line has it: ``--guest-memory`` for ``limits.memory``."""
    option = option.rpartition(":")[2]
    group, _, name = option.rpartition(".")
    classes = (ClassifyOptions, DetectOptions, PictureOptions, InputOptions, FrameOptions, RunOptions)
    for options in (Limits,) if group == "limits" else classes:
        for item in options.fields:
            if item.name == name:
                return long_flag(item)
    return f"--{name.replace('_', '-')}"


def made(options: type[Options], values: Mapping[str, Any], prefix: str = "") -> Options:
    """The object of a class of options from click's values."""
    found: dict[str, Any] = {}
    for item in options.fields:
        if item.kind == "group":
            found[item.name] = made(item.group, values, f"{item.name}_")
        elif item.section and prefix + item.name in values:
            value = values[prefix + item.name]
            found[item.name] = item.default if value is None else value
    return options(**found)


def click_params(options: type[Options], prefix: str = "") -> Iterator[click.Parameter]:
    for item in options.fields:
        if item.kind == "group":
            yield from click_params(item.group, f"{item.name}_")
        elif item.argument:
            nargs = -1 if item.kind == "texts" else 1
            required = nargs == 1 and not item.optional
            yield click.Argument(
                [prefix + item.name], nargs=nargs, required=required, type=click.UNPROCESSED, metavar=item.metavar
            )
        elif item.section:
            for param in click_options(item, prefix + item.name):
                param.section = item.section
                yield param


def long_flag(item: Option) -> str:
    named = (flag for flag in item.flags if flag.startswith("--"))
    return next(named, f"--{item.name.replace('_', '-')}")


def click_options(item: Option, name: str) -> Iterator[SectionedOption]:
    """The option, or for switches each of them."""
    if item.switches is not None:
        for value, text in item.switches.items():
            yield SectionedOption([f"--{value}", name], flag_value=value, help=text)
        return
    flags = item.flags or (long_flag(item),)
    if item.kind == "boolean":
        yield SectionedOption([*flags, name], is_flag=True, help=item.help)
        return
    # What click fills in is also what it shows: a default of no meaning to people is left to the class.
    default = item.default if item.default and not item.shown and item.kind != "texts" else None
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    yield SectionedOption(
        [*flags, name],
        type=click_type(item),
        default=default,
        show_default=default is not None,
        multiple=item.kind == "texts",
        nargs=item.length if item.kind == "numbers" else 1,
        metavar=item.metavar,
        envvar=item.environment,
        shell_complete=complete_models(item.models) if item.models else None,
        help=item.help + (f"  [default: {item.shown}]" if item.shown else ""),
    )


class Integers(click.IntRange):
    """An integer within limits, which click's message about a word that is none calls an "integer range"."""

    name = "integer"


class Numbers(click.FloatRange):
    """A number within limits, likewise."""

    name = "number"


def click_type(item: Option) -> click.ParamType[Any]:
    if item.size:
        return SIZE
    if item.kind == "choice":
        return click.Choice(item.choices)
    if item.kind == "integer":
        return Integers(whole(item.least), whole(item.most))
    if item.kind in ("number", "numbers"):
        return Numbers(item.least, item.most, min_open=item.above)
    return click.STRING


def whole(limit: float | None) -> int | None:
    return None if limit is None else int(limit)


def complete_models(task: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """Shell completion of model names; file names are left to the shell when none fits."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from aicli.catalog.entries import all_entries
        from aicli.errors import AicliError

        try:
            entries = [entry for entry in all_entries() if entry.task == task]
        except AicliError:
            entries = []
        names = [name for entry in entries for name in (entry.name, *entry.aliases) if name.startswith(incomplete)]
        return list(names) or [CompletionItem(incomplete, type="file")]

    return complete
