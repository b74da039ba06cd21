"""``aicli info``."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("info")
@click.option("-f", "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(format_: str) -> None:
    """Show runtimes, engines, versions and folders."""
    import json

    facts = collect()
    if format_ == "json":
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")


def collect() -> dict[str, str]:
    """Everything worth knowing when something is wrong, as plain text by name."""
    import os
    import platform
    from importlib.metadata import version

    from aicli import __version__
    from aicli._files import cache_folder
    from aicli.catalog.folders import bundled_models, user_models
    from aicli.guest.client import packaged_guest
    from aicli.nn.engines import ENGINES, available_cores, installed_engines
    from aicli.wasm import RUNTIMES, installed_runtimes

    facts = {
        "aicli": __version__,
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        "cores": str(available_cores()),
    }
    for name in RUNTIMES:
        facts[f"runtime {name}"] = version(name) if name in installed_runtimes() else "not installed"
    for name, (_, distribution) in ENGINES.items():
        facts[f"engine {name}"] = version(distribution) if name in installed_engines() else "not installed"
    facts |= {
        "runtime in use": os.environ.get("AICLI_RUNTIME") or next(iter(installed_runtimes()), "none"),
        "engine in use": os.environ.get("AICLI_ENGINE") or next(iter(installed_engines()), "none"),
        "pillow": version("pillow"),
        "numpy": version("numpy"),
        "guest": str(packaged_guest()),
        "bundled models": str(bundled_models()),
        "your models": str(user_models()),
        "cache": str(cache_folder()),
    }
    return facts
