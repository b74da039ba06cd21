"""``aicli doctor``: what is wrong with the installation, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click

from aicli._extras import DISTRIBUTION

__all__ = ["Finding", "command", "examine"]


@dataclass(frozen=True)
class Finding:
    """One check: ``status`` is ok, note (nothing is broken) or bad; ``remedy`` says what to do."""

    check: str
    status: str
    detail: str
    remedy: str = ""


@click.command("doctor")
@click.option("-f", "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(format_: str) -> int:
    """Check the installation and say how to mend what is wrong.

    Every runtime and engine that is installed classifies and searches a small picture. The exit code is 1 when
    something is broken.
    """
    import json

    findings = []
    for finding in examine():
        findings.append(finding)
        if format_ == "text":
            click.echo(f"{finding.status:4}  {finding.check}: {finding.detail}")
            if finding.remedy:
                click.echo(f"      -> {finding.remedy}")
    bad = sum(finding.status == "bad" for finding in findings)
    if format_ == "json":
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        click.echo(f"{bad} of {len(findings)} checks found something broken" if bad else "everything works")
    return 1 if bad else 0


def examine() -> Iterator[Finding]:
    """Every check, the foundations first."""
    yield check_python()
    yield from check_namesake()
    for check, work in (
        ("images", check_pillow),
        ("guest", check_guest),
        ("models", check_models),
        ("cache", check_cache),
    ):
        yield guarded(check, work)
    yield from check_pairs()
    yield check_heif()


def guarded(
    check: str, work: Callable[[], Finding], remedy: str = "reinstall aicli from its checkout or wheel"
) -> Finding:
    """A check whose unexpected end is a finding too: doctor must survive what it is asked to diagnose."""
    from aicli._text import visible
    from aicli.cli.console import told
    from aicli.errors import AicliError

    try:
        return work()
    except AicliError as error:
        return Finding(check, "bad", visible(told(error)))
    except Exception as error:
        return Finding(check, "bad", visible(f"{type(error).__name__}: {error}"), remedy)


def check_python() -> Finding:
    import platform
    import sys

    detail = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.prefix}"
    return Finding("python", "ok", detail)


def check_namesake() -> Iterator[Finding]:
    """PyPI's ``aicli``, another project's, brings a command and a package of the same name: one hides the other."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("aicli")
    except PackageNotFoundError:
        return
    detail = f"another project's package 'aicli' {found} is installed too; this one is {DISTRIBUTION}"
    yield Finding("name", "bad", detail, f"pip uninstall aicli, then reinstall {DISTRIBUTION}: they share file names")


def check_pillow() -> Finding:
    from importlib.metadata import version

    from PIL import features

    wanted = {"jpg": "JPEG", "zlib": "PNG", "webp": "WebP", "avif": "AVIF"}
    missing = [name for feature, name in wanted.items() if not has_feature(features, feature)]
    detail = f"pillow {version('pillow')}" + (f" without {', '.join(missing)}" if missing else "")
    if {"JPEG", "PNG"} & set(missing):
        return Finding("images", "bad", detail, "pip install --force-reinstall pillow")
    return Finding("images", "note" if missing else "ok", detail, "pip install -U pillow" if missing else "")


def has_feature(features: Any, name: str) -> bool:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an older Pillow warns of names that it does not know
        return bool(features.check(name))


def check_guest() -> Finding:
    from aicli.guest.client import packaged_guest, read_guest

    size = len(read_guest(None))
    return Finding("guest", "ok", f"{packaged_guest()} ({size:,} bytes)")


def check_models() -> Finding:
    from aicli._text import counted
    from aicli.catalog import verify

    checks = list(verify(()))
    damaged = [check for check in checks if check.status in ("damaged", "absent")]
    if damaged:
        names = sorted({check.model for check in damaged})
        remedy = "; ".join(f"aicli models rm {name} && aicli models pull {name}" for name in names)
        return Finding("models", "bad", f"damaged: {', '.join(names)}", f"{remedy}; bundled ones: reinstall aicli")
    return Finding(
        "models", "ok", f"{counted(len({check.model for check in checks}), 'model')} here, all files as they should be"
    )


def check_cache() -> Finding:
    import os
    import tempfile

    from aicli._files import cache_folder

    folder = cache_folder()
    if folder is None:
        return Finding("cache", "note", "switched off; every run compiles the guest again")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        remedy = "every run compiles the guest again; make the folder writable or set AICLI_CACHE_DIR"
        return Finding("cache", "note", f"{folder}: cannot write ({error.strerror or os.strerror(13)})", remedy)
    return Finding("cache", "ok", str(folder))


def check_pairs() -> Iterator[Finding]:
    """Both tasks on every installed runtime, and on every engine, in a process of its own: some crash."""
    from aicli.nn.engines import ENGINES, installed_engines
    from aicli.wasm import RUNTIMES, installed_runtimes

    runtimes, engines = installed_runtimes(), installed_engines()
    if not runtimes:
        yield Finding("runtime", "bad", f"none of {', '.join(RUNTIMES)} is installed", "pip install wasmtime")
    if not engines:
        yield Finding("engine", "bad", f"none of {', '.join(ENGINES)} is installed", "pip install ai-edge-litert")
    for runtime in runtimes:
        for engine in engines:
            check = f"{runtime} with {engine}"
            yield guarded(check, lambda check=check, r=runtime, e=engine: try_pair(check, r, e))  # type: ignore[misc]


def try_pair(check: str, runtime: str, engine: str) -> Finding:
    from time import perf_counter

    from aicli.cli.batch.job import Job
    from aicli.cli.batch.work import ClassifyRecipe, DetectRecipe
    from aicli.cli.console import told
    from aicli.errors import AicliError
    from aicli.options import ClassifyOptions, DetectOptions
    from aicli.workers.pool import Refused, WorkerPool

    begun = perf_counter()
    recipes = (
        ClassifyRecipe(ClassifyOptions(runtime=runtime, engine=engine)),
        DetectRecipe(DetectOptions(runtime=runtime, engine=engine)),
    )
    for recipe in recipes:
        with WorkerPool(recipe, 1, 60.0) as pool:
            try:
                pool.submit(Job("test picture", test_picture())).result()
            except (AicliError, Refused) as error:
                remedy = f"pip install --force-reinstall {runtime}; or choose another with --runtime and --engine"
                return Finding(check, "bad", told(error.error if isinstance(error, Refused) else error), remedy)
    return Finding(check, "ok", f"classify and detect-faces work ({perf_counter() - begun:.1f} s with two starts)")


def test_picture() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def check_heif() -> Finding:
    from importlib.util import find_spec

    if find_spec("pillow_heif") is None:
        from aicli._extras import install_command

        return Finding("HEIC photos", "note", "not installed", f"{install_command('heif')} for photos of iPhones")
    return Finding("HEIC photos", "ok", "pillow-heif is installed")
