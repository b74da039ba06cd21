"""Pulls through good and bad networks: what is in the folder afterwards is the right file or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from loopback_server import Server
from tiny_models import TinyModel

from aicli.catalog import download, folders, load_classifier, pull, remove, verify
from aicli.catalog.entries import require_entry
from aicli.cli.console import told
from aicli.errors import AicliError, ModelError
from aicli.nn.engines import Engine

MODEL = TinyModel().flat(last="SOFTMAX").finish()
LABELS = "".join(f"class {index}\n" for index in range(12)).encode()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 1.0)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return tmp_path / "user-models"


@pytest.fixture
def catalog(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A catalog of one model, ``tiny``, at the test's server; call its ``write`` after a change."""
    server.files = {"/tiny.tflite": MODEL, "/tiny.txt": LABELS}
    folder = tmp_path / "bundled"
    folder.mkdir()

    def ref(name: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        return {"file": name, "sha256": digest, "bytes": len(content), "url": f"{server.url}/{name}"}

    entry = {
        "name": "tiny",
        "task": "classify",
        "license": "MIT",
        "files": {"model": ref("tiny.tflite", MODEL), "labels": ref("tiny.txt", LABELS)},
        "input": {"mean": [0, 0, 0], "std": [255, 255, 255]},
    }
    monkeypatch.setattr(folders, "_bundled", lambda kind: folder)
    content: dict[str, Any] = {"version": 1, "models": [entry]}

    def write() -> None:
        (folder / "catalog.json").write_text(json.dumps(content))

    write()
    return {"entry": entry, "write": write, "file": folder / "catalog.json"}


def used_files(user: Path) -> list[str]:
    """What could ever be used: everything but hidden files."""
    return sorted(path.name for path in user.glob("*") if not path.name.startswith(".")) if user.is_dir() else []


def test_pull_use_verify_remove(catalog: dict[str, Any], server: Server, user: Path, engine: Engine) -> None:
    with pytest.raises(ModelError, match="aicli models pull tiny"):
        load_classifier("tiny", engine=engine)
    steps: list[tuple[str, int, int | None]] = []
    paths = pull("tiny", progress=lambda *step: steps.append(step))
    assert paths == {"model": user / "tiny.tflite", "labels": user / "tiny.txt"}
    assert ("tiny.tflite", len(MODEL), len(MODEL)) in steps
    assert load_classifier("tiny", engine=engine).labels[0] == "class 0"
    assert {check.status for check in verify()} == {"ok"}
    pull("tiny")
    assert len(server.requests) == 2
    pull("tiny", force=True)
    assert len(server.requests) == 4
    assert len(remove("tiny")) == 2
    assert used_files(user) == []


def test_wrong_checksum(catalog: dict[str, Any], server: Server, user: Path) -> None:
    server.files["/tiny.tflite"] = MODEL[:-1] + b"x"
    with pytest.raises(AicliError, match="SHA-256 differs"):
        pull("tiny")
    assert used_files(user) == []
    assert list(user.glob(".*.part")) == []


def test_longer_than_declared(catalog: dict[str, Any], server: Server, user: Path) -> None:
    server.files["/tiny.tflite"] = MODEL + b"x" * 1000
    with pytest.raises(AicliError, match="not the file of the catalog"):
        pull("tiny")

    def without_length(handler: BaseHTTPRequestHandler, count: int) -> bool:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(server.files[handler.path])
        handler.close_connection = True
        return True

    server.behave = without_length
    with pytest.raises(AicliError, match="longer"):
        pull("tiny")
    assert used_files(user) == []
    server.files["/tiny.tflite"] = MODEL
    assert pull("tiny")["model"].read_bytes() == MODEL


def test_truncated_body_is_resumed(catalog: dict[str, Any], server: Server, user: Path) -> None:
    half = len(MODEL) // 2

    def break_off(handler: BaseHTTPRequestHandler, count: int) -> bool:
        if handler.path == "/tiny.tflite" and count == 1:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(MODEL)))
            handler.end_headers()
            handler.wfile.write(MODEL[:half])
            return True
        return False

    server.behave = break_off
    assert pull("tiny")["model"].read_bytes() == MODEL
    assert server.requests[1] == ("/tiny.tflite", f"bytes={half}-")


def test_server_without_ranges(catalog: dict[str, Any], server: Server, user: Path) -> None:
    def no_ranges(handler: BaseHTTPRequestHandler, count: int) -> bool:
        content = server.files[handler.path]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content if count > 1 else content[:100])
        return True

    server.behave = no_ranges
    assert pull("tiny")["model"].read_bytes() == MODEL


