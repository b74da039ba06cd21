"""Everything that can be set about the service."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from aicli.errors import UsageError
from aicli.nn.engines import available_cores
from aicli.options import Limits, SandboxOptions

__all__ = ["Settings", "is_loopback"]

MIB = 1 << 20
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d{1,5})?")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """Limits in bytes, pixels and seconds. ``data`` is where uploads are kept; ``queue`` counts waiting requests."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = field(default_factory=available_cores)
    threads: int = 1
    queue: int = 64
    token: str | None = None
    functions: bool = False
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    deadline: float = 30.0
    header_time: float = 10.0
    body_time: float = 30.0
    send_time: float = 60.0
    drain_time: float = 30.0
    max_body: int = 32 * MIB
    max_parts: int = 16
    max_pixels: int = 50_000_000
    buffered: int = 512 * MIB
    quarantine_memory: int = 1024 * MIB
    runtime: str | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        if self.functions and not self.token:
            raise UsageError("--functions runs uploaded code and needs a token; give --token or AICLI_SERVE_TOKEN")
        if self.token is not None and (len(self.token) < 16 or not self.token.isascii() or " " in self.token):
            raise UsageError("the token needs at least 16 ASCII characters without spaces; try: openssl rand -hex 24")

        for origin in self.allow_origins:
            if not ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"--allow-origin takes scheme, name and port as a browser sends them, not {origin!r}; "
                    "for example https://photos.example.org"
                )

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
        name at 127.0.0.1 (DNS rebinding).
        """
        if self.allow_hosts:
            return (*LOOPBACK, *self.allow_hosts)
        return LOOPBACK if is_loopback(self.host) else None


def is_loopback(host: str) -> bool:
    return host in LOOPBACK or host.startswith("127.")
