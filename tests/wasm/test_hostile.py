"""Guests that mean harm: each ends in one clear error, and the host answers the next image with a fresh instance."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aicli.errors import AicliError, GuestError, GuestFault, GuestMemoryError, GuestTimeout, GuestTrap
from aicli.wasm import Limits, installed_runtimes, load_runtime
from tests.wasm.hostile import ALLOC, ANSWER, DATA, PIXELS, FakeInterpreter, guest_text, make_guest, request, wat

RUNTIMES = installed_runtimes()
every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)

# Harm is done to images 8 pixels wide; any other is answered well.
ON_WIDTH_8 = f"(if (i32.eq (i32.load offset=8 (local.get 0)) (i32.const 8)) (then {{harm}})) {ANSWER}"


def guest_with(harm: str, more: str = "", alloc: str = ALLOC, memory: str = "4") -> str:
    return guest_text(ON_WIDTH_8.format(harm=harm), more=f"{DATA} {more}", alloc=alloc, memory=memory)


def result_at(address: int, *fields: int) -> str:
    """Writes a result record and returns its address."""
    stores = "".join(f"(i32.store (i32.const {address + 4 * n}) (i32.const {value}))" for n, value in enumerate(fields))
    return f"{stores} (return (i32.const {address}))"


RESULT_OUTSIDE = "(return (i32.const -8))"
HARMS = {
    "unreachable": ("unreachable", GuestTrap),
    "division by zero": ("(drop (i32.div_u (i32.const 1) (i32.load (i32.const 32))))", GuestTrap),
    "integer overflow": ("(drop (i32.trunc_f32_s (f32.const inf)))", GuestTrap),
    "load outside": ("(drop (i32.load (i32.const -4)))", GuestTrap),
    "store outside": ("(i32.store (i32.const -4) (i32.const 1))", GuestTrap),
    "bulk fill outside": ("(memory.fill (i32.const 0) (i32.const 1) (i32.const -1))", GuestTrap),
    "call of an empty table slot": ("(call_indirect (i32.const 0))", GuestTrap),
    "call of a slot outside": ("(call_indirect (i32.const 77))", GuestTrap),
    "stack overflow": ("(call $deep (i64.const 1))", GuestTrap),
    "a pointer outside": (RESULT_OUTSIDE, GuestFault),
    "the last bytes": ("(return (i32.const 262136))", GuestFault),
    "exactly the end": ("(return (i32.const 262144))", GuestFault),
    "4 GiB of records": (result_at(64, 0, 0xFFFFFFFF, 0, 0, 0, 0), GuestFault),
    "records outside": (result_at(64, 0, 5, 0xFFFFFFF0, 0, 0, 0), GuestFault),
    "records across the end": (result_at(64, 0, 5, 262112, 0, 0, 0), GuestFault),
    "more records than asked for": (result_at(64, 0, 6, 0, 0, 0, 0), GuestFault),
    "a class that does not exist": (result_at(64, 0, 1, 128, 0, 0, 0).replace("(return", (
        "(i32.store (i32.const 128) (i32.const 1000)) (return")), GuestFault),
    "a score that is not a number": (result_at(64, 0, 1, 128, 0, 0, 0).replace("(return", (
        "(i32.store (i32.const 132) (i32.const 0x7fc00000)) (return")), GuestFault),
    "a message outside": (result_at(64, 4, 0, 0, 0xFFFFFFFF, 100, 0), GuestFault),
    "a message of 4 GiB": (result_at(64, 4, 0, 0, 128, 0xFFFFFFFF, 0), GuestFault),
    "an unknown status": (result_at(64, 99, 0, 0, 0, 0, 0), GuestFault),
    "out of memory": (result_at(64, 3, 0, 0, 0, 0, 0), GuestMemoryError),
}  # fmt: skip
DEEP_FUNCTION = "(func $deep (param i64) {first} (call $deep (local.get 0)) (call $deep (local.get 0)))"
MORE = f"(table 1 funcref) (type $void (func)) {DEEP_FUNCTION.format(first='')}"


def expect(guest: object, error: type[AicliError]) -> str:
    """The message of the fault; afterwards the same guest answers the next image."""
    with pytest.raises(error) as caught:
        guest.classify(PIXELS, request())  # type: ignore[attr-defined]
    text = str(caught.value)
    assert "\n" not in text and text.isprintable() and len(text) < 400
    assert guest.classify(PIXELS[:, :4].copy(), request()) == [(2, 0.75)]  # type: ignore[attr-defined]
    return text


@every_runtime
@pytest.mark.parametrize("name", HARMS)
def test_each_harm_ends_in_one_error(name: str, runtime: str, tmp_path: Path) -> None:
    harm, error = HARMS[name]
    harm = harm.replace("call_indirect", "call_indirect (type $void)")
    expect(make_guest(tmp_path, guest_with(harm, MORE), runtime), error)


@pytest.mark.skipif("wasmtime" not in RUNTIMES, reason="wasmer cannot interrupt a guest; docs/sandbox.md says so")
@pytest.mark.parametrize("harm", ["(loop br 0)", "(loop (drop (call $compute (i32.const 1))) br 0)"])
def test_an_endless_loop_ends_when_its_time_is_up(harm: str, tmp_path: Path) -> None:
    guest = make_guest(tmp_path, guest_with(harm), "wasmtime", Limits(64 << 20, 0.3))
    begin = time.monotonic()
    assert "0.3 seconds" in expect(guest, GuestTimeout)
    assert time.monotonic() - begin < 30


@pytest.mark.skipif("wasmtime" not in RUNTIMES, reason="wasmer cannot interrupt a guest")
@pytest.mark.parametrize("where", ["(start $spin)", '(export "_initialize" (func $spin))'])
def test_a_loop_before_the_first_call_ends_too(where: str, tmp_path: Path) -> None:
    text = guest_with("nop", f"(func $spin (loop br 0)) {where}")
    with pytest.raises(GuestTimeout):
        make_guest(tmp_path, text, "wasmtime", Limits(64 << 20, 0.3))


@every_runtime
def test_memory_does_not_grow_beyond_its_limit(runtime: str, tmp_path: Path) -> None:
    # Grows until it is refused, then answers with the class that is the number of pages it got.
    grow = """(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (i32.store (i32.const 128) (memory.size))"""
    harm = f"{grow} {result_at(64, 0, 1, 128, 0, 0, 0)}"
    guest = make_guest(tmp_path, guest_with(harm), runtime, Limits(4 << 20, 10.0))
    assert guest.classify(PIXELS, request()) == [(64, 0.0)]


@every_runtime
def test_a_memory_that_starts_too_large_is_refused(runtime: str, tmp_path: Path) -> None:
    with pytest.raises(GuestMemoryError, match=r"limits\.memory gives more"):
        make_guest(tmp_path, guest_with("nop", memory="65"), runtime, Limits(4 << 20, 10.0))


@every_runtime
@pytest.mark.parametrize("table", ["(table 4000000000 funcref)", "(table 1 funcref) " * 5])
def test_tables_are_bounded(table: str, runtime: str, tmp_path: Path) -> None:
    with pytest.raises(AicliError):
        make_guest(tmp_path, guest_with("nop", table), runtime)


@every_runtime
def test_a_table_does_not_grow_beyond_its_limit(runtime: str, tmp_path: Path) -> None:
    harm = """(loop (br_if 0 (i32.ne (table.grow 0 (ref.null func) (i32.const 10000)) (i32.const -1))))
      (if (i32.gt_u (table.size 0) (i32.const 200000)) (then unreachable))"""
    guest = make_guest(tmp_path, guest_with(harm, "(table 1 funcref)"), runtime)
    assert guest.classify(PIXELS, request()) == [(2, 0.75)]


def allocator(body: str) -> str:
    return f'(global $next (mut i32) (i32.const 65536)) (func (export "aicli_alloc") (param i32) (result i32) {body})'


@every_runtime
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("(i32.const 0)", GuestMemoryError),
        ("(i32.const 65536)", GuestFault),
        ("(i32.const -16)", GuestFault),
        ("(i32.const 262143)", GuestFault),
        ("(i32.sub (i32.const 65536) (local.get 0))", GuestFault),
        ("unreachable", GuestTrap),
    ],
)
def test_a_broken_allocator(body: str, error: type[AicliError], runtime: str, tmp_path: Path) -> None:
    guest = make_guest(tmp_path, guest_with("nop", alloc=allocator(body)), runtime)
    for _ in range(2):
        with pytest.raises(error):
            guest.classify(PIXELS, request())


@every_runtime
def test_an_allocator_that_calls_the_host(runtime: str, tmp_path: Path) -> None:
    # The host calls the guest, which calls the host while its memory grows and moves.
    body = """(drop (memory.grow (i32.const 1))) (drop (call $load_by_name (i32.const -1) (i32.const 9) (i32.const 0)))
      (global.set $next (i32.add (global.get $next) (i32.const 4096))) (global.get $next)"""
    guest = make_guest(tmp_path, guest_with("unreachable", alloc=allocator(body)), runtime)
    expect(guest, GuestTrap)


@every_runtime
def test_host_calls_before_there_is_a_memory(runtime: str, tmp_path: Path) -> None:
    start = """(func $begin (if (i32.ne (i32.const 3) (call $init_execution_context (i32.const 1) (i32.const 0)))
      (then unreachable))) (start $begin)"""
    assert make_guest(tmp_path, guest_with("nop", start), runtime).classify(PIXELS, request()) == [(2, 0.75)]


def check(call: str, errno: int) -> str:
    return f"(if (i32.ne (i32.const {errno}) {call}) (then unreachable))"


NAME = '(data (i32.const 256) "classifier")'
LOAD = check("(call $load_by_name (i32.const 256) (i32.const 10) (i32.const 512))", 0)
INIT = check("(call $init_execution_context (i32.load (i32.const 512)) (i32.const 516))", 0)
CONTEXT = "(i32.load (i32.const 516))"


@every_runtime
def test_handles_that_are_stale_foreign_or_wrapped(runtime: str, tmp_path: Path) -> None:
    bad = ["(i32.const 0)", "(i32.const -1)", "(i32.const 0x80000001)", "(i32.load (i32.const 512))", "(i32.const 999)"]
    steps = [LOAD, INIT]
    for handle in bad:
        steps += [check(f"(call $compute {handle})", 1), check(f"(call $finalize_execution_context {handle})", 1)]
    steps += [
        check(f"(call $unload {CONTEXT})", 1),
        check(f"(call $init_execution_context {CONTEXT} (i32.const 520))", 1),
    ]
    # A context outlives its graph, and is gone once it was finalised.
    steps += [check("(call $unload (i32.load (i32.const 512)))", 0), check(f"(call $compute {CONTEXT})", 0)]
    steps += [check(f"(call $finalize_execution_context {CONTEXT})", 0), check(f"(call $compute {CONTEXT})", 1)]
    steps += [check("(call $unload (i32.load (i32.const 512)))", 1)]
    guest = make_guest(tmp_path, guest_with(" ".join(steps), NAME), runtime)
    assert guest.classify(PIXELS, request()) == [(2, 0.75)]


@every_runtime
def test_a_hundred_thousand_contexts(runtime: str, tmp_path: Path) -> None:
    # 128 succeed, all others are busy (4); memory[520] counts the successes.
    loop = f"""{LOAD} (local.set 1 (i32.const 100000))
      (loop
        (if (i32.eqz (call $init_execution_context (i32.load (i32.const 512)) (i32.const 516)))
          (then (i32.store (i32.const 520) (i32.add (i32.load (i32.const 520)) (i32.const 1)))))
        (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
      (if (i32.ne (i32.load (i32.const 520)) (i32.const 128)) (then unreachable))"""
    FakeInterpreter.made = 0
    guest = make_guest(tmp_path, guest_with(loop, NAME), runtime, Limits(64 << 20, 200.0))
    assert guest.classify(PIXELS, request()) == [(2, 0.75)]
    assert FakeInterpreter.made == 128


@every_runtime
def test_fresh_instances_do_not_pile_up(runtime: str, tmp_path: Path) -> None:
    harm = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 20971520)) unreachable"
    guest = make_guest(tmp_path, guest_with(harm, memory="321"), runtime)
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc")

    def resident() -> int:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    begin = resident()
    for _ in range(20):
        with pytest.raises(GuestTrap):
            guest.classify(PIXELS, request())
    assert resident() - begin < 100 << 20


@every_runtime
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('(module (memory (export "memory") 1))', "exports no function"),
        ("(module)", "exports no memory"),
        ('(module (func (export "memory")))', "exports no memory"),
        ('(module (import "env" "system" (func (param i32))) (memory (export "memory") 1))', "exports no function"),
        (guest_text("(i32.const 16)", version=2), "ABI version 2"),
        (guest_text("(i32.const 16)").replace('"wasi_ephemeral_nn" "load"', '"env" "evil\\1b[2J\\0a"'), "env.evil"),
        (
            guest_text("(i32.const 16)").replace('"load" (func $load (param i32', '"load" (func $load (param i64'),
            "load",
        ),
    ],
)
def test_guests_that_do_not_fit(text: str, words: str, runtime: str, tmp_path: Path) -> None:
    with pytest.raises(GuestError, match=words) as caught:
        make_guest(tmp_path, text, runtime)
    assert "guest.wasm" in str(caught.value)


VECTORS = {
    "a parameter": '(module (func (export "aicli_alloc") (param v128)))',
    "a result": '(module (func) (func (export "f") (result v128) (v128.const i32x4 0 0 0 0)))',
    "an import": '(module (import "env" "m" (memory 1 2)) (import "env" "t" (table 1 funcref))'
    ' (import "env" "g" (global i32)) (import "env" "f" (func (param i32 v128))))',
    "behind imports": '(module (import "wasi_ephemeral_nn" "compute" (func (param i32) (result i32))) (func)'
    ' (func (export "g") (param i64 v128)) (memory (export "memory") 1))',
}


@every_runtime
@pytest.mark.parametrize("text", VECTORS.values(), ids=VECTORS)
def test_vectors_do_not_cross_the_border(text: str, runtime: str) -> None:
    """wasmtime's own interface ends the process when it is asked for such a type."""
    found = load_runtime(runtime)
    with pytest.raises(GuestError, match="v128"):
        found.prepare(wat(text), Limits())


@every_runtime
def test_vectors_inside_a_module_are_its_own_business(runtime: str) -> None:
    text = """(module (memory 1) (func $inner (param v128) (result i32)
      (i32x4.extract_lane 1 (local.get 0)))
      (func (export "f") (result i32) (call $inner (v128.const i32x4 0 7 0 0))))"""
    found = load_runtime(runtime)
    module = found.compile(found.prepare(wat(text), Limits()))
    assert module.instantiate({}, Limits()).call("f") == 7


MUCH = {
    "imports": "(module " + "".join(f'(import "env" "f{n}" (func))' for n in range(10_001)) + ")",
    "exports": "(module (func) " + "".join(f'(export "f{n}" (func 0))' for n in range(10_001)) + ")",
    "several memories": "(module (memory 1) (memory 1))",
}


@every_runtime
@pytest.mark.parametrize("what", MUCH)
def test_a_module_with_too_much_to_look_through(what: str, runtime: str) -> None:
    with pytest.raises(GuestError, match=what):
        load_runtime(runtime).prepare(wat(MUCH[what]), Limits())


@every_runtime
def test_a_module_of_many_sections(runtime: str) -> None:
    with pytest.raises(GuestError, match="1000 sections"):
        load_runtime(runtime).prepare(b"\0asm\1\0\0\0" + b"\0\1\0" * 1001, Limits())


@every_runtime
@pytest.mark.parametrize("cut", [0, 1, 4, 7, 8, 9, 20, 100, -1])
def test_damaged_files(cut: int, runtime: str, tmp_path: Path) -> None:
    whole = wat(guest_with("nop"))
    with pytest.raises(GuestError) as caught:
        make_guest(tmp_path, whole[:cut], runtime)
    assert "\n" not in str(caught.value)


DEEP = """
import sys
from pathlib import Path
from tests.wasm.hostile import PIXELS, make_guest, request
from aicli.errors import GuestFault
text = Path(sys.argv[2]).read_text()
guest = make_guest(Path(sys.argv[2]).parent, text, sys.argv[1])
for _ in range(3):
    try:
        guest.classify(PIXELS, request())
    except GuestFault as error:
        print(error)
"""


@pytest.mark.skipif("wasmtime" not in RUNTIMES, reason="needs wasmtime")
def test_a_host_call_at_the_end_of_the_stack(tmp_path: Path) -> None:
    # In a process of its own: were the host's stack used up too, the process would die.
    more = DEEP_FUNCTION.format(first="(drop (call $compute (i32.const 5)))")
    text = tmp_path / "guest.wat"
    text.write_text(guest_with("(call $deep (i64.const 1))", more))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", DEEP, "wasmtime", str(text)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("the guest trapped") == 3


FORKED = """
import os, signal, sys, threading, time
from pathlib import Path
from tests.wasm.hostile import PIXELS, make_guest, request
from aicli.errors import GuestTimeout
from aicli.wasm import Limits
text = Path(sys.argv[1])
guest = make_guest(text.parent, text.read_text(), "wasmtime", Limits(timeout=0.3))
def is_interrupted():
    try:
        guest.classify(PIXELS, request())
    except GuestTimeout:
        return True
assert is_interrupted()
def hold():
    with guest.runtime._ticker._condition:
        held.set()
        time.sleep(60)
held = threading.Event()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    os._exit(0 if is_interrupted() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif("wasmtime" not in RUNTIMES or not hasattr(os, "fork"), reason="needs wasmtime and fork")
def test_a_copied_process_keeps_the_time_limit(tmp_path: Path) -> None:
    text = tmp_path / "guest.wat"
    text.write_text(guest_with("(loop br 0)"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FORKED, str(text)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
