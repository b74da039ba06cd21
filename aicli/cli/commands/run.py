"""``aicli run``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from aicli.cli.options import SIZE

__all__ = ["command"]


@click.command("run")
@click.option("--dir", "folders", multiple=True, metavar="HOST[:GUEST]", help="Let the guest use this folder.")
@click.option("--read-only", is_flag=True, help="Let it only read in those folders.")
@click.option("--env", "variables", multiple=True, metavar="K=V", help="Set an environment variable for the guest.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=FILE",
    help="A model that the guest loads by this name: a .tflite file or a name of 'aicli models list'.",
)
@click.option(
    "--nn-preload",
    "preloads",
    multiple=True,
    metavar="NAME:ENCODING:DEVICE:FILE",
    help="The same, as WasmEdge spells it: default:TensorflowLite:CPU:model.tflite.",
)
@click.option(
    "--nn-dialect",
    type=click.Choice(["witx", "wit"]),
    default="witx",
    show_default=True,
    help="The numbers in wasi-nn calls; wit for guests made for WAMR.",
)
@click.option(
    "--call",
    "--invoke",
    "call",
    metavar="FUNCTION",
    help="Call this function instead of _start and print what it returns.",
)
@click.option(
    "--arg",
    "values",
    multiple=True,
    metavar="VALUE",
    help="A value for the function, before all ARG: text, a number such as 5 or 5i64, or @FILE.",
)
@click.option(
    "--returns",
    type=click.Choice(["bytes", "i64", "u64"]),
    help="What a function of wasm-bindgen returns; bytes are printed without an end of line.  [default: text or bytes]",
)
@click.option("--infer", is_flag=True, help="The same as --call infer_from_ptrs.")
@click.option("--model-file", type=click.Path(path_type=Path), metavar="FILE", help="The model for infer_from_ptrs.")
@click.option("--image", type=click.Path(path_type=Path), metavar="FILE", help="The image for infer_from_ptrs.")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="Print this file's line for a number.")
@click.option("--runtime", metavar="NAME", help="WebAssembly runtime: wasmtime, the one that has WASI here.")
@click.option("--engine", metavar="NAME", envvar="AICLI_ENGINE", help="TFLite engine: litert or tflite-runtime.")
@click.option("--threads", type=click.IntRange(1, 64), help="Threads of the network.  [default: the cores, at most 4]")
@click.option("--guest-memory", type=SIZE, metavar="SIZE", help="Memory that the guest may use.  [default: 1G]")
@click.option(
    "--guest-timeout",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Time that the guest may take; 0 for any.",
)
@click.argument("guest", type=click.Path(path_type=Path), metavar="GUEST.wasm")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[--] [ARG]...")
def command(guest: Path, arguments: tuple[str, ...], **options: Any) -> int:
    """Run a WebAssembly command or function that was made for wasi-nn, WasmEdge or SSVM.

    \b
        aicli run --dir . classify.wasm model.tflite photo.jpg
        aicli run --model default=mobilenet.tflite guest.wasm < photo.rgb
        aicli run mobilenet.wasm --call infer photo.jpg
        aicli run function.wasm --call infer --arg 40 photo.jpg > boxes.png
        aicli run adder.wasm --call add 2 3

    Options may stand before or after GUEST.wasm; all other words are the guest's arguments, and so is whatever follows
    a --. Standard streams and the exit code are a command's own. A function gets numbers and the contents of files, and
    what it returns is printed; without --call it is the only one of its module. A guest sees no files, variables or
    models but those given.
    """
    from aicli.cli.console import EXIT_INTERRUPTED, complain, told
    from aicli.errors import GuestTimeout
    from aicli.wasm.runtime import Limits

    timeout = options.pop("guest_timeout") or None
    memory = options.pop("guest_memory")
    limits = Limits(timeout=timeout) if memory is None else Limits(memory, timeout)
    try:
        return run(guest, arguments, limits, options)
    except KeyboardInterrupt:
        # The guest may still be in native code, which nothing but the end of the process stops.
        complain("interrupted")
        sys.stdout.flush()
        os._exit(EXIT_INTERRUPTED)
    except GuestTimeout as error:
        complain(told(error.of(guest)))
        sys.stdout.flush()
        os._exit(error.exit_code)


def run(guest: Path, arguments: tuple[str, ...], limits: Any, options: dict[str, Any]) -> int:
    from aicli.cli.console import complain
    from aicli.run import (
        RunRequest,
        parse_argument,
        parse_folder,
        parse_model,
        parse_preload,
        parse_variable,
        run_guest,
    )

    read_only = options.pop("read_only")
    models = [parse_model(text) for text in options.pop("models")]
    models += [parse_preload(text) for text in options.pop("preloads")]
    call, values = function_of(options)
    request = RunRequest(
        guest,
        arguments,
        dict(parse_variable(text) for text in options.pop("variables")),
        tuple(parse_folder(text, read_only=read_only) for text in options.pop("folders")),
        dict(models),
        dialect=options.pop("nn_dialect"),
        call=call,
        values=tuple(map(parse_argument, values)),
        returns=options.pop("returns") or "",
        limits=limits,
        **options,
    )
    return run_guest(request, complain)


def function_of(options: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The function to call and the values of --arg; ``--infer`` is another way to name one of each."""
    from aicli.errors import UsageError

    infer, call, values = options.pop("infer"), options.pop("call"), options.pop("values")
    files = options.pop("model_file"), options.pop("image")
    if not infer:
        if any(files):
            raise UsageError("--model-file and --image belong to --infer")
        return call, values
    if call is not None or None in files:
        raise UsageError("--infer needs --model-file FILE and --image FILE, and no --call; --labels names the answer")
    return "infer_from_ptrs", (*(f"@{file}" for file in files), *values)
