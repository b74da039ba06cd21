"""Engine processes: what a model does there, it does to that process alone."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aicli.errors import ModelError
from aicli.nn.engines import EngineDied, load_engine
from aicli.nn.isolation.engine import IsolatedEngine, is_shape
from aicli.nn.session import Errno, NnError, Session
from tests import made_models as made

PROJECT = Path(__file__).resolve().parents[2]
LINUX = sys.platform.startswith("linux")
GIB = 1 << 30


def isolated(engine: str, memory: int = GIB) -> IsolatedEngine:
    return IsolatedEngine(load_engine(engine), memory)


def run(interpreter: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    interpreter.allocate_tensors()
    for item, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(item["index"], value)
    interpreter.invoke()
    return [interpreter.tensor(item["index"])().copy() for item in interpreter.get_output_details()]


def test_answers_are_those_of_the_engine_in_this_process(engine: str) -> None:
    path = PROJECT / "models" / "pnet.tflite"
    here, there = load_engine(engine).interpreter(path, 1), isolated(engine).interpreter(path, 1)
    for side in (12, 40):
        image = np.random.default_rng(side).random((1, side, side, 3), np.float32)
        for interpreter in (here, there):
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], image.shape)
        for ours, theirs in zip(run(here, image), run(there, image), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_output_whose_shape_follows_from_the_values(engine: str) -> None:
    model = made.places_of_what_is_not_zero(5)
    interpreter = isolated(engine).interpreter(model, 1)
    for values in ([0, 1, 0, 2, 3], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]):
        array = np.array(values, np.float32)
        assert run(interpreter, array)[0].tolist() == np.argwhere(array).tolist()


def test_a_crash_costs_the_process_and_the_next_interpreter_gets_another(engine: str) -> None:
    isolation = isolated(engine)
    model = made.crashes_on_what_is_not_zero()
    interpreter = isolation.interpreter(model, 1)
    run(interpreter, np.zeros((1, 4), np.float32))
    with pytest.raises(EngineDied, match=r"SIGFPE.*contained") as caught:
        run(interpreter, np.ones((1, 4), np.float32))
    assert caught.value.signal == signal.SIGFPE
    with pytest.raises(EngineDied, match="has ended before"):
        interpreter.invoke()
    run(isolation.interpreter(model, 1), np.zeros((1, 4), np.float32))


def test_a_loop_without_end_is_ended_at_the_deadline(engine: str) -> None:
    isolation = isolated(engine)
    interpreter = isolation.interpreter(made.endless_loop(), 1)
    interpreter.allocate_tensors()
    begin = time.monotonic()
    isolation.set_deadline(begin + 0.5)
    with pytest.raises(EngineDied, match="within the guest's time"):
        interpreter.invoke()
    assert time.monotonic() - begin < 1.5


@pytest.mark.skipif(not LINUX, reason="only Linux bounds what a process takes")
def test_memory_is_bounded(engine: str) -> None:
    isolation = isolated(engine, 64 << 20)
    interpreter = isolation.interpreter(made.large_between(1 << 28), 1)
    with pytest.raises(RuntimeError):  # an error, or the end of the process
        run(interpreter, np.zeros((1, 1), np.float32))


def test_shared_memory_is_bounded(engine: str) -> None:
    interpreter = isolated(engine, 1 << 20).interpreter(made.identity(), 1)
    interpreter.resize_tensor_input(0, [1, 1 << 20, 4])
    with pytest.raises(RuntimeError):
        interpreter.allocate_tensors()


@pytest.mark.parametrize(
    "shapes", [None, [], [[1, 3], [1]], [["a"]], [[-1, 3]], [[2**31]], [[True]], [[1] * 9], [[1.0]], {}, "[[1]]", [3]]
)
def test_shapes_that_cannot_be_are_not_believed(shapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = isolated("litert").interpreter(made.identity(), 1)
    monkeypatch.setattr(interpreter._process, "ask", lambda *_, **__: {"shapes": shapes})
    with pytest.raises(RuntimeError, match="impossible shapes"):
        interpreter.allocate_tensors()


def test_a_shape_that_claims_all_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = isolated("litert").interpreter(made.identity(), 1)
    monkeypatch.setattr(interpreter._process, "ask", lambda *_, **__: {"shapes": [[2**31 - 1] * 4]})
    assert is_shape([2**31 - 1] * 4)
    with pytest.raises(RuntimeError, match="more than the model may have"):
        interpreter.allocate_tensors()


BRACKETS = struct.pack("<I", 200_000) + b"[" * 200_000


@pytest.mark.parametrize(
    "answer", [b"", b"\0", b"\xff\xff\xff\xff", b"\2\0\0\0{", b"\4\0\0\0null", b"\2\0\0\0[]", BRACKETS]
)
def test_answers_that_are_none_end_the_process(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = isolated("litert").interpreter(made.identity(), 1)
    process = interpreter._process
    at = 0

    class Liar:
        def recv(self, size: int) -> bytes:
            nonlocal at
            at += min(size, 1000)
            return answer[at - min(size, 1000) : at]

        def __getattr__(self, _: str) -> Any:
            return lambda *_: None

    monkeypatch.setattr(process, "_socket", Liar())
    with pytest.raises(EngineDied):
        interpreter.allocate_tensors()
    assert not process.is_usable()


def test_a_process_that_answers_a_byte_at_a_time_is_ended_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    isolation = isolated("litert")
    interpreter = isolation.interpreter(made.identity(), 1)
    process = interpreter._process
    answer = iter(struct.pack("<I", 3000) + b" " * 3000)

    class Slow:
        seconds = 0.0

        def settimeout(self, seconds: float) -> None:
            self.seconds = seconds

        def recv(self, size: int) -> bytes:
            if self.seconds < 0.02:
                raise TimeoutError
            time.sleep(0.02)
            return bytes([next(answer)])

        def __getattr__(self, _: str) -> Any:
            return lambda *_: None

    monkeypatch.setattr(process, "_socket", Slow())
    isolation.set_deadline(time.monotonic() + 0.3)
    with pytest.raises(EngineDied, match="within the guest's time"):
        interpreter.allocate_tensors()
    assert next(answer, None) is not None  # it had more to say
    assert not process.is_usable()


def test_a_damaged_model_is_a_model_error(engine: str) -> None:
    isolation = isolated(engine)
    with pytest.raises(ModelError):
        isolation.interpreter(b"\0\0\0\0TFL3", 1)


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_every_thread_of_the_process_is_confined(engine: str) -> None:
    interpreter = isolated(engine).interpreter(PROJECT / "models" / "rnet.tflite", 2)
    interpreter.allocate_tensors()
    interpreter.invoke()
    process = interpreter._process
    tasks = list(Path(f"/proc/{process._process.pid}/task").iterdir())
    assert len(tasks) > 1
    for task in tasks:
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1"
        assert ("seccomp" in process.layers) == (status["Seccomp"] == "2")


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_the_process_has_nothing_of_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "hidden-from-models")
    isolation = isolated("litert")
    isolation.interpreter(made.identity(), 1)
    assert isolation._process is not None
    process = Path(f"/proc/{isolation._process._process.pid}")
    if os.geteuid() == 0:  # it cannot be looked into by others: it is not dumpable
        assert b"hidden" not in (process / "environ").read_bytes()
        opened = {os.readlink(entry) for entry in (process / "fd").iterdir()}
        assert "/dev/null" in opened
        assert [name for name in opened if not name.startswith(("/dev/null", "socket:", "/memfd:"))] == []
        assert os.readlink(process / "cwd") == "/"


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_the_process_ends_with_its_owner() -> None:
    code = (
        "from aicli.nn.engines import load_engine\n"
        "from aicli.nn.isolation.engine import IsolatedEngine\n"
        "from tests.made_models import endless_loop\n"
        "isolation = IsolatedEngine(load_engine(), 1 << 30)\n"
        "interpreter = isolation.interpreter(endless_loop(), 1)\n"
        "interpreter.allocate_tensors()\n"
        "print(isolation._process._process.pid, flush=True)\n"
        "interpreter.invoke()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT) as owner:
        assert owner.stdout is not None
        number = int(owner.stdout.readline())
        time.sleep(0.2)
        owner.kill()
    give_up = time.monotonic() + 5
    while time.monotonic() < give_up and is_running(number):
        time.sleep(0.02)
    assert not is_running(number)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


ATTEMPTS = """
import ctypes, mmap, os, signal, socket, subprocess, sys, threading
from aicli.nn.isolation.confine import confine
layers = confine(1 << 30)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
attempts = {
    "read a file": lambda: open("/etc/passwd").read(),
    "list a folder": lambda: os.listdir("/"),
    "write a file": lambda: open("/tmp/aicli-escape", "w"),
    "tell whether a file is there": lambda: os.stat("/etc/passwd"),
    "a socket": lambda: socket.socket(socket.AF_INET),
    "a local socket": lambda: socket.socket(socket.AF_UNIX),
    "a copy of the process": os.fork,
    "another program": lambda: os.execv("/bin/true", ["true"]),
    "a signal for the owner": lambda: os.kill(os.getppid(), 0),
    "memory of the owner": lambda: open(f"/proc/{os.getppid()}/mem", "rb"),
    "tracing": lambda: call(101, 16, os.getppid(), 0, 0),
    "new code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "old memory as code": lambda: call(10, ctypes.c_void_p(id(attempts) & ~4095), 4096, 7),
    "more memory than was given": lambda: bytearray(3 << 30),
    "another limit": lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_NOFILE, (9, 9)),
    "io_uring": lambda: call(425, 1, 0),
    "a user namespace": lambda: call(272, 0x10000000),
    "a named pipe of memory": lambda: os.memfd_create("x"),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except (OSError, MemoryError, ValueError):
        continue
    print("possible:", name)
