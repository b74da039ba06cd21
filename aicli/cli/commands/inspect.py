"""``aicli inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aicli.build.inspection import Inspection
    from aicli.run.abis import Abi
    from aicli.wasm import ExternType

__all__ = ["command"]

CALL = "aicli run FILE --call"


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.wasm")
@click.option("-f", "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--runtime", metavar="NAME", help="Ask this runtime: wasmer or wasmtime.  [default: wasmtime if installed]"
)
def command(file: Path, format_: str, runtime: str | None) -> int:
    """Say what a WebAssembly module needs and offers, and whether it can run here.

    Exit codes: 0 it can run, 1 it cannot, 2 wrong usage.
    """
    import json

    from aicli.build.inspection import inspect_module
    from aicli.cli.options import spelled
    from aicli.wasm.binary import read_module

    found = inspect_module(read_module(file), str(file), runtime, spelled=spelled)
    facts = found.to_dict()
    for item in facts["functions"]:
        item["usage"] = f"{CALL} {item['usage']}"
    click.echo(json.dumps(facts, indent=2) if format_ == "json" else "\n".join(as_text(found)))
    return 1 if found.problems else 0


def as_text(found: Inspection) -> list[str]:
    """The report, a fact a line. Names in a module are anyone's words: nothing of them may reach the terminal raw."""
    from aicli._text import counted, visible

    lines = [
        f"file         {found.path}",
        f"size         {counted(found.size, 'byte')}",
        f"sha256       {found.sha256}",
        f"tried with   {found.runtime}",
        f"ABI version  {'not asked' if found.abi_version is None else found.abi_version}",
        f"tasks        {', '.join(found.tasks) or 'none'}",
        f"memory       {memory_line(found.memory)}",
        *section("needs", [abi_line(item) for item in found.abis]),
        *section("imports", [extern_line(item) for item in found.imports]),
        *section("exports", [extern_line(item) for item in found.exports]),
        *(
            section("functions", [f"{item.name} {item.type}: {CALL} {item.usage}" for item in found.functions])
            if found.functions
            else []
        ),
        *section("may here", [*found.allowed, "use the memory and time that --guest-memory and --guest-timeout allow"]),
    ]
    if found.problems:
        lines += section("cannot run", list(found.problems))
    else:
        lines.append("can run      yes")
    return [visible(line) for line in lines]


def section(title: str, items: list[str]) -> list[str]:
    return [f"{title if n == 0 else '':<13}{item}" for n, item in enumerate(items or ["nothing"])]


def abi_line(abi: Abi) -> str:
    """One interface with how much of it is used, and what there is to know."""
    used = f"{len(abi.functions)} function{'s' if len(abi.functions) != 1 else ''}"
    note = abi.note if abi.module else "called with --call"
    return f"{abi.title} ({used})" + (f": {note}" if note else "")


def extern_line(item: ExternType) -> str:
    from aicli.wasm.runtime import signature

    name = f"{item.module}.{item.name}" if item.module else item.name
    return f"{name} {signature(item) if item.kind == 'func' else item.kind}"


def memory_line(memory: ExternType | None) -> str:
    if memory is None:
        return "none is exported"
    from aicli._text import counted

    top = "no maximum of its own" if memory.maximum is None else f"at most {counted(memory.maximum, 'page')}"
    return f"starts with {counted(memory.minimum, 'page')} of 64 KiB, {top}"
