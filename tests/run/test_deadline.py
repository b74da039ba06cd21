"""``--guest-timeout`` is kept whatever the guest waits for, and so is Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from aicli.errors import GuestError, GuestMemoryError, GuestTimeout, GuestTrap
from aicli.run import supervise
from aicli.run.supervise import in_process, in_thread
from aicli.wasm import Limits
from tests.made_models import divides_by, endless

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and signals as POSIX has them")

READ = '(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))'
SLEEP = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 200) (i32.const 1) (i32.const 300)))))"""
IDLE = f"""(module {READ} (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 100))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
FIFO = f"""(module {READ}
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 100) "fifo")
  (func (export "_start")
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 2)
      (i32.const 0) (i32.const 200)) (then unreachable))
    (i32.store (i32.const 0) (i32.const 300)) (i32.store (i32.const 4) (i32.const 10))
    (drop (call $read (i32.load (i32.const 200)) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
COMPUTE = """(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 100) "m")
  (func (export "_start")
    (if (call $load (i32.const 100) (i32.const 1) (i32.const 0)) (then unreachable))
    (if (call $init (i32.load (i32.const 0)) (i32.const 4)) (then unreachable))
    (drop (call $compute (i32.load (i32.const 4))))))"""


def image_loop() -> str:
    """Asks for the same picture for ever, each time in another size."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((2000, 2000)).save(file, "PNG")
    data = "".join(f"\\{byte:02x}" for byte in file.getvalue())
    return f"""(module
      (import "wasmedge_image" "load_png" (func $load (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 400) (data (i32.const 1024) "{data}")
      (func (export "_start") (loop
        (drop (call $load (i32.const 1024) (i32.const {len(file.getvalue())}) (i32.const 1) (i32.const 2000000)
          (i32.const 0) (i32.const 0x400000) (i32.const 6000000)))
        (br 0))))"""


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "aicli", "run", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def arguments_for(waits: str, assemble, folder: Path) -> list[object]:
    if waits == "fifo":
        os.mkfifo(folder / "fifo")
        return ["--dir", f"{folder}:.", assemble(FIFO)]
    if waits == "model":
        (folder / "m.tflite").write_bytes(endless())
        return ["--model", f"m={folder / 'm.tflite'}", assemble(COMPUTE)]
    return [assemble({"sleep": SLEEP, "stdin": IDLE, "image": image_loop()}[waits])]


WAITS = ["sleep", "stdin", "fifo", "model", "image"]


@pytest.mark.parametrize("waits", WAITS)
def test_the_time_limit_is_kept_while_the_guest_waits(waits: str, assemble, tmp_path: Path) -> None:
    arguments = arguments_for(waits, assemble, tmp_path)
    with running("--guest-timeout", "0.5", *arguments) as process:
        begin = time.monotonic()
        assert process.wait(timeout=30) == 1
        assert time.monotonic() - begin < 8  # two starts of Python among them
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read() == ""
        lines = process.stderr.read().splitlines()
        # Before the last line, the host says once what it refused to the guest that decodes pictures.
        assert len(lines) == (2 if waits == "image" else 1), lines
        assert "used up its 0.5 seconds; --guest-timeout gives more" in lines[-1], lines


@pytest.mark.parametrize("waits", WAITS)
def test_ctrl_c_while_the_guest_waits(waits: str, assemble, tmp_path: Path) -> None:
    with running(*arguments_for(waits, assemble, tmp_path)) as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        assert process.wait(timeout=30) == 130
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize("supervise", [in_process, in_thread])
def test_what_holds_a_guest(supervise) -> None:
    def refuse() -> int:
        raise GuestError("no")

    assert supervise(lambda: 7, Limits()) == 7
    with pytest.raises(GuestError, match=r"^no$"):
        supervise(refuse, Limits())
    begin = time.monotonic()
    with pytest.raises(GuestTimeout, match=r"0\.3 seconds"):
        supervise(lambda: time.sleep(5) or 0, Limits(timeout=0.3))
    assert 0.3 <= time.monotonic() - begin < 1.3


def test_a_process_that_dies_is_a_trap() -> None:
    with pytest.raises(GuestTrap, match="SIGKILL"):
        in_process(lambda: os.kill(os.getpid(), signal.SIGKILL) or 0, Limits())


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends the guest's process there")
def test_the_guest_ends_with_whoever_ends_its_owner(assemble) -> None:
    with running(assemble(SLEEP)) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 20
        while not children.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        child = int(children.read_text())
        process.kill()
        process.wait()
        while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{child}").exists()


def test_threads_are_none_of_its_business() -> None:
    """The limit of a guest's stack is for its own thread alone."""
    before = threading.stack_size()
    in_thread(lambda: 0, Limits())
    assert threading.stack_size() == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the program itself ends, and says the same")
def test_a_model_that_ends_the_process_is_named(assemble, aicli_run, tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(divides_by(0))
    guest = assemble(COMPUTE)
    done = aicli_run("--model", f"m={model}", guest)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"aicli: {guest}: the guest's process died (SIGFPE), perhaps of a model: {model}; "
        "--isolate runs models in a process of their own"
    )
    done = aicli_run("--isolate", "--model", f"m={model}", guest)
    assert (done.returncode, done.stderr) == (0, "")  # the guest was told, and went on


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process so")
def test_the_guests_process_has_a_limit_on_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "ROOM", 64 << 20)
    monkeypatch.setattr(supervise, "MAX_WORK", 64 << 20)

    def take(size: int) -> int:
        return bytearray(size).count(1)

    limits = Limits(memory=1 << 20)  # with the least for its networks: 385 MiB
    assert in_process(lambda: take(256 << 20), limits) == 0
    with pytest.raises(GuestMemoryError, match="more memory than it was granted"):
        in_process(lambda: take(512 << 20), limits)
