"""Looking into a module: what it imports and exports, what it offers, and whether it can run here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from aicli._child import python_command
from aicli._text import printable
from aicli.errors import AicliError, GuestError
from aicli.run.abis import Abi, Usage, describe_abis, describe_functions, find_all_missing
from aicli.run.conventions import own_convention
from aicli.wasm import MIB, PAGE, ExternType, HostFunction, Limits, Module, Runtime, load_runtime
from aicli.wasm.cache import default_cache, load_module
from aicli.wasm.choose import Policy, choose_runtime
from aicli.wasm.runtime import WASI_MODULE, signature

__all__ = ["Inspection", "inspect_module"]

WASI_NN = "wasi_ephemeral_nn"
CAPABILITIES = {
    WASI_NN: "run the TFLite models that the host gives it",
    WASI_MODULE: "use what 'aicli run' grants: folders, arguments, environment, streams, clock, random numbers",
    "wasmedge_tensorflowlite": "run TFLite models that it brings along ('aicli run')",
    "wasmedge_tensorflow": "run TensorFlow graphs that it brings along ('aicli run', with TensorFlow installed)",
    "wasmedge_image": "have JPEG and PNG images decoded ('aicli run')",
    "ssvm_tensorflowlite": "run TFLite models that it brings along ('aicli run')",
    "ssvm_tensorflow": "run TensorFlow graphs that it brings along ('aicli run', with TensorFlow installed)",
    "ssvm_image": "have JPEG and PNG images decoded ('aicli run')",
}
"""What a guest may do, by the module that it imports from."""
TASKS = {"aicli_classify": "classify", "aicli_detect_faces": "detect-faces"}
UNSUPPORTED = 6
PROBE_LIMITS = Limits(64 * MIB, 2.0)
PROBE_SECONDS = 10


@dataclass(frozen=True)
class Inspection:
    """What is known of a module. ``problems`` is empty when it can run here."""

    path: str
    size: int
    sha256: str
    runtime: str
    imports: tuple[ExternType, ...]
    exports: tuple[ExternType, ...]
    abi_version: int | None
    tasks: tuple[str, ...]
    allowed: tuple[str, ...]
    problems: tuple[str, ...]
    abis: tuple[Abi, ...] = ()
    functions: tuple[Usage, ...] = ()

    @property
    def memory(self) -> ExternType | None:
        """The exported memory with its limits in pages."""
        return next((item for item in self.exports if item.kind == "memory" and item.name == "memory"), None)

    def to_dict(self) -> dict[str, Any]:
        memory = self.memory
        return {
            "file": self.path,
            "bytes": self.size,
            "sha256": self.sha256,
            "runtime": self.runtime,
            "runnable": not self.problems,
            "abi_version": self.abi_version,
            "tasks": list(self.tasks),
            "abis": [asdict(item) for item in self.abis],
            "functions": [item._asdict() for item in self.functions],
            "memory": memory and {"minimum": memory.minimum * PAGE, "maximum": maximum_bytes(memory)},
            "imports": [describe(item) for item in self.imports],
            "exports": [describe(item) for item in self.exports],
            "allowed": list(self.allowed),
            "problems": list(self.problems),
        }


def maximum_bytes(memory: ExternType) -> int | None:
    return None if memory.maximum is None else memory.maximum * PAGE


def describe(item: ExternType) -> dict[str, Any]:
    names = {"module": item.module} if item.module else {}
    kind = {"type": signature(item)} if item.kind == "func" else {}
    return {**names, "name": item.name, "kind": item.kind, **kind}


def inspect_module(
    wasm: bytes, path: str, runtime_name: str | None = None, *, spelled: Callable[[str], str | None] = str
) -> Inspection:
    """Compiles a module, asks it for its ABI version under tight limits, and says what it may do.

    A module that no runtime takes has no imports and exports here, and the runtime's reason among its problems, in
    which options are ``spelled`` as in :meth:`aicli.errors.AicliError.told`.
    """
    runtime = choose_runtime(Policy.FOREIGN, runtime_name)
    imports: tuple[ExternType, ...] = ()
    exports: tuple[ExternType, ...] = ()
    version, problems = None, []
    try:
        module = load_module(runtime, wasm, Limits(), default_cache())
        imports, exports = tuple(module.imports), tuple(module.exports)
        command = is_command(imports, exports)
        problems = import_problems(Sides(imports, exports), command)
        if not command:
            problems += export_problems(exports)
            version = None if problems else abi_version(runtime, module, wasm)
            problems += version_problems(version) if not problems else []
    except AicliError as error:
        problems.append(error.told(spelled))
    modules = dict.fromkeys(item.module for item in imports)
    return Inspection(
        path=path,
        size=len(wasm),
        sha256=hashlib.sha256(wasm).hexdigest(),
        runtime=f"{runtime.name} {runtime.version}",
        imports=imports,
        exports=exports,
        abi_version=version,
        tasks=("run",) if is_command(imports, exports) else offered_tasks(exports),
        allowed=tuple(CAPABILITIES[name] for name in modules if name in CAPABILITIES),
        problems=tuple(problems),
        abis=tuple(describe_abis(Sides(imports, exports))),
        functions=tuple(describe_functions(Sides(imports, exports))),
    )


class Sides(NamedTuple):
    """The two sides of a module."""

    imports: tuple[ExternType, ...]
    exports: tuple[ExternType, ...]


def is_command(imports: tuple[ExternType, ...], exports: tuple[ExternType, ...]) -> bool:
    """Whether this is for ``aicli run``: a program, a WASI reactor or a module of functions, no task's guest."""
    if own_convention(Sides(imports, exports)) is not None:
        return True
    names = {item.name for item in exports if item.kind == "func"}
    if any(name.startswith("aicli_") for name in names):
        return False
    return "_start" in names or any(item.module != WASI_NN for item in imports)