def test_rubbish_of_an_earlier_pull(catalog: dict[str, Any], server: Server, user: Path) -> None:
    user.mkdir()
    digest = catalog["entry"]["files"]["model"]["sha256"]
    for rubbish in (b"x" * 100, b"x" * len(MODEL), b"x" * (len(MODEL) + 5)):
        (user / f".tiny.tflite.{digest[:16]}.part").write_bytes(rubbish)
        assert pull("tiny")["model"].read_bytes() == MODEL
        remove("tiny")


def test_server_that_always_breaks_off(catalog: dict[str, Any], server: Server, user: Path) -> None:
    def refuse(handler: BaseHTTPRequestHandler, count: int) -> bool:
        handler.connection.close()
        return True

    server.behave = refuse
    with pytest.raises(AicliError, match="connection failed"):
        pull("tiny")
    assert len(server.requests) == download.ATTEMPTS
    assert used_files(user) == []


def test_server_that_stalls(
    catalog: dict[str, Any], server: Server, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.1)

    def stall(handler: BaseHTTPRequestHandler, count: int) -> bool:
        if count > 1:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(MODEL)))
        handler.end_headers()
        time.sleep(0.4)
        handler.close_connection = True
        return True

    server.behave = stall
    assert pull("tiny")["model"].read_bytes() == MODEL


