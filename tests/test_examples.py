"""The examples in Python do what they say: each is run as its reader would run it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EXAMPLES, PROJECT

pytestmark = pytest.mark.slow
PATIENCE = 60.0


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, "the example ended"
        assert time.monotonic() < give_up, "the example takes too long"
        time.sleep(0.05)


@contextlib.contextmanager
def example(*command: object) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        [sys.executable, *map(str, command)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


# The folder watcher


def record(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_watcher_answers_what_arrives_and_waits_for_the_rest_of_a_file(tmp_path: Path) -> None:
    inbox, records = tmp_path / "inbox", tmp_path / "records"
    inbox.mkdir()
    shutil.copy(EXAMPLES / "chelsea.png", inbox / "cat.png")  # there before the watcher
    (inbox / "notes.txt").write_text("no photo")
    arriving = (EXAMPLES / "grace_hopper.jpg").read_bytes()
    with example(EXAMPLES / "watch_folder.py", inbox, records, "--every", 0.2) as process:
        wait_until((records / "cat.png.json").exists, process)
        assert record(records / "cat.png.json")["predictions"][0]["label"] == "Egyptian cat"

        (inbox / "late.jpg").write_bytes(arriving[:20_000])  # its sender stalls
        wait_until((records / "late.jpg.json").exists, process)
        assert "late.jpg" in record(records / "late.jpg.json")["error"]
        with open(inbox / "late.jpg", "ab") as file:  # and goes on in small pieces
            for start in range(20_000, len(arriving), 8_000):
                file.write(arriving[start : start + 8_000])
                file.flush()
                time.sleep(0.02)
        wait_until(lambda: "error" not in record(records / "late.jpg.json"), process)
        assert record(records / "late.jpg.json")["predictions"][0]["label"] == "military uniform"
    assert sorted(path.name for path in records.iterdir()) == ["cat.png.json", "late.jpg.json"]

    # After a restart only what is new is answered.
    shutil.copy(EXAMPLES / "astronaut.png", inbox / "new.png")
    with example(EXAMPLES / "watch_folder.py", inbox, records, "--every", 0.2, "--faces") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "new.png\n"
        assert len(record(records / "new.png.json")["faces"]) == 1
    assert "predictions" in record(records / "cat.png.json")


def test_the_watcher_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with example(EXAMPLES / "watch_folder.py", tmp_path / "no", tmp_path / "records") as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, errors) == (1, "", f"{tmp_path / 'no'}: no such folder\n")


# The web application


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        reply = connection.getresponse()
        return reply.status, reply.read()


def upload(port: int, name: str, data: bytes, field: str = "photo") -> tuple[int, Any]:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    status, answer = ask(port, "POST", "/photos", body, f"multipart/form-data; boundary={boundary}")
    return status, json.loads(answer)


def test_the_application_answers_photos_and_says_what_is_wrong_as_json() -> None:
    for package in ("uvicorn", "starlette", "python_multipart"):
        pytest.importorskip(package)
    port = free_port()

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    line = ("-m", "uvicorn", "--app-dir", EXAMPLES, "--port", port, "--log-level", "warning", "upload_app:app")
    with example(*line) as process:
        wait_until(listens, process)
        status, page = ask(port, "GET", "/")
        assert status == 200 and b'<input type="file" name="photo"' in page

        status, answer = upload(port, "astronaut.png", (EXAMPLES / "astronaut.png").read_bytes())
        assert status == 200
        assert (answer["name"], answer["width"], answer["height"]) == ("astronaut.png", 512, 512)
        assert len(answer["labels"]) == 3 and answer["labels"][0]["score"] > answer["labels"][2]["score"]
        (face,) = answer["faces"]
        assert face["box"] == pytest.approx([179.3, 60.3, 268.4, 174.8], abs=0.5)
        assert face["score"] > 0.99

        status, answer = upload(port, "notes.jpg", b"no photo at all")
        assert status == 422 and answer["error"].startswith("notes.jpg: ")
        status, answer = upload(port, "a.jpg", b"", field="picture")
        assert (status, answer["error"]) == (400, "the form has no file named photo")
        status, answer = upload(port, "huge.jpg", bytes(20_000_001))
        assert status == 413 and "20000000 bytes" in answer["error"]
        status, body = ask(port, "GET", "/nothing")
        assert (status, json.loads(body)) == (404, {"error": "Not Found"})


# The notebook

NOTEBOOK = EXAMPLES / "notebook.ipynb"


def cells(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in record(NOTEBOOK)["cells"] if cell["cell_type"] == kind]


def test_the_notebook_has_no_outputs_and_the_format_that_it_claims() -> None:
    notebook = record(NOTEBOOK)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names) and all(re.fullmatch("[a-zA-Z0-9-_]{1,64}", name) for name in names)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_notebook_runs_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for number, source in enumerate(cells("code")):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(source, f"cell {number}", "exec"), names)
        printed.append(out.getvalue())
    assert len(printed[1].splitlines()) == 3
    assert re.search(r"^chelsea\.png +Egyptian cat \(0\.38\), ", printed[1], re.MULTILINE)
    assert re.search(r"^grace_hopper\.jpg +military uniform \(0\.39\), ", printed[1], re.MULTILINE)
    assert names["boxed"].getpixel((179, 100)) == (0, 255, 0)  # the left side of the astronaut's box
    assert "chelsea.png is Egyptian cat\n" in printed[4]
    assert "failed: missing.jpg: " in printed[4]
