"""``aicli build-guest``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("build-guest")
@click.option("--source", type=click.Path(path_type=Path), metavar="DIR", help="Compile this crate instead of aicli's.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the module to this file.")
@click.option("--check", is_flag=True, help="Write nothing; fail when the packaged guest differs from its source.")
@click.option("--new", type=click.Path(path_type=Path), metavar="NAME", help="Start a guest crate of your own.")
@click.option("--wasm-opt/--no-wasm-opt", default=True, help="Optimise FILE with wasm-opt when it is installed.")
def command(source: Path | None, out: Path | None, check: bool, new: Path | None, wasm_opt: bool) -> None:
    """Compile the guest to WebAssembly, or start one of your own.

    In a checkout, without options, this refreshes the packaged guest. Elsewhere the guest's source that travels with
    aicli is compiled and --out says where to. The packaged guest is never run through wasm-opt, so that the same
    compiler gives the same bytes everywhere.
    """
    from aicli.errors import UsageError

    if new is not None:
        if source or out or check:
            raise UsageError("--new stands alone; build the new crate with: aicli build-guest --source DIR --out FILE")
        start_new(new)
    elif check:
        if source or out:
            raise UsageError("--check compares the packaged guest with its own source; leave out --source and --out")
        check_packaged()
    else:
        build_one(source, out, wasm_opt)


def say(text: str) -> None:
    click.echo(text, err=True)


def start_new(folder: Path) -> None:
    from aicli.build.template import new_guest

    module = new_guest(folder)
    say(f"{folder} is ready; change its src/preprocess.rs, then run:")
    click.echo(f"aicli build-guest --source {folder} --out {module}.wasm")
    click.echo(f"aicli classify photo.jpg --guest {module}.wasm")


def build_one(source: Path | None, out: Path | None, wasm_opt: bool) -> None:
    """Compiles a crate, checks the module and writes it where it belongs."""
    from aicli._files import write_file
    from aicli.build.compile import build, packaged_source
    from aicli.build.inspection import inspect_module
    from aicli.build.toolchain import find_toolchain
    from aicli.cli.options import spelled
    from aicli.errors import BuildError, UsageError, WriteError
    from aicli.guest.client import packaged_guest

    own = source is None
    in_checkout = False
    if source is None:
        source, in_checkout = packaged_source()
    if out is None:
        if not (own and in_checkout):
            raise UsageError("say where the module goes: --out FILE")
        out = packaged_guest()
    present = packaged_guest().read_bytes() if own and packaged_guest().is_file() else None
    toolchain = find_toolchain(maker_of=present)
    wasm = build(source, toolchain, locked=own, optimise=wasm_opt and out != packaged_guest(), say=say)
    found = inspect_module(wasm, str(out), spelled=spelled)
    if found.problems:
        raise BuildError(f"{source}: the module compiles but cannot run here: {'; '.join(found.problems)}")
    try:
        write_file(out, wasm)
    except WriteError as error:
        raise UsageError(str(error)) from None
    click.echo(f"{out}  {found.size} bytes  sha256 {found.sha256}  tasks {', '.join(found.tasks)}")
    if out == packaged_guest():
        say("the packaged guest is unchanged" if wasm == present else "the packaged guest is new")


def check_packaged() -> None:
    """Raises :class:`aicli.errors.BuildError` when the packaged guest is not what its source compiles to."""
    import hashlib

    from aicli.build.compile import build, packaged_source
    from aicli.build.toolchain import find_toolchain, made_by
    from aicli.errors import BuildError, UsageError
    from aicli.guest.client import packaged_guest

    try:
        present = packaged_guest().read_bytes()
    except OSError as error:
        raise UsageError(f"{packaged_guest()}: cannot be read ({error.strerror}); run: aicli build-guest") from None
    source, _ = packaged_source()
    toolchain = find_toolchain(maker_of=present)
    wasm = build(source, toolchain, locked=True, optimise=False, say=say)
    if wasm == present:
        click.echo(f"the packaged guest is what its source compiles to: sha256 {hashlib.sha256(wasm).hexdigest()}")
        return
    if not toolchain.made(present):
        raise BuildError(
            f"the packaged guest was made by rustc {made_by(present) or 'of an unknown version'} and this is "
            f"{toolchain.version}, which gives other bytes; compare with that compiler"
        )
    raise BuildError(
        f"{packaged_guest()}: differs from what {source} compiles to ({len(present)} and {len(wasm)} bytes); "
        "run: aicli build-guest"
    )
