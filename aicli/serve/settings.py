"""Everything that can be set about the service."""

import re
from pathlib import Path

from aicli._option import Options, option
from aicli.errors import Hint, UsageError
from aicli.options import Limits, SandboxOptions

__all__ = ["Settings", "is_loopback"]

MIB = 1 << 20
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d{1,5})?")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Settings(Options):
    """The options of ``aicli serve``, and what no option changes: sizes are bytes, times seconds."""

    host: str = option(default="127.0.0.1", help="Address to listen on.", section="Address", metavar="ADDRESS")
    port: int = option(
        default=8080, help="Port; 0 takes a free one.", section="Address", metavar="N", least=0, most=65535
    )
    allow_hosts: tuple[str, ...] = option(
        default=(),
        help="A further name to answer to (behind a proxy).",
        section="Address",
        flags=("--allow-host",),
        metavar="NAME",
    )
    allow_origins: tuple[str, ...] = option(
        default=(),
        help="A site whose pages may use the API, as https://example.org.",
        section="Address",
        flags=("--allow-origin",),
        metavar="ORIGIN",
    )
    token: str | None = option(
        default=None,
        help="Secret for everything that stores; better given as AICLI_SERVE_TOKEN.",
        section="Uploads",
        metavar="TOKEN",
        environment="AICLI_SERVE_TOKEN",
    )
    functions: bool = option(
        default=False, help="Let holders of the token upload and run WebAssembly functions.", section="Uploads"
    )
    train: bool = option(
        default=False, help="Train classifiers on photos that are sent, and show the page for it.", section="Training"
    )
    train_time: float = option(
        default=300.0, help="Time for one training.", section="Training", metavar="SECONDS", least=1
    )
    data: str | Path | None = option(
        default=None, help="Where uploads are kept.", section="Uploads", metavar="FOLDER", kw_only=False
    )
    workers: int | None = option(
        default=None, help="Worker processes.", section="Work", metavar="N", shown="the cores", least=1, most=256
    )
    threads: int = option(
        default=1,
        help="Threads of one worker's network; more workers use the cores better.",
        section="Work",
        metavar="N",
        least=1,
        most=64,
    )
    queue: int = option(default=64, help="Requests that may wait.", section="Work", metavar="N", least=0)
    max_body: int = option(
        default=32 * MIB,
        help="Largest request body.",
        section="Work",
        metavar="SIZE",
        shown="32M",
        least=1,
        size=True,
    )
    max_pixels: int = option(default=50_000_000, help="Largest photo.", section="Work", metavar="N", least=1)
    deadline: float = option(
        default=30.0, help="Time for one request's work.", section="Times", metavar="SECONDS", least=0.1
    )
    header_time: float = option(default=10.0, help="Time for headers.", section="Times", metavar="SECONDS", least=0.1)
    body_time: float = option(default=30.0, help="Time for a body.", section="Times", metavar="SECONDS", least=0.1)
    send_time: float = option(
        default=60.0, help="Time for taking an answer.", section="Times", metavar="SECONDS", least=0.1
    )
    drain_time: float = option(default=30.0, help="Time to shut down in.", section="Times", metavar="SECONDS", least=0)
    runtime: str | None = option(
        default=None,
        help="WebAssembly runtime: wasmer or wasmtime.",
        section="Sandbox",
        metavar="NAME",
        environment="AICLI_RUNTIME",
        shown="the first installed",
    )
    engine: str | None = option(
        default=None,
        help="TFLite engine: litert or tflite-runtime.",
        section="Sandbox",
        metavar="NAME",
        environment="AICLI_ENGINE",
        shown="the first installed",
    )
    max_parts: int = option(default=16)
    train_body: int = option(default=128 * MIB)
    train_photos: int = option(default=2000)
    train_classes: int = option(default=100)
    buffered: int = option(default=512 * MIB)
    quarantine_memory: int = option(default=1024 * MIB)

    def check(self) -> None:
        if self.functions and not self.token:
            hint = Hint("serve:token", "give {} or AICLI_SERVE_TOKEN")
            raise UsageError("functions are uploaded code that is run, which needs a token", hint=hint)
        if self.token is not None and (len(self.token) < 16 or not self.token.isascii() or " " in self.token):
            raise UsageError("the token needs at least 16 ASCII characters without spaces; try: openssl rand -hex 24")
        for name in self.allow_hosts:
            if not HOST.fullmatch(name):
                hint = Hint("serve:allow_host", "{} takes the name alone, as a browser sends it: photos.example.org")
                raise UsageError(f"{name!r} is not the name of a host", hint=hint)
        for origin in self.allow_origins:
            if not ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"{origin!r} is not an origin",
                    hint=Hint(
                        "serve:allow_origin",
                        "{} takes scheme, name and port as a browser sends them: https://photos.example.org",
                    ),
                )

    @property
    def folder(self) -> Path:
        """Where uploads are kept: by default beside the user's models."""
        from aicli.catalog.folders import user_models

        return user_models().parent / "serve" if self.data is None else Path(self.data)

    @property
    def processes(self) -> int:
        """How many workers there are."""
        from aicli.nn.engines import available_cores

        return available_cores() if self.workers is None else self.workers

    def sandbox(self) -> SandboxOptions:
        """Where the workers' guests run, and what they may use."""
        return SandboxOptions(
            max_pixels=self.max_pixels,
            runtime=self.runtime,
            engine=self.engine,
            threads=self.threads,
            limits=Limits(timeout=self.deadline),
        )

    @property
    def host_names(self) -> tuple[str, ...] | None:
        """The names that a Host header may have; ``None``: any.

        On loopback only local names are answered: else a web page elsewhere could reach the service by pointing its own
        name at 127.0.0.1 (DNS rebinding). A further name is answered to with and without the dot of the DNS root, which
        browsers send as it was typed; ``localhost.`` is not, which a resolver may point anywhere.
        """
        if self.allow_hosts:
            names = [name.lower().removesuffix(".") for name in self.allow_hosts]
            return (*LOOPBACK, *(f"{name}{dot}" for name in names for dot in ("", ".")))
        return LOOPBACK if is_loopback(self.host) else None


def is_loopback(host: str) -> bool:
    return host in LOOPBACK or host.startswith("127.")
