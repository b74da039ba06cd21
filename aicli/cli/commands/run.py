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
    "--nn-dialect",
    type=click.Choice(["witx", "wit"]),
    default="witx",
    show_default=True,
    help="The numbers in wasi-nn calls; wit for guests made for WAMR.",
)
@click.option("--invoke", metavar="EXPORT", help="Call this export instead of _start and print what it returns.")
@click.option("--infer", is_flag=True, help="Call alloc and infer_from_ptrs of the module with a model and an image.")
@click.option("--model-file", type=click.Path(path_type=Path), metavar="FILE", help="The model for --infer.")
@click.option("--image", type=click.Path(path_type=Path), metavar="FILE", help="The image for --infer.")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="The class names for --infer.")
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
    """Run a WebAssembly command that was made for wasi-nn, WasmEdge or SSVM.

    \b
        aicli run --dir . classify.wasm model.tflite photo.jpg
        aicli run --model default=mobilenet.tflite guest.wasm < photo.rgb
        aicli run adder.wasm --invoke add 2 3

    Options may stand before or after GUEST.wasm; all other words are the guest's arguments, and so is whatever follows
    a --. Standard streams and the exit code are the guest's own. It sees no files, variables or models but those given.
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
    from aicli.errors import UsageError
    from aicli.run import RunRequest, parse_folder, parse_model, parse_variable, run_guest

    infer = options.pop("infer")
    read_only = options.pop("read_only")
    model_file, image, labels = (options.pop(name) for name in ("model_file", "image", "labels"))
    request = RunRequest(
        guest,
        arguments,
        dict(parse_variable(text) for text in options.pop("variables")),
        tuple(parse_folder(text, read_only=read_only) for text in options.pop("folders")),
        dict(parse_model(text) for text in options.pop("models")),
        dialect=options.pop("nn_dialect"),
        limits=limits,
        **options,
    )
    if infer:
        if model_file is None or image is None:
            raise UsageError("--infer needs --model-file FILE and --image FILE; --labels FILE names the answer")
        from aicli.run.infer import infer_label

        label = infer_label(request, model_file, image, labels)
        click.echo(label)
        return 0
    if model_file or image or labels:
        raise UsageError("--model-file, --image and --labels belong to --infer")
    return run_guest(request, complain)
