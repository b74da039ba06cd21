"""``aicli run``."""

import os
import sys
from pathlib import Path
from typing import Literal

from aicli._option import Options, option
from aicli.cli.options import option_command
from aicli.options import Limits

__all__ = ["CommandOptions", "command"]


class CommandOptions(Options):
    """What ``aicli run`` is asked for, as it stands on the command line."""

    guest: str = option(default="", argument=True, section="Run", metavar="GUEST.wasm")
    arguments: tuple[str, ...] = option(default=(), argument=True, section="Run", metavar="[--] [ARG]...")
    folders: tuple[str, ...] = option(
        default=(), help="Let the guest use this folder.", section="Grants", flags=("--dir",), metavar="HOST[:GUEST]"
    )
    read_only: bool = option(default=False, help="Let it only read in those folders.", section="Grants")
    variables: tuple[str, ...] = option(
        default=(),
        help="Set an environment variable for the guest.",
        section="Grants",
        flags=("--env",),
        metavar="K=V",
    )
    models: tuple[str, ...] = option(
        default=(),
        help="A model that the guest loads by this name: a .tflite file or a name of 'aicli models list'.",
        section="Grants",
        flags=("--model",),
        metavar="NAME=FILE",
    )
    preloads: tuple[str, ...] = option(
        default=(),
        help="The same, as WasmEdge spells it: default:TensorflowLite:CPU:model.tflite.",
        section="Grants",
        flags=("--nn-preload",),
        metavar="NAME:ENCODING:DEVICE:FILE",
    )
    call: str | None = option(
        default=None,
        help="Call this function instead of _start and print what it returns.",
        section="Call",
        flags=("--call", "--invoke"),
        metavar="FUNCTION",
    )
    values: tuple[str, ...] = option(
        default=(),
        help="A value for the function, before all ARG: text, a number such as 5 or 5i64, or @FILE.",
        section="Call",
        flags=("--arg",),
        metavar="VALUE",
    )
    returns: Literal["bytes", "i64", "u64"] | None = option(
        default=None,
        help="What a function of wasm-bindgen returns; bytes are printed without an end of line.",
        section="Call",
        shown="text or bytes",
    )
    nn_dialect: Literal["witx", "wit"] = option(
        default="witx", help="The numbers in wasi-nn calls; wit for guests made for WAMR.", section="Call"
    )
    infer: bool = option(default=False, help="The same as --call infer_from_ptrs.", section="Call")
    model_file: str | None = option(default=None, help="The model for infer_from_ptrs.", section="Call", metavar="FILE")
    image: str | None = option(default=None, help="The image for infer_from_ptrs.", section="Call", metavar="FILE")
    labels: str | None = option(
        default=None, help="Print this file's line for a number.", section="Call", metavar="FILE"
    )
    runtime: str | None = option(
        default=None,
        help="WebAssembly runtime: wasmtime, the one that has WASI here.",
        section="Sandbox",
        metavar="NAME",
    )
    engine: str | None = option(
        default=None,
        help="TFLite engine: litert or tflite-runtime.",
        section="Sandbox",
        metavar="NAME",
        environment="AICLI_ENGINE",
        shown="the first installed",
    )
    no_xnnpack: bool = option(
        default=False,
        help="Run networks without XNNPACK: slower, with the scores of hosts that lack it to the last digit.",
        section="Sandbox",
    )
    isolate: bool = option(
        default=False,
        help="Run the models in a process of their own that can reach nothing and whose crash the guest survives.",
        section="Sandbox",
    )
    threads: int | None = option(
        default=None,
        help="Threads of the network.",
        section="Sandbox",
        metavar="N",
        shown="the cores, at most 4",
        least=1,
        most=64,
    )
    guest_memory: int = option(
        default=Limits.memory,
        help="Memory that the guest may use.",
        section="Sandbox",
        metavar="SIZE",
        shown="1G",
        least=1,
        size=True,
    )
    guest_timeout: float = option(
        default=60.0, help="Time that the guest may take; 0 for any.", section="Sandbox", metavar="SECONDS", least=0
    )

    @property
    def limits(self) -> Limits:
        return Limits(self.guest_memory, self.guest_timeout or None)


@option_command("run")
def command(options: CommandOptions) -> int:
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

    try:
        return run(options)
    except KeyboardInterrupt:
        # The guest may still be in native code, which nothing but the end of the process stops.
        complain("interrupted")
        sys.stdout.flush()
        os._exit(EXIT_INTERRUPTED)
    except GuestTimeout as error:
        complain(told(error.of(options.guest)))
        sys.stdout.flush()
        os._exit(error.exit_code)


def run(options: CommandOptions) -> int:
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

    call, values = function_of(options)
    request = RunRequest(
        Path(options.guest),
        options.arguments,
        dict(map(parse_variable, options.variables)),
        tuple(parse_folder(text, read_only=options.read_only) for text in options.folders),
        dict([*map(parse_model, options.models), *map(parse_preload, options.preloads)]),
        dialect=options.nn_dialect,
        call=call,
        values=tuple(map(parse_argument, values)),
        returns=options.returns or "",
        labels=Path(options.labels) if options.labels else None,
        runtime=options.runtime,
        engine=options.engine,
        xnnpack=not options.no_xnnpack,
        isolate=options.isolate,
        threads=options.threads,
        limits=options.limits,
    )
    if request.suspects and sys.platform != "linux":  # there they have a process apart from this one
        from aicli.cli.last_words import name_when_killed

        name_when_killed(", ".join(request.suspects))
    return run_guest(request, complain)


def function_of(options: CommandOptions) -> tuple[str | None, tuple[str, ...]]:
    """The function to call and the values of --arg; ``--infer`` is another way to name one of each."""
    from aicli.errors import UsageError

    if not options.infer:
        if options.model_file or options.image:
            raise UsageError("--model-file and --image belong to --infer")
        return options.call, options.values
    if options.call is not None or options.model_file is None or options.image is None:
        raise UsageError("--infer needs --model-file FILE and --image FILE, and no --call; --labels names the answer")
    return "infer_from_ptrs", (f"@{options.model_file}", f"@{options.image}", *options.values)
