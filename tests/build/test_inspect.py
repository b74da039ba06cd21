"""aicli inspect: what a module needs, offers, and lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aicli.cli.main import run
from aicli.guest.client import packaged_guest
from aicli.wasm import installed_runtimes
from tests.wasm.hostile import DATA, guest_text, wat

GOOD = guest_text("(i32.const 16)", more=DATA)
every_runtime = pytest.mark.parametrize("runtime", installed_runtimes())


def look(tmp_path: Path, text: str, runtime: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    path = tmp_path / "guest.wasm"
    path.write_bytes(wat(text))
    code = run(["inspect", str(path), "-f", "json", "--runtime", runtime])
    return code, json.loads(capsys.readouterr().out)


@every_runtime
def test_the_packaged_guest_can_run(runtime: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(packaged_guest()), "--runtime", runtime]) == 0
    text = capsys.readouterr().out
    for words in (
        "ABI version  1",
        "classify, detect-faces",
        "wasi_ephemeral_nn.compute (i32) -> i32",
        "can run      yes",
    ):
        assert words in text


@every_runtime
def test_facts_as_json(runtime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts = look(tmp_path, GOOD, runtime, capsys)
    assert code == 0
    assert facts["runnable"] and facts["abi_version"] == 1 and facts["tasks"] == ["classify"]
    assert facts["memory"]["minimum"] == 4 * 65536
    assert {"module": "wasi_ephemeral_nn", "name": "compute", "kind": "func", "type": "(i32) -> i32"} in facts[
        "imports"
    ]


@every_runtime
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(module)", "exports no memory"),
        (GOOD.replace("(i32.const 1))", "(i32.const 7))", 1), "speaks ABI version 7"),
        (GOOD.replace('"aicli_dealloc"', '"other"'), "exports no function aicli_dealloc"),
        (GOOD.replace('"aicli_classify"', '"other"'), "exports no task"),
        (GOOD.replace('"wasi_ephemeral_nn" "unload"', '"env" "unload"'), "imports env.unload"),
        (GOOD.replace('"unload"', '"teleport"'), "does not provide"),
        (GOOD.replace("$unload (param i32", "$unload (param i64"), "the host's is (i32) -> i32"),
        (GOOD.replace('"wasi_ephemeral_nn" "unload"', '"wasi_snapshot_preview1" "fd_read"'), "may import wasi_eph"),
        (guest_text("(i32.const 16)", more="(func $f unreachable) (start $f)"), "trapped"),
        (guest_text("(i32.const 16)", memory="40000"), "--guest-memory gives more"),
    ],
)  # fmt: skip
def test_what_is_missing(
    text: str, problem: str, runtime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, facts = look(tmp_path, text, runtime, capsys)
    assert code == 1
    assert any(problem in one for one in facts["problems"]), facts["problems"]


@pytest.mark.slow
@every_runtime
def test_a_guest_that_never_answers(runtime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts = look(tmp_path, guest_text("(i32.const 16)", more="(func $f (loop br 0)) (start $f)"), runtime, capsys)
    assert code == 1
    assert facts["abi_version"] is None


def test_names_cannot_harm_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "guest.wasm"
    path.write_bytes(wat('(module (import "a\\1b[2J" "b\\0ac" (func)) (memory (export "x\\1b]0;y\\07") 1))'))
    assert run(["inspect", str(path)]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_a_file_that_is_no_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.wasm").write_text("hello")
    assert run(["inspect", str(tmp_path / "x.wasm")]) == 2
    assert run(["inspect", str(tmp_path / "absent.wasm")]) == 2
    assert "not a WebAssembly module" in capsys.readouterr().err


COMMAND = """(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
  (import "{module}" "{name}" (func (param i32) (result i32))) (memory (export "memory") 1) (func (export "_start")))"""


@every_runtime
def test_programs_for_aicli_run(runtime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts = look(tmp_path, COMMAND.format(module="wasi_ephemeral_nn", name="compute"), runtime, capsys)
    assert code == 0 and facts["tasks"] == ["run"]
    assert facts["runnable"] and [one["title"] for one in facts["abis"]] == ["WASI preview 1", "wasi-nn"]
    code, facts = look(tmp_path, COMMAND.format(module="wasmedge_process", name="run"), runtime, capsys)
    assert code == 1 and "wasmedge_process.run" in facts["problems"][0]
