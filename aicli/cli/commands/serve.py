"""``aicli serve``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from aicli.cli.options import SIZE

__all__ = ["command"]

PACKAGES = ("starlette", "httptools", "python_multipart")


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--workers", type=click.IntRange(1, 256), metavar="N", help="Worker processes.  [default: the cores]")
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Threads of one worker's network; more workers use the cores better.",
)
@click.option("--queue", type=click.IntRange(0), default=64, show_default=True, help="Requests that may wait.")
@click.option(
    "--token",
    envvar="AICLI_SERVE_TOKEN",
    metavar="TOKEN",
    help="Secret for everything that stores; better given as AICLI_SERVE_TOKEN.",
)
@click.option("--functions", is_flag=True, help="Let holders of the token upload and run WebAssembly functions.")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Where uploads are kept."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="A further name to answer to (behind a proxy).")
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="A site whose pages may use the API, as https://example.org.",
)
@click.option(
    "--deadline", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds for one request's work."
)
@click.option("--max-body", type=SIZE, default="32M", show_default=True, metavar="SIZE", help="Largest request body.")
@click.option(
    "--max-pixels", type=click.IntRange(1), default=50_000_000, show_default=True, metavar="N", help="Largest photo."
)
@click.option("--header-time", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds for headers.")
@click.option("--body-time", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds for a body.")
@click.option(
    "--send-time", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds for taking an answer."
)
@click.option(
    "--drain-time", type=click.FloatRange(0), default=30.0, show_default=True, help="Seconds to shut down in."
)
@click.option("--runtime", metavar="NAME", envvar="AICLI_RUNTIME", help="WebAssembly runtime: wasmer or wasmtime.")
@click.option("--engine", metavar="NAME", envvar="AICLI_ENGINE", help="TFLite engine: litert or tflite-runtime.")
def command(
    workers: int | None, data: Path | None, allow_host: tuple[str, ...], allow_origin: tuple[str, ...], **options: Any
) -> int:
    """Serve the same functions over HTTP, with a web page.

    \b
        aicli serve
        curl --data-binary @photo.jpg http://127.0.0.1:8080/v1/classify
        curl --data-binary @group.jpg -H "Accept: image/png" http://127.0.0.1:8080/v1/faces -o boxes.png

    The page is at http://127.0.0.1:8080/, the API's description at /docs. Logs go to standard error, a line of JSON
    each. SIGTERM or Ctrl-C lets requests end first.
    """
    from aicli._extras import install_command
    from aicli.errors import UnavailableError

    if any(find_spec(package) is None for package in PACKAGES):
        raise UnavailableError(f"aicli serve needs more packages; run: {install_command('serve')}")
    from aicli.catalog.folders import user_models
    from aicli.serve.http.server import run
    from aicli.serve.settings import Settings

    if workers is not None:
        options["workers"] = workers
    kept = data or user_models().parent / "serve"
    return run(Settings(data=kept, allow_hosts=allow_host, allow_origins=allow_origin, **options))