def test_line_that_breaks_often(
    catalog: dict[str, Any], server: Server, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WORTHWHILE", 50)

    def break_off(handler: BaseHTTPRequestHandler, count: int) -> bool:
        content = server.files[handler.path]
        begin = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        handler.wfile.write(content[begin : begin + 60])
        return True

    server.behave = break_off
    assert pull("tiny")["model"].read_bytes() == MODEL
    assert len(server.requests) > 2 * download.ATTEMPTS


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_error_answers(catalog: dict[str, Any], server: Server, user: Path, status: int) -> None:
    def fail(handler: BaseHTTPRequestHandler, count: int) -> bool:
        handler.send_error(status)
        return True

    server.behave = fail
    with pytest.raises(AicliError, match=str(status)):
        pull("tiny")
    assert used_files(user) == []


def test_redirect_to_an_error_page(catalog: dict[str, Any], server: Server, user: Path) -> None:
    server.files["/sorry"] = b"<html>log in first</html>"

    def redirect(handler: BaseHTTPRequestHandler, count: int) -> bool:
        if handler.path == "/sorry":
            return False
        handler.send_response(302)
        handler.send_header("Location", "/sorry")
        handler.end_headers()
        return True

    server.behave = redirect
    with pytest.raises(AicliError, match="not the file of the catalog"):
        pull("tiny")
    assert used_files(user) == []


def test_redirect_without_end(catalog: dict[str, Any], server: Server, user: Path) -> None:
    def redirect(handler: BaseHTTPRequestHandler, count: int) -> bool:
        handler.send_response(302)
        handler.send_header("Location", handler.path)
        handler.end_headers()
        return True

    server.behave = redirect
    with pytest.raises(AicliError, match="redirect"):
        pull("tiny")


def test_full_disk(catalog: dict[str, Any], server: Server, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AicliError, match="No space left"):
        pull("tiny")
    assert used_files(user) == []
    assert list(user.glob(".*.part")) == []


def test_folder_that_cannot_be_written(catalog: dict[str, Any], user: Path) -> None:
    user.write_text("a file where the folder should be")
    with pytest.raises(AicliError, match="cannot write"):
        pull("tiny")


def run_pull(catalog: dict[str, Any]) -> subprocess.Popen[bytes]:
    code = (
        "import sys, pathlib\n"
        "from aicli.catalog import folders, pull\n"
        "folders._bundled = lambda kind: pathlib.Path(sys.argv[1])\n"
        "pull('tiny')\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(catalog["file"].parent)], stderr=subprocess.PIPE)


def test_two_processes_pull_at_once(catalog: dict[str, Any], server: Server, user: Path) -> None:
    def slow(handler: BaseHTTPRequestHandler, count: int) -> bool:
        time.sleep(0.3)
        return False

    server.behave = slow
    processes = [run_pull(catalog) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert len(server.requests) == 2  # the others waited for the first
    assert used_files(user) == ["tiny.tflite", "tiny.txt"]


def test_killed_pull(catalog: dict[str, Any], server: Server, user: Path, engine: Engine) -> None:
    half = len(MODEL) // 2

    def hang(handler: BaseHTTPRequestHandler, count: int) -> bool:
        if count > 1:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(MODEL)))
        handler.end_headers()
        handler.wfile.write(MODEL[:half])
        handler.wfile.flush()
        time.sleep(3)
        return True

    server.behave = hang
    process = run_pull(catalog)
    deadline = time.monotonic() + 30
    while not list(user.glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert used_files(user) == []
    with pytest.raises(ModelError, match="not here"):
        load_classifier("tiny", engine=engine)
    assert pull("tiny")["model"].read_bytes() == MODEL


def test_offline_opens_no_socket(catalog: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICLI_OFFLINE", "1")
    with pytest.raises(AicliError, match=r"AICLI_OFFLINE=1 .*; AICLI_MODEL_MIRROR can name a folder that has the file"):
        pull("tiny")
    with pytest.raises(AicliError, match="AICLI_OFFLINE=1"):
        pull("tiny", mirror=server.url)
    assert server.requests == []


def test_folder_as_mirror(
    catalog: dict[str, Any], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "models").mkdir(parents=True)
    (mirror / "labels").mkdir()
    (mirror / "models" / "tiny.tflite").write_bytes(MODEL)
    (mirror / "labels" / "tiny.txt").write_bytes(LABELS)
    monkeypatch.setenv("AICLI_OFFLINE", "1")
    for place in (mirror, mirror / "models", mirror.as_uri()):
        pull("tiny", mirror=str(place))
        remove("tiny")
    monkeypatch.setenv("AICLI_MODEL_MIRROR", str(mirror))
    pull("tiny")
    assert server.requests == []
    with pytest.raises(AicliError, match="not a folder"):
        pull("tiny", mirror=str(tmp_path / "none"), force=True)


def test_mirror_with_another_file_falls_back(catalog: dict[str, Any], server: Server, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "tiny.tflite").write_bytes(b"old")
    assert pull("tiny", mirror=str(mirror))["model"].read_bytes() == MODEL


def test_web_mirror_is_asked_first(catalog: dict[str, Any], server: Server) -> None:
    server.files["/mirror/tiny.tflite"] = MODEL
    pull("tiny", mirror=f"{server.url}/mirror/")
    assert server.requests[0][0] == "/mirror/tiny.tflite"


def test_model_without_checksum(catalog: dict[str, Any], server: Server, user: Path, engine: Engine) -> None:
    del catalog["entry"]["files"]["model"]["sha256"], catalog["entry"]["files"]["model"]["bytes"]
    catalog["write"]()
    assert not require_entry("tiny").verified
    with pytest.raises(ModelError) as refused:
        load_classifier("tiny", engine=engine)
    assert told(refused.value).endswith("get it: aicli models pull --trust tiny") and "trust" not in str(refused.value)
    with pytest.raises(ModelError) as refused:
        pull("tiny")
    assert told(refused.value).endswith("to get it all the same: aicli models pull --trust tiny")
    server.files["/tiny.tflite"] = b"<html>sorry</html>"
    with pytest.raises(AicliError, match="web page"):
        pull("tiny", trust=True)
    assert used_files(user) == []
    server.files["/tiny.tflite"] = MODEL
    pull("tiny", trust=True)
    load_classifier("tiny", engine=engine)
    (user / "tiny.tflite").write_bytes(MODEL + b"changed")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_classifier("tiny", engine=engine)
    assert [check.status for check in verify(["tiny"])] == ["damaged", "ok"]


def test_pulled_file_that_was_changed(catalog: dict[str, Any], user: Path, engine: Engine) -> None:
    pull("tiny")
    (user / "tiny.tflite").write_bytes(MODEL[:-4])
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_classifier("tiny", engine=engine)
    pull("tiny")
    load_classifier("tiny", engine=engine)


def test_auto_pull(catalog: dict[str, Any], engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICLI_AUTO_PULL", "1")
    assert load_classifier("tiny", engine=engine).output.classes == 12


def test_file_name_that_leaves_the_folder(catalog: dict[str, Any]) -> None:
    catalog["entry"]["files"]["model"]["file"] = "../tiny.tflite"
    catalog["write"]()
    with pytest.raises(ModelError, match="leaves the folder"):
        pull("tiny")


def test_shared_folder_serves_as_mirror(shared: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("AICLI_OFFLINE", "1")
    for name in ("mobilenet_v2", "mobilenet_v1_0.25_128", "mobilenet_v2_tf2", "inat_bird"):
        pull(name, mirror=str(shared / "models"))
        assert load_classifier(name, engine=engine).notes == ()
