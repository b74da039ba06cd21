"""Running other people's guests: WASI commands with neural networks behind their imports."""

from __future__ import annotations

from aicli.run.abis import Abi, describe_abis
from aicli.run.command import RunRequest, run_guest
from aicli.run.grants import parse_folder, parse_model, parse_variable

__all__ = [
    "Abi",
    "RunRequest",
    "describe_abis",
    "parse_folder",
    "parse_model",
    "parse_variable",
    "run_guest",
]
