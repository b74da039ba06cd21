"""Running other people's guests: WASI commands and functions with neural networks behind their imports."""

from __future__ import annotations

from aicli.run.abis import Abi, describe_abis, describe_functions
from aicli.run.command import run_guest
from aicli.run.grants import parse_folder, parse_model, parse_preload, parse_variable
from aicli.run.guests import RunRequest
from aicli.run.values import parse_argument, parse_value

__all__ = [
    "Abi",
    "RunRequest",
    "describe_abis",
    "describe_functions",
    "parse_argument",
    "parse_folder",
    "parse_model",
    "parse_preload",
    "parse_value",
    "parse_variable",
    "run_guest",
]
