"""Functions of each calling convention that try to harm: each is named, ended, and hurts nobody else."""

from __future__ import annotations

import pytest

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
    "a malloc that never ends": (bindgen().replace("(i32.const 64))", f"{LOOP} (i32.const 64))", 1), "its 1 second;"),
    "a free that never ends": (
        bindgen(place="12", value="4", free=f'(func (export "__wbindgen_free") (param i32 i32) {LOOP})'),
        "its 1 second;",
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
        returning("(loop $again (call $result (i32.const 0) (i32.const 65536)) (br $again))"), "its 1 second;",
    ),
    "records outside": (returning("(call $result (i32.const -8) (i32.const 4))", "wasmedge-bindgen"), "bad pointer"),
    "a runnable's answer from outside": (runnable("(call $result (i32.const 0) (i32.const -1) (i32.const 1))"), "bad"),
    "a runnable's error from outside": (
        runnable("(call $error (i32.const 1) (i32.const -1) (i32.const 9) (i32.const 1))"), "bad pointer",
    ),
    "a runnable's result of 4 GiB": (
        runnable("(call $result (i32.const 8) (i32.const -1) (i32.const 1))"), "bad pointer",
    ),
    "a malloc that calls the function, which calls it": (
        f"""(module {MEMORY} {FREE}
            (func $malloc (export "__wbindgen_malloc") (param i32) (result i32)
              (call $f (local.get 0) (i32.const 0) (i32.const 0)) (i32.const 64))
            (func $f (export "f") (param i32 i32 i32) (drop (call $malloc (local.get 0)))))""",
        "call stack exhausted",
    ),
    "a malloc that takes all memory": (
        bindgen().replace("(i32.const 64))", "(drop (memory.grow (i32.const 3))) (i32.sub (i32.mul (memory.size) "
                          "(i32.const 65536)) (i32.const 2)))", 1),
        "bad pointer",
    ),
    "a malloc that ends the program": (
        bindgen().replace("(module", '(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))')
                 .replace("(i32.const 64))", "(call $exit (i32.const 0)) (i32.const 64))", 1),
        "exit code 0 instead of an answer",
    ),
    "a malloc that runs a network with pointers outside": (
        bindgen().replace("(module", '(module (import "wasi_ephemeral_nn" "compute" '
                          "(func $compute (param i32) (result i32)))")
                 .replace("(i32.const 64))", "(drop (call $compute (i32.const -1))) (unreachable))", 1),
        "before it: there is no execution context",
    ),
    "a stack that lies outside": (
        f"""(module {MEMORY} {FREE} {MALLOC.format("64")} (func (export "f") (param i32 i32 i32))
            (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32) (i32.const -8)))""",
        "bad pointer",
    ),
    "a free that traps after the answer": (
        bindgen(place="12", value="4", free='(func (export "__wbindgen_free") (param i32 i32) unreachable)'),
        "unreachable",
    ),
    "a deallocate that never ends": (
        framed("(i32.const 128)").replace('"deallocate") (param i32 i32))', f'"deallocate") (param i32 i32) {LOOP})'),
        "its 1 second;",
    ),
    "an initialize that never ends": (
        framed("(i32.const 128)").replace("(module", f'(module (func (export "_initialize") {LOOP})'), "its 1 second;",
    ),
    "a gigabyte of numbers": (
        framed("(i32.const 128)", more='(data (i32.const 128) "\\00\\90\\00\\00\\00\\01\\00\\00\\00") '
               '(data (i32.const 144) "\\00\\00\\00\\00\\16\\00\\00\\00\\00\\00\\00\\40")'),
        "1073741824 numbers; at most",
    ),
    "an error after the answer": (
        returning("(call $result (i32.const 0) (i32.const 3)) (call $error (i32.const 0) (i32.const 0))"),
        "answered the error: without saying why",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_function_is_named_and_ended(assemble, aicli_run, name: str) -> None:
    text, words = HOSTILE[name]
    done = aicli_run(assemble(text), "--arg", "abc", "--guest-timeout", "1")
    assert done.returncode == 1 and done.stdout == ""
    assert words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


GROWING = """(module (memory (export "memory") 1 4)
    (func (export "{malloc}") (param i32) (result i32) (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
    (func (export "{free}") (param i32 i32) (drop (memory.grow (i32.const 1)))) {body})"""
BINDGEN_ECHO = """(func (export "f") (param i32 i32 i32)
    (i32.store (local.get 0) (local.get 1)) (i32.store offset=4 (local.get 0) (local.get 2)))"""
FRAMED_ECHO = """(func (export "f") (param i32 i32) (result i32)
    (i32.store8 (i32.const 128) (i32.const 0)) (i32.store (i32.const 129) (i32.const 144))
    (i32.store (i32.const 133) (i32.const 1)) (i32.store (i32.const 144) (i32.load (local.get 0)))
    (i32.store (i32.const 148) (i32.const 31)) (i32.store (i32.const 152) (i32.load offset=4 (local.get 0)))
    (i32.const 128))"""


@pytest.mark.parametrize(
    ("malloc", "free", "body"),
    [("__wbindgen_malloc", "__wbindgen_free", BINDGEN_ECHO), ("allocate", "deallocate", FRAMED_ECHO)],
)
def test_memory_may_grow_and_move_at_every_call(assemble, aicli_run, malloc: str, free: str, body: str) -> None:
    done = aicli_run(assemble(GROWING.format(malloc=malloc, free=free, body=body)), "--arg", "abc")
    assert (done.stdout, done.stderr) == ("abc\n", "")


def test_nothing_is_answered_before_a_question(assemble, aicli_run) -> None:
    """What is handed over while the instance is made, or memory is asked for, is no answer."""
    early = "(call $result (i32.const 0) (i32.const 4))"
    text = returning("").replace("(call $result (i32.const -1) (i32.const -1))", early)
    text = text.replace(MEMORY, f"{MEMORY} (func $begin {early}) (start $begin)")
    done = aicli_run(assemble(text), "--arg", "abc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_functions_cannot_import_anything_else(assemble, aicli_run) -> None:
    text = bindgen().replace("(module", '(module (import "wbg" "__wbindgen_throw" (func (param i32 i32)))')
    done = aicli_run(assemble(text), "--arg", "abc")
    assert done.returncode == 2 and "wasm-bindgen's JavaScript provides" in done.stderr
    text = framed("(i32.const 128)").replace("(module", '(module (import "env" "return_result" (func (param i64)))')
    done = aicli_run(assemble(text), "--arg", "abc")
    assert done.returncode == 2 and "env.return_result" in done.stderr


def test_an_answer_is_never_a_reference(assemble, aicli_run) -> None:
    """What Python shows of one has an address of the host's memory."""
    done = aicli_run(
        assemble('(module (memory 1) (func (export "f") (result funcref) (ref.null func)))'), "--call", "f"
    )
    assert done.returncode == 2 and done.stdout == "" and "not a function of numbers" in done.stderr
