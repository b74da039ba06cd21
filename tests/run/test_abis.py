"""What describe_abis and aicli inspect say of modules made for other hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aicli.nn.session import NnError
from aicli.run import describe_abis
from aicli.run.host import HOST_MODULES, CommandHost, host_folder
from aicli.wasm import ExternType, Limits, load_runtime
from aicli.wasm.runtime import WasiFolder


def described(path: Path, runtime: str) -> dict[str, tuple[bool, str]]:
    chosen = load_runtime(runtime)
    module = chosen.compile(chosen.prepare(path.read_bytes(), Limits()))
    return {item.title: (item.runs, item.note) for item in describe_abis(module)}


def test_generations_are_told_apart(build, runtime: str) -> None:
    found = described(build("lite_current"), runtime)
    assert found["WasmEdge TFLite (current)"] == found["WasmEdge image (current)"] == (True, "")
    assert found["WasmEdge TensorFlow (current)"][0]
    assert "WasmEdge TFLite (legacy)" in described(build("lite_legacy"), runtime)
    assert "SSVM TFLite" in described(build("lite_legacy", "ssvm"), runtime)


def test_functions_are_offered(assemble, runtime: str) -> None:
    assert described(assemble("infer"), runtime)["functions of alloc and infer_from_ptrs"] == (True, "")


def test_another_type_is_a_problem(assemble, runtime: str) -> None:
    text = '(module (import "wasi_ephemeral_nn" "load" (func (param i64))))'
    runs, note = described(assemble(text), runtime)["wasi-nn"]
    assert not runs
    assert "as (i64) -> ()" in note and "host's is (i32, i32, i32, i32, i32) -> i32" in note


def test_every_function_is_called_by_its_own_module_name() -> None:
    functions = CommandHost(ExternType(name, "", "func") for name in HOST_MODULES).functions()
    assert {module for module, _ in functions} == set(HOST_MODULES)
    assert all((item.module, item.name) == key for key, item in functions.items())
    for start in ("wasmedge_tensorflow", "wasmedge_tensorflowlite", "wasmedge_image"):
        old = start.replace("wasmedge", "ssvm")
        legacy = {name.removeprefix(f"{start}_") for module, name in functions if module == start and start in name}
        assert legacy == {name.removeprefix(f"{old}_") for module, name in functions if module == old}


def test_inspect(build, assemble, tmp_path: Path) -> None:
    def inspect(path: Path) -> tuple[int, dict[str, object]]:
        line = [sys.executable, "-m", "aicli", "inspect", "-f", "json", str(path)]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=dict(os.environ))
        return done.returncode, json.loads(done.stdout)

    code, found = inspect(build("lite_legacy"))
    assert (code, found["tasks"], found["problems"]) == (0, ["run"], [])
    code, found = inspect(assemble('(module (import "wasmedge_process" "run" (func)) (func (export "_start")))'))
    assert code == 1
    assert "process plugin" in str(found["problems"])
    code, _ = inspect(assemble("infer"))
    assert code == 0


def test_folders_of_saved_models(tmp_path: Path) -> None:
    (tmp_path / "models" / "one").mkdir(parents=True)
    granted = (WasiFolder(tmp_path / "models", "/m"), WasiFolder(tmp_path / "models" / "one", "."))
    assert host_folder("/m/one", granted) == (tmp_path / "models" / "one").resolve()
    assert host_folder("./", granted) == (tmp_path / "models" / "one").resolve()
    for path in ("/m/../..", "/", "/m/absent", "..", "/mm"):
        with pytest.raises(NnError):
            host_folder(path, granted)


def test_unknown_modules_are_described_too() -> None:
    class Module:
        imports = (ExternType("mystery\x1b[2J", "f", "func"),)
        exports = ()

    (abi,) = describe_abis(Module())
    assert not abi.runs
    assert "\x1b" not in abi.title + abi.note
