"""Which application binary interfaces a module needs, and who would provide what is missing here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

from aicli._text import printable
from aicli.run.conventions import Described, own_convention
from aicli.run.host import CommandHost, is_socket
from aicli.wasm.choose import Policy, choose_runtime
from aicli.wasm.runtime import WASI_MODULE, ExternType, signature

__all__ = ["Abi", "Usage", "describe_abis", "describe_functions", "find_all_missing", "find_missing"]

TITLES = {
    WASI_MODULE: "WASI preview 1",
    "wasi_ephemeral_nn": "wasi-nn",
    "wasmedge_tensorflowlite": "WasmEdge TFLite",
    "wasmedge_tensorflow": "WasmEdge TensorFlow",
    "wasmedge_image": "WasmEdge image",
    "ssvm_tensorflowlite": "SSVM TFLite",
    "ssvm_tensorflow": "SSVM TensorFlow",
    "ssvm_image": "SSVM image",
}
OTHERS = (
    (
        "wasi_unstable",
        "WASI snapshot 0 provides, which nothing builds for since 2020; rebuild it with a newer compiler",
    ),
    ("wasmedge_process", "WasmEdge's process plugin provides; aicli starts no programs for a guest"),
    ("wasmedge_", "a plugin of WasmEdge provides"),
    ("wasmedge", "a plugin of WasmEdge provides"),
    ("wasi_ephemeral_crypto", "a host with wasi-crypto, such as WasmEdge, provides"),
    ("wasi:", "WASI preview 2 provides; aicli runs preview 1 modules (for Rust: the target wasm32-wasip1)"),
    ("wasi_", "another version of WASI provides; aicli has preview 1"),
    ("__wbindgen", "wasm-bindgen's JavaScript provides; build for wasm32-wasi without it"),
    ("wbg", "wasm-bindgen's JavaScript provides; build for wasm32-wasi without it"),
    ("gojs", "Go's JavaScript support provides; build with GOOS=wasip1"),
    ("go.", "Go's JavaScript support provides; build with GOOS=wasip1"),
    ("env.emscripten", "Emscripten's JavaScript provides; build for wasm32-wasi"),
    ("env.", "a library that was not linked into the module provides"),
)
"""What the beginning of ``module.name`` tells about who provides a function."""


@dataclass(frozen=True)
class Abi:
    """One interface that a module needs.

    ``title`` names it with its generation, ``functions`` are what it imports of it, ``runs`` says whether all of them
    are here, ``note`` what a user should know.
    """

    module: str
    title: str
    functions: tuple[str, ...]
    runs: bool
    note: str = ""


Type = tuple[tuple[str, ...], tuple[str, ...]]


def provided(module: str, names: Iterable[str]) -> Mapping[str, Type]:
    """Those of these functions that ``aicli run`` has in this module, with their parameters and results."""
    if module != WASI_MODULE:
        return written_here(module)
    found = choose_runtime(Policy.COMMAND).wasi_types(names)
    return {name: (item.params, item.results) for name, item in found.items()}


@cache
def written_here(module: str) -> Mapping[str, Type]:
    found = CommandHost([ExternType(module, "", "func")]).functions()
    return {name: (item.params, item.results) for (owner, name), item in found.items() if owner == module}


def find_missing(module: Described) -> str | None:
    """Names the first import that is not here, and what would provide it; ``None`` when all are."""
    return next(find_all_missing(module), None)


def find_all_missing(module: Described, owner: str | None = None) -> Iterator[str]:
    """Every import that is not here, with what would provide it; of the module ``owner`` alone where it is named."""
    convention = own_convention(module)
    own = convention().functions(module) if convention is not None else {}
    items = [item for item in module.imports if not is_socket(item) and owner in (None, item.module)]
    names: dict[str, list[str]] = {}
    for item in items:
        names.setdefault(item.module, []).append(item.name)
    present = {module: provided(module, wanted) for module, wanted in names.items()}
    for item in items:
        name = printable(f"{item.module}.{item.name}")
        if item.kind != "func":
            yield f"it imports the {item.kind} {name}; only functions are provided"
            continue
        here = own.get((item.module, item.name))
        kind = (here.params, here.results) if here is not None else present[item.module].get(item.name)
        if kind is None:
            yield f"it imports {name}, which {provider(item)}"
        elif kind != (item.params, item.results):
            ours = signature(ExternType("", "", "func", *kind))
            yield f"it imports {name} as {signature(item)}, and the host's is {ours}"


def provider(item: ExternType) -> str:
    full = f"{item.module}.{item.name}"
    if item.module in TITLES:
        return f"aicli's {TITLES[item.module]} does not have; a newer aicli may, or WasmEdge"
    return next((text for start, text in OTHERS if full.startswith(start)), "no host that aicli knows of provides")


def describe_abis(module: Described) -> list[Abi]:
    """The interfaces that a module needs, in the order of its imports, and those that it offers instead."""
    names: dict[str, list[str]] = {}
    for item in module.imports:
        names.setdefault(item.module, []).append(item.name)
    found = [describe(name, functions, module) for name, functions in names.items()]
    functions = describe_functions(module)
    if functions:
        called = tuple(item.name for item in functions)
        found.append(Abi("", f"functions of {functions[0].convention}", called, True))
    return found


class Usage(NamedTuple):
    """A function that can be called: its name, its type in WebAssembly, its calling convention, and a command line."""

    name: str
    type: str
    convention: str
    usage: str


def describe_functions(module: Described) -> list[Usage]:
    """The functions of a module's own calling convention."""
    convention = own_convention(module)
    if convention is None:
        return []
    return [
        Usage(
            printable(name),
            signature(item),
            convention.title,
            f"{printable(name)} {convention.arguments(item)}".rstrip(),
        )
        for name, item in convention.callables(module).items()
    ]


def describe(module: str, functions: list[str], whole: Described) -> Abi:
    missing = next(find_all_missing(whole, module), None)
    title = TITLES.get(module, "what the calling convention asks of a host" if missing is None else printable(module))
    if module.startswith("wasmedge_") and module in TITLES:
        legacy = [name for name in functions if name.startswith(f"{module}_")]
        title += " (legacy)" if len(legacy) == len(functions) else " (both generations)" if legacy else " (current)"
    note = missing or ""
    if not missing and module in ("wasmedge_tensorflow", "ssvm_tensorflow") and not find_spec("tensorflow"):
        note = "starts, but running a graph needs: pip install tensorflow"
    return Abi(module, title, tuple(map(printable, functions)), missing is None, note)
