"""The calling conventions of functions: who allocates, where results lie, how errors come back."""

from __future__ import annotations

from aicli.run.conventions.base import Convention, Described, Guest
from aicli.run.conventions.plain import INFER, InferFromPointers, Numbers
from aicli.run.conventions.reactr import Reactr
from aicli.run.conventions.wasm_bindgen import WasmBindgen
from aicli.run.conventions.wasmedge_bindgen import WasmedgeBindgen, WasmedgeBindgenReturning
from aicli.wasm.runtime import ExternType

__all__ = ["INFER", "Convention", "Described", "Guest", "find_convention", "find_functions", "own_convention"]

CONVENTIONS: tuple[type[Convention], ...] = (
    WasmBindgen,
    Reactr,
    WasmedgeBindgenReturning,
    WasmedgeBindgen,
    InferFromPointers,
)
"""Those with values of more than numbers, the one that says most of itself first."""


def own_convention(module: Described) -> type[Convention] | None:
    """The convention that a module was made for; ``None`` when it offers functions of numbers at most."""
    return next((convention for convention in CONVENTIONS if convention.callables(module)), None)


def find_functions(module: Described) -> dict[str, ExternType]:
    """The functions of a module's own convention, by name."""
    convention = own_convention(module)
    return convention.callables(module) if convention is not None else {}


def find_convention(module: Described, name: str) -> type[Convention] | None:
    """How the export of this name is called; ``None`` when it cannot be."""
    candidates: tuple[type[Convention], ...] = (*CONVENTIONS, Numbers)
    return next((convention for convention in candidates if name in convention.callables(module)), None)
