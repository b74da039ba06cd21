"""``aicli cache``."""

from __future__ import annotations

import click

from aicli._text import counted
from aicli.cli.console import NearGroup

__all__ = ["command"]


@click.group("cache", cls=NearGroup, invoke_without_command=True)
@click.option("-f", "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def command(ctx: click.Context, format_: str) -> None:
    """Show the cache of compiled guests; 'aicli cache clear' empties it.

    AICLI_CACHE_DIR moves the cache, AICLI_NO_CACHE=1 turns it off.
    """
    if ctx.invoked_subcommand is None:
        show(format_)


@command.command("show")
@click.option("-f", "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def show_command(format_: str) -> None:
    """Show where the cache is and what it holds."""
    show(format_)


@command.command("clear")
def clear() -> None:
    """Remove every compiled guest."""
    from aicli.wasm.cache import default_cache

    cache = default_cache()
    freed = cache.clear() if cache else 0
    click.echo(f"{counted(freed, 'byte')} freed")


def show(format_: str) -> None:
    import json
    import time

    from aicli.wasm.cache import default_cache

    cache = default_cache()
    entries = cache.entries() if cache else []
    total = sum(entry.size for entry in entries)
    problem = cache.problem() if cache else "it is turned off (AICLI_NO_CACHE) or there is no home folder"
    if format_ == "json":
        facts = {
            "folder": str(cache.folder) if cache else None,
            "problem": problem,
            "bytes": total,
            "max_bytes": cache.max_bytes if cache else 0,
            "entries": [{"key": entry.key, "bytes": entry.size, "used": int(entry.used)} for entry in entries],
        }
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"folder   {cache.folder if cache else 'none'}")
    if problem:
        click.echo(f"not used {problem}")
    if cache:
        click.echo(f"size     {total} of at most {cache.max_bytes} bytes, {counted(len(entries), 'compiled module')}")
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        click.echo(f"{entry.key[:16]}  {entry.size:>10}  {used}")