thread = threading.Thread(target=lambda: print("threads work"))
thread.start()
thread.join()
print("layers:", *layers)
"""


@pytest.mark.skipif(not LINUX or os.uname().machine != "x86_64", reason="names calls by their numbers on x86-64 Linux")
def test_what_a_confined_process_cannot_do() -> None:
    done = subprocess.run([sys.executable, "-c", ATTEMPTS], capture_output=True, text=True, cwd=PROJECT, check=False)
    if "seccomp" not in done.stdout:
        pytest.skip(f"this kernel has no seccomp: {done.stdout}{done.stderr}")
    assert "possible" not in done.stdout, done.stdout
    assert "threads work" in done.stdout and done.returncode == 0, done.stderr


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_is_a_program_that_the_kernel_can_take(machine: str, reading: bool) -> None:
    from aicli.nn.isolation.confine import filter_program

    program = filter_program(machine, 1, reading=reading)
    assert program is not None and len(program) % 8 == 0 and len(program) // 8 < 4096
    lines = [program[at : at + 8] for at in range(0, len(program), 8)]
    for place, line in enumerate(lines):
        code, true, false = int.from_bytes(line[:2], "little"), line[2], line[3]
        assert code == 0x06 or place + 1 + max(true, false) < len(lines)
    assert filter_program("vax", 1) is None


def test_a_guests_model_runs_in_a_process_of_its_own(engine: str) -> None:
    session = Session(load_engine(engine), {}, 1)
    context = session.init_execution_context(session.load(made.crashes_on_what_is_not_zero(), 4))
    session.compute(context)
    data = np.ones((1, 4), np.float32).view(np.uint8).reshape(-1)
    session.set_input_bytes(context, 0, data)
    with pytest.raises(EngineDied):
        session.compute(context)


def test_one_budget_for_everything(engine: str) -> None:
    model = made.large_input(1 << 20)
    session = Session(load_engine(engine), {}, 1, memory=10 << 20)
    graph = session.load(model, 4)
    contexts = [session.init_execution_context(graph) for _ in range(2)]
    with pytest.raises(NnError, match=r"have .* already") as caught:
        session.init_execution_context(graph)
    assert caught.value.errno == Errno.TOO_LARGE
    session.finalize_execution_context(contexts[0])
    session.init_execution_context(graph)


def test_a_large_model_of_few_bytes_is_refused_before_it_takes_memory(engine: str) -> None:
    session = Session(load_engine(engine), {}, 1, memory=256 << 20)
    graph = session.load(made.large_input(1 << 28), 4)
    with pytest.raises(NnError, match=r"needs .* bytes"):
        session.init_execution_context(graph)


def test_a_session_that_ends_takes_its_engine_process_along(engine: str) -> None:
    """Although it is still held, as wasmer holds what its instances called."""
    session = Session(load_engine(engine), {}, 1)
    session.init_execution_context(session.load(made.identity(), 4))
    started = session._isolated()._process
    assert started is not None
    process = started._process
    del started
    session.release()
    assert process.wait(5) is not None