def offered_tasks(exports: tuple[ExternType, ...]) -> tuple[str, ...]:
    names = {item.name for item in exports if item.kind == "func"}
    return tuple(task for export, task in TASKS.items() if export in names)


def import_problems(sides: Sides, command: bool) -> list[str]:
    if command:
        return list(find_all_missing(sides))
    imports, problems = sides.imports, []
    for item in imports:
        name = printable(f"{item.module}.{item.name}")
        if item.kind != "func":
            problems.append(f"it imports the {item.kind} {name}; only functions can be imported")
        elif item.module not in CAPABILITIES:
            problems.append(f"it imports {name}, which no host here provides")
        elif item.module != WASI_NN:
            problems.append(f"it imports {name}; a guest of the tasks may import {WASI_NN} only")
        else:
            problems += signature_problem(item, name)
    return problems


def signature_problem(item: ExternType, name: str) -> list[str]:
    """Compares an import with the host's own function of that name."""
    own = host_signatures().get(item.name)
    if own is None:
        return [f"it imports {name}, which this host does not provide"]
    if (own.params, own.results) != (item.params, item.results):
        return [f"it imports {name} as {signature(item)}, and the host's is {signature(own)}"]
    return []


def host_signatures() -> Mapping[str, HostFunction]:
    from aicli.nn.session import Session
    from aicli.nn.wasi_nn import WasiNn

    nobody: Any = None
    return {name: function for (_, name), function in WasiNn(Session(nobody, {}, 1)).functions().items()}


def export_problems(exports: tuple[ExternType, ...]) -> list[str]:
    """What docs/guest-abi.md asks for and the module does not have."""
    from aicli.guest.client import EXPORTS, TASK_TYPE

    by_name = {item.name: item for item in exports}
    problems = []
    memory = by_name.get("memory")
    if memory is None or memory.kind != "memory":
        problems.append("it exports no memory named 'memory'")
    wanted = {**EXPORTS, **{name: TASK_TYPE for name in TASKS if name in by_name}}
    for name, (params, results) in wanted.items():
        item = by_name.get(name)
        if item is None or item.kind != "func":
            problems.append(f"it exports no function {name}")
        elif (item.params, item.results) != (params, results):
            problems.append(f"it exports {name} as {signature(item)}; see docs/guest-abi.md")
    if not offered_tasks(exports):
        problems.append(f"it exports no task: none of {', '.join(TASKS)}")
    return problems


def version_problems(version: int | None) -> list[str]:
    from aicli.guest.client import ABI_VERSION

    if version is None:
        return ["it does not say its ABI version in time"]
    return [] if version == ABI_VERSION else [f"it speaks ABI version {version}; this aicli speaks {ABI_VERSION}"]


def abi_version(runtime: Runtime, module: Module, wasm: bytes) -> int | None:
    """What the module itself says, within two seconds; ``None`` when it does not answer.

    Raises :class:`aicli.errors.GuestFault` when it traps.
    """
    if runtime.can_interrupt:
        return ask_version(module)
    # Nothing can end a guest in this process, so it is asked in one of its own.
    command = python_command("aicli.build.inspection:main", runtime.name)
    try:
        done = subprocess.run(command, input=wasm, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        raise GuestError("it ends the process that asks for its ABI version")
    kind, _, text = done.stdout.decode().strip().partition(" ")
    if kind != "version":
        raise GuestError(text)
    return int(text)


def ask_version(module: Module) -> int | None:
    stubs = {
        (item.module, item.name): HostFunction(item.module, item.name, item.params, item.results, refuse(item))
        for item in module.imports
    }
    instance = module.instantiate(stubs, PROBE_LIMITS)
    if any(item.name == "_initialize" and item.kind == "func" for item in module.exports):
        instance.call("_initialize")
    return instance.call("aicli_abi_version")


def refuse(item: ExternType) -> Callable[..., int | None]:
    """A host function for a guest that is only asked who it is."""
    return lambda *_: UNSUPPORTED if item.results else None


def main() -> None:
    """Asks the module on standard input; for :func:`abi_version` alone."""
    runtime = load_runtime(sys.argv[1])
    try:
        module = load_module(runtime, sys.stdin.buffer.read(), PROBE_LIMITS, default_cache())
        print("version", ask_version(module))
    except AicliError as error:
        print("problem", error)
