"""Stored models and functions: kept, listed, replaced, deleted, called; hostile ones contained."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import PROJECT, TOKEN, Server, form, running

GUEST = PROJECT / "aicli" / "_bundled" / "aicli_guest.wasm"
MODEL = PROJECT / "models" / "dog_breeds.tflite"
LABELS = PROJECT / "labels" / "dog_breeds.txt"
WASI = """
(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
(import "wasi_snapshot_preview1" "path_open"
  (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(memory (export "memory") 2)
"""
COPY = """
(func $copy (loop $more
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
  (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
  (if (i32.load (i32.const 16)) (then
    (i32.store (i32.const 4) (i32.load (i32.const 16)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
    (br $more)))))
"""
COMMANDS = {
    "echo": '(func (export "_start") (call $copy))',
    "hang": '(func (export "_start") (loop $l (br $l)))',
    "fail": '(func (export "_start") (call $exit (i32.const 3)))',
    "trap": '(func (export "_start") unreachable)',
    "hog": '(func (export "_start") (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1000)) (i32.const -1))))'
    " (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536))))",
    "flood": '(func (export "_start") (i32.store (i32.const 0) (i32.const 1024))'
    " (i32.store (i32.const 4) (i32.const 60000)) (loop $l (br_if $l (i32.eqz"
    " (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20))))) (call $exit (i32.const 9)))",
    "peek": '(func (export "_start") (i32.store8 (i32.const 64) (i32.const 47)) (call $exit (call $open (i32.const 3)'
    " (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0)"
    " (i32.const 16))))",
}


def module(name: str) -> bytes:
    wasmtime = pytest.importorskip("wasmtime")
    return bytes(wasmtime.wat2wasm(f"(module {WASI} {COPY} {COMMANDS[name]})"))


@pytest.fixture
def add(server: Server) -> Callable[[bytes], str]:
    def upload(wasm: bytes) -> str:
        reply = server.ask("POST", "/v1/functions", wasm, server.tokens)
        assert reply.status in (200, 201), reply.body
        return str(reply.json["id"])

    return upload


def call(server: Server, identifier: str, body: bytes = b"", **query: Any) -> Any:
    return server.ask("POST", f"/v1/functions/{identifier}/run", body, server.tokens, **query)


def test_command_gets_the_body_and_gives_its_output(server: Server, add: Callable[[bytes], str]) -> None:
    identifier = add(module("echo"))
    for body in (b"hello", b"\xff\x00" * 100_000, b""):
        reply = call(server, identifier, body)
        assert (reply.status, reply.body) == (200, body)


def test_guest_of_a_task(server: Server, add: Callable[[bytes], str], photo: bytes) -> None:
    identifier = add(GUEST.read_bytes())
    labels = call(server, identifier, photo, task="classify", top=2)
    assert labels.json["predictions"] == server.ask("POST", "/v1/classify", photo, top=2).json["predictions"]
    faces = call(server, identifier, photo, task="detect-faces")
    assert faces.json["faces"] == server.ask("POST", "/v1/faces", photo).json["faces"]
    assert call(server, identifier, b"no photo", task="classify").code == "image"
    assert call(server, identifier, photo, task="command").status == 400


def test_content_addressed_listed_replaced_deleted(server: Server, add: Callable[[bytes], str]) -> None:
    first = add(module("echo"))
    assert add(module("echo")) == first
    assert first in [found["id"] for found in server.ask("GET", "/v1/functions", None, server.tokens).json["functions"]]
    replaced = server.ask("PUT", f"/v1/functions/{first}", module("fail"), server.tokens)
    assert (replaced.status, replaced.json["id"]) == (200, first)
    assert call(server, first).code == "function_failed"
    again = add(module("echo"))
    assert again != first
    assert call(server, again, b"x").body == b"x"
    for identifier in (first, again):
        assert server.ask("DELETE", f"/v1/functions/{identifier}", None, server.tokens).status == 204
        assert call(server, identifier).status == 404
    assert server.ask("PUT", f"/v1/functions/{first}", module("echo"), server.tokens).status == 404


@pytest.mark.parametrize("name", ["fail", "trap", "hog", "flood", "peek"])
def test_hostile_commands_fail_alone(server: Server, add: Callable[[bytes], str], photo: bytes, name: str) -> None:
    reply = call(server, add(module(name)))
    # Using up all the memory that it was granted is nobody's harm.
    assert reply.status == (200 if name == "hog" else 422), reply.body[:300]
    assert str(server.data) not in reply.body.decode()
    assert server.ask("POST", "/v1/classify", photo).status == 200


def test_what_is_no_function(server: Server) -> None:
    nothing = b"\0asm\1\0\0\0"
    for body in (b"", b"text", b"\0asm\1\0\0\0garbage", nothing):
        reply = server.ask("POST", "/v1/functions", body, server.tokens)
        assert (reply.status, reply.code) == (422, "guest")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"])
def test_token(server: Server, value: str) -> None:
    for method, path in (("POST", "/v1/functions"), ("GET", "/v1/functions"), ("PUT", "/v1/models/x")):
        reply = server.ask(method, path, b"x", {"Authorization": value})
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")


def test_identifiers_are_no_paths(server: Server) -> None:
    for name in ("..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "a" * 100, ".hidden"):
        assert server.ask("GET", f"/v1/functions/{name}", None, server.tokens).status == 404
        assert server.ask("DELETE", f"/v1/models/{name}", None, server.tokens).status == 404


def test_model_kept_used_replaced_deleted(server: Server, photo: bytes) -> None:
    parts = form(("model", "m", MODEL.read_bytes()), ("labels", "l", LABELS.read_bytes()))
    headers = {**parts[1], **server.tokens}
    kept = server.ask("PUT", "/v1/models/my_dogs", parts[0], headers)
    assert (kept.status, kept.json["classes"]) == (201, len(LABELS.read_text().split("\n")) - 1)
    reply = server.ask("POST", "/v1/classify", photo, model="my_dogs")
    expected = server.ask("POST", "/v1/classify", photo, model="dog_breeds", input_range="-1,1", resize="squash")
    assert reply.json["model"] == "my_dogs"
    assert {found["label"] for found in reply.json["predictions"]} & {
        found["label"] for found in expected.json["predictions"]
    }
    assert server.ask("PUT", "/v1/models/my_dogs", parts[0], headers).status == 200
    assert server.ask("DELETE", "/v1/models/my_dogs", None, server.tokens).status == 204
    assert server.ask("POST", "/v1/classify", photo, model="my_dogs").status == 404
    taken = server.ask("PUT", "/v1/models/mtcnn", parts[0], headers)
    assert (taken.status, taken.code) == (409, "name")
    assert "'mtcnn' is the name of the service's model mtcnn;" in taken.json["error"]["message"]
    alias = server.ask("PUT", "/v1/models/dogs", parts[0], headers)
    assert alias.status == 409 and "another name of the service's model dog_breeds;" in alias.json["error"]["message"]
    assert server.ask("PUT", "/v1/models/my.tflite", parts[0], headers).status == 409
    wrong = server.ask("PUT", "/v1/models/my%20dogs", parts[0], headers)
    assert (wrong.status, wrong.code) == (400, "name") and "letters, digits" in wrong.json["error"]["message"]


def test_hostile_models(server: Server, photo: bytes) -> None:
    whole = MODEL.read_bytes()
    damaged = bytearray(whole)
    for place in range(64, 4000, 7):
        damaged[place] ^= 0x5A
    lengths = whole[:8] + struct.pack("<I", 0xFFFFFFF0) + whole[12:]
    for model in (b"TFL3", whole[: len(whole) // 2], bytes(damaged), lengths, b""):
        parts = (("photo", "a.jpg", photo), ("model", "m", model), ("labels", "l", LABELS.read_bytes()))
        reply = server.ask("POST", "/v1/classify", *form(*parts))
        assert reply.status in (200, 422), reply.body[:300]
        assert "/tmp" not in reply.body.decode()
        assert server.ask("POST", "/v1/classify", photo).status == 200
    few = form(("photo", "a", photo), ("model", "m", whole), ("labels", "l", b"one\ntwo\n"))
    assert server.ask("POST", "/v1/classify", *few).code == "labels"


def test_hanging_function_ends_at_the_deadline_and_uploads_survive_a_restart(tmp_path: Path, photo: bytes) -> None:
    with running(tmp_path, "--functions", "--deadline", "2", "--workers", "1") as server:
        hang = server.ask("POST", "/v1/functions", module("hang"), server.tokens).json["id"]
        echo = server.ask("POST", "/v1/functions", module("echo"), server.tokens).json["id"]
        assert call(server, hang).status == 504
        assert call(server, echo, b"still here").body == b"still here"
        (server.data / "objects" / "left.part").write_bytes(b"of a crash")
        (server.data / "models" / ".aicli-0123.tmp").write_bytes(b"of a crash")
        server.stop(9)
    with running(tmp_path, "--functions", "--workers", "1") as server:
        assert not [path for path in server.data.rglob("*") if path.suffix in (".part", ".tmp")]
        assert call(server, echo, b"again").body == b"again"
        (record,) = [path for path in (server.data / "objects").iterdir() if path.read_bytes() == module("echo")]
        record.write_bytes(b"\0asm tampered with")
        assert call(server, echo).code == "damaged"


def test_functions_are_off_without_the_flag(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "1") as server:
        for method, path in (("GET", "/v1/functions"), ("POST", "/v1/functions"), ("POST", "/v1/functions/x/run")):
            assert server.ask(method, path, b"x", server.tokens).code == "functions_off"
        assert "/v1/functions" not in server.ask("GET", "/openapi.json").json["paths"]
