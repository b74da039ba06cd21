"""Functions of each calling convention: arguments and results of each kind, errors, and what a hostile one may try."""

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
        (("--call", "say"), "bindgen.wasm: say is (i32, i32, i32) -> (), which these 0 arguments do not fill"),
        (("--call", "say", "absent.jpg"), "absent.jpg: cannot read this file (No such file or directory); give text"),
        (("--call", "say", "--arg", "@absent.jpg"), "absent.jpg: cannot read this file"),
        (("--call", "add", "1", "5000000000i32"), "5000000000i32: this number does not fit i32"),
        (("--call", "__wbindgen_malloc", "--arg", "x"), "__wbindgen_malloc is (i32) -> i32, and i32 is a whole number"),
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


# Hostile ones

MEMORY = '(memory (export "memory") 1 4)'
FREE = '(func (export "__wbindgen_free") (param i32 i32))'
MALLOC = '(func (export "__wbindgen_malloc") (param i32) (result i32) (i32.const {0}))'
GIVE = '(func (export "f") (param i32 i32 i32) (i32.store (i32.const {0}) (i32.const {1})))'


def bindgen(malloc: str = "64", place: str = "8", value: str = "64", free: str = FREE) -> str:
    return f"(module {MEMORY} {MALLOC.format(malloc)} {free} {GIVE.format(place, value)})"


def framed(answer: str, allocate: str = "(i32.const 64)", more: str = "") -> str:
    return f"""(module {MEMORY} {more}
        (func (export "allocate") (param i32) (result i32) {allocate})
        (func (export "deallocate") (param i32 i32))
        (func (export "f") (param i32 i32) (result i32) {answer}))"""


def returning(body: str, module: str = "env") -> str:
    return f"""(module (import "{module}" "return_result" (func $result (param i32 i32)))
        (import "{module}" "return_error" (func $error (param i32 i32))) {MEMORY}
        (func (export "allocate") (param i32) (result i32) (call $result (i32.const -1) (i32.const -1)) (i32.const 64))
        (func (export "deallocate") (param i32 i32))
        (func (export "f") (param i32 i32) {body}))"""


def runnable(body: str) -> str:
    return f"""(module (import "env" "return_result" (func $result (param i32 i32 i32)))
        (import "env" "return_error" (func $error (param i32 i32 i32 i32))) {MEMORY}
        (func (export "allocate") (param i32) (result i32) (i32.const 64))
        (func (export "deallocate") (param i32 i32))
        (func (export "run_e") (param i32 i32 i32) {body}))"""


AT_END = "(i32.const 65535)"
FLAG = '(data (i32.const 128) "\\{0}\\00\\00\\00\\00\\ff\\ff\\ff\\ff")'
LOOP = "(loop $again (br $again))"
HOSTILE = {
    "malloc outside memory": (bindgen(malloc="-16"), "bad pointer"),
    "malloc at the very end": (bindgen(malloc="65535"), "bad pointer"),
    "malloc that has nothing": (bindgen(malloc="0"), "no memory for 3 bytes"),
    "a result of 4 GiB": (bindgen(place="12", value="-1"), "bad pointer"),
    "a result that begins outside": (
        bindgen().replace("(i32.store (i32.const 8) (i32.const 64))", "(i64.store (i32.const 8) (i64.const -1))"),
        "bad pointer",
    ),
    "no memory at all": (bindgen().replace(MEMORY, '(memory (export "other") 1)'), "exports no memory"),
    "a malloc that never ends": (bindgen().replace("(i32.const 64))", f"{LOOP} (i32.const 64))", 1), "its 1 seconds"),
    "a free that never ends": (
        bindgen(place="12", value="4", free=f'(func (export "__wbindgen_free") (param i32 i32) {LOOP})'),
        "its 1 seconds",
    ),
    "a frame outside memory": (framed("(i32.const 128)", "(i32.const -4)"), "bad pointer"),
    "a result outside memory": (framed("(i32.const -9)"), "bad pointer"),
    "a result at the very end": (framed(AT_END), "bad pointer"),
    "4 Gi values": (framed("(i32.const 128)", more=FLAG.format("00")), "4294967295 values; at most 256"),
    "an error of 4 GiB": (framed("(i32.const 128)", more=FLAG.format("01")), "bad pointer"),
    "a flag that is none": (framed("(i32.const 128)", more=FLAG.format("07")), "the flag 7"),
    "an unknown type": (
        framed("(i32.const 128)", more='(data (i32.const 128) "\\00\\a0\\00\\00\\00\\01\\00\\00\\00") '
               '(data (i32.const 164) "\\63")'),
        "a value of type 99",
    ),
    "the same memory many times": (
        framed("(i32.const 128)", more='(data (i32.const 128) "\\00\\00\\10\\00\\00\\ff\\00\\00\\00") '
               f'(data (i32.const 4096) "{chr(92)}00{chr(92)}00{chr(92)}00{chr(92)}00{chr(92)}1f{chr(92)}00{chr(92)}00'
               f'{chr(92)}00{chr(92)}00{chr(92)}00{chr(92)}00{chr(92)}7f")'),
        "more than a gigabyte",
    ),
    "handed over from outside": (returning("(call $result (i32.const -8) (i32.const 64))"), "bad pointer"),
    "an error from outside": (returning("(call $error (i32.const 8) (i32.const -1))"), "bad pointer"),
    "handed over again and again": (
        returning("(loop $again (call $result (i32.const 0) (i32.const 65536)) (br $again))"), "its 1 seconds",
    ),
    "records outside": (returning("(call $result (i32.const -8) (i32.const 4))", "wasmedge-bindgen"), "bad pointer"),
    "a runnable's answer from outside": (runnable("(call $result (i32.const 0) (i32.const -1) (i32.const 1))"), "bad"),
    "a runnable's error from outside": (
        runnable("(call $error (i32.const 1) (i32.const -1) (i32.const 9) (i32.const 1))"), "bad pointer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_function_is_named_and_ended(assemble, aicli_run, name: str) -> None:
    text, words = HOSTILE[name]
    done = aicli_run(assemble(text), "--arg", "abc", "--guest-timeout", "1")
    assert done.returncode == 1 and done.stdout == ""
    assert words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_functions_cannot_import_anything_else(assemble, aicli_run) -> None:
    text = bindgen().replace("(module", '(module (import "wbg" "__wbindgen_throw" (func (param i32 i32)))')
    done = aicli_run(assemble(text), "--arg", "abc")
    assert done.returncode == 2 and "wasm-bindgen's JavaScript provides" in done.stderr
    text = framed("(i32.const 128)").replace("(module", '(module (import "env" "return_result" (func (param i64)))')
    done = aicli_run(assemble(text), "--arg", "abc")
    assert done.returncode == 2 and "env.return_result" in done.stderr


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
