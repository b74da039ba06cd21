"""Functions of each calling convention: arguments and results of each kind, and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BINDGEN = [("bindgen",), ("bindgen", "stack"), ("bindgen", "stack", "aligned")]
FRAMED = [("framed",), ("framed", "env"), ("framed", "named"), ("framed", "named", "records")]
TYPED = [("framed",), ("framed", "named", "records")]

every_convention = pytest.mark.parametrize("cfg", BINDGEN + FRAMED, ids="-".join)
every_bindgen = pytest.mark.parametrize("cfg", BINDGEN, ids="-".join)
every_frame = pytest.mark.parametrize("cfg", FRAMED, ids="-".join)
with_types = pytest.mark.parametrize("cfg", TYPED, ids="-".join)


@pytest.fixture
def function(build, aicli_run):
    """Calls a function of a guest in guests/functions/; the answer as bytes."""

    def call(cfg: tuple[str, ...], name: str, *arguments: object, code: int = 0) -> str:
        done = aicli_run(build(f"functions/{cfg[0]}", *cfg[1:]), "--call", name, *arguments)
        assert done.returncode == code, done.stderr
        answer: str = done.stderr if code else done.stdout
        return answer

    return call


@every_convention
def test_text_bytes_and_several_arguments(function, tmp_path: Path, cfg: tuple[str, ...]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"four")
    assert function(cfg, "say", "--arg", "Ann") == "hello Ann\n"
    assert function(cfg, "say", "--arg", "") == "hello \n"
    assert function(cfg, "say", file) == function(cfg, "say", "--arg", f"@{file}") == "hello four\n"
    assert function(cfg, "join", "--arg", "a", "--arg", f"@{file}", file) == "1 4 4\n"
    assert function(cfg, "repeat", "--arg", "3", "--arg", '"7"') == "777\n"


@every_convention
def test_what_a_function_prints_is_no_part_of_its_answer(build, aicli_run, cfg: tuple[str, ...]) -> None:
    done = aicli_run(build(f"functions/{cfg[0]}", *cfg[1:]), "--call", "chatty", "--arg", "ü")
    assert (done.stdout, done.stderr) == ("ü\n", "printed, not answered\n")


@every_convention
def test_bytes_come_back_as_they_are(build, tmp_path: Path, cfg: tuple[str, ...]) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 300)
    line = [sys.executable, "-m", "aicli", "run", build(f"functions/{cfg[0]}", *cfg[1:]), "--call", "invert"]
    done = subprocess.run([*line, tmp_path / "file"], capture_output=True, check=True, timeout=120)
    assert done.stdout == bytes(range(255, -1, -1)) * 300
    text = subprocess.run([*line, "--arg", "\x18", "--returns", "bytes"], capture_output=True, check=True, timeout=120)
    assert text.stdout == b"\xe7"


@every_convention
def test_a_panic_shows_its_own_words(function, cfg: tuple[str, ...]) -> None:
    said = function(cfg, "fail", code=1)
    assert "my own words" in said and said.splitlines()[-1].endswith("unreachable` instruction executed")


@every_bindgen
def test_numbers_of_wasm_bindgen(function, cfg: tuple[str, ...]) -> None:
    assert function(cfg, "add", "2", "--", "-5") == "-3\n"
    assert function(cfg, "length", "--arg", '"12345"') == "5\n"
    assert function(cfg, "half", "5") == "2.5\n"
    assert function(cfg, "next", "--returns", "u64", "4294967295i64") == "4294967296\n"
    assert function(cfg, "next", "--returns", "i64", "--", "-3i64") == "-2\n"
    assert function(cfg, "next", "--returns", "u64", "9223372036854775807") == "9223372036854775808\n"
    assert function(cfg, "swallow", "--arg", "x") == ""
    assert "exit code 3 instead of an answer" in function(cfg, "leave", code=1)


@with_types
def test_results_of_wasmedge_bindgen_have_types(function, cfg: tuple[str, ...]) -> None:
    assert function(cfg, "add", "2", "--", "-5") == "-3\n"
    assert function(cfg, "half", "5.0") == function(cfg, "half", "5f64") == "2.5\n"
    assert function(cfg, "next", "18446744073709551614") == "18446744073709551615\n"
    assert json.loads(function(cfg, "several", "--arg", "x")) == ["x", True, "ü", [1, -2], {"base64": "AP8="}]


@every_frame
def test_errors_that_a_function_answers(function, cfg: tuple[str, ...]) -> None:
    assert function(cfg, "refuse", "--arg", "Ann", code=1).endswith("refuse answered the error: no Ann\n")
    assert "Invalid params count, expect 1, got 2" in function(cfg, "say", "--arg", "a", "--arg", "b", code=1)


def test_the_only_function_is_the_default(build, aicli_run) -> None:
    done = aicli_run(build("functions/runnable"), "--arg", "Ann")
    assert (done.stdout, done.stderr) == ("hello Ann\n", "printed, not answered\n")
    refused = aicli_run(build("functions/runnable"), "--call", "run_e", "--arg", "")
    assert refused.returncode == 1 and "run_e answered the error 404: nobody is there" in refused.stderr
    assert "takes one argument" in aicli_run(build("functions/runnable")).stderr
    several = aicli_run(build("functions/bindgen"))
    assert several.returncode == 2 and "choose one with --call: say, chatty, invert" in several.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--call", "absent"), "no export absent; it exports: say, chatty"),
        (("--call", "say"), "bindgen.wasm: say is (i32, i32, i32) -> (), which 0 arguments cannot fill"),
        (("--call", "say", "absent.jpg"), "absent.jpg: cannot read this file (No such file or directory); give text"),
        (("--call", "say", "--arg", "@absent.jpg"), "absent.jpg: cannot read this file"),
        (("--call", "add", "1", "5000000000i32"), "5000000000i32: this number does not fit i32"),
        (("--call", "__wbindgen_malloc", "--arg", "x"), "__wbindgen_malloc is (i32) -> i32, and i32 is a whole number"),
        (("--call", "__wbindgen_malloc", "5000000000"), "5000000000 does not fit i32; __wbindgen_malloc is (i32)"),
        (("--call", "say", "--infer"), "--infer needs --model-file FILE and --image FILE"),
        (("--call", "say", "--arg", "x", "--labels", "absent.txt"), "absent.txt: cannot read the labels"),
    ],
)
def test_wrong_usage(build, aicli_run, arguments: tuple[str, ...], words: str) -> None:
    done = aicli_run(build("functions/bindgen"), *arguments)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_values_belong_to_functions(build, aicli_run) -> None:
    done = aicli_run(build("wasi"), "--arg", "x", "show")
    assert done.returncode == 2 and "values belong to a function" in done.stderr


@pytest.mark.parametrize(
    ("guest", "name", "convention", "usage"),
    [
        (("bindgen",), "join", "wasm-bindgen", "--call join ARG ARG ARG"),
        (("framed", "env"), "say", "wasmedge_bindgen of 2021 and 2022", "--call say [ARG]..."),
        (("framed",), "say", "wasmedge_bindgen", "--call say [ARG]..."),
        (("runnable",), "run_e", "reactr", "--call run_e ARG"),
    ],
)
def test_inspect_says_what_can_be_called(build, guest: tuple[str, ...], name: str, convention: str, usage: str) -> None:
    path = build(f"functions/{guest[0]}", *guest[1:])
    line = [sys.executable, "-m", "aicli", "inspect", str(path)]
    facts = json.loads(subprocess.run([*line, "-f", "json"], capture_output=True, check=True, timeout=120).stdout)
    found = next(item for item in facts["functions"] if item["name"] == name)
    assert facts["runnable"] and (found["convention"], found["usage"]) == (convention, f"aicli run FILE {usage}")
    text = subprocess.run(line, capture_output=True, check=True, text=True, timeout=120).stdout
    assert usage in text and "can run      yes" in text


def test_sockets_are_there_and_say_that_they_are_not(assemble, aicli_run) -> None:
    text = """(module (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i64) (result i32)))
        (memory (export "memory") 1)
        (func (export "both") (result i32)
          (i32.add (call $open (i32.const 0) (i32.const 0) (i32.const 0)) (call $recv (i64.const 0)))))"""
    assert aicli_run(assemble(text), "--call", "both").stdout == "116\n"


def test_what_wasmedgec_added_to_a_module_is_passed_over(assemble, aicli_run, tmp_path: Path) -> None:
    section = b"\x08wasmedge" + bytes(100)
    universal = tmp_path / "universal.wasm"
    universal.write_bytes(assemble("reactor").read_bytes() + b"\0" + bytes([len(section)]) + section)
    assert aicli_run(universal, "--call", "add", "2", "3").stdout == "5\n"


def test_preloads_as_wasmedge_spells_them(build, aicli_run, tmp_path: Path) -> None:
    (tmp_path / "a:b.tflite").write_bytes(b"no model")
    done = aicli_run(build("wasi"), "--nn-preload", f"default:TensorflowLite:CPU:{tmp_path}/a:b.tflite", "exit", "0")
    assert (done.returncode, done.stderr) == (0, "")
    for text, words in (
        ("default:x", "takes NAME:TensorflowLite"),
        ("a:PyTorch:CPU:f", "this one is PyTorch"),
    ):
        refused = aicli_run(build("wasi"), "--nn-preload", text, "exit", "0")
        assert refused.returncode == 2 and words in refused.stderr
