"""Functions by HTTP: arguments of each kind, forms, named models, errors, and the addresses of the FaaS before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.run.conftest import assemble, build  # noqa: F401
from tests.run.test_hostile_functions import HOSTILE
from tests.serve.conftest import PROJECT, Server, form, running, wait_for

MODEL = PROJECT / "models" / "dog_breeds.tflite"
LABELS = PROJECT / "labels" / "dog_breeds.txt"


@pytest.fixture
def add(server: Server, build) -> Callable[..., str]:  # noqa: F811
    def upload(name: str, *cfg: str) -> str:
        reply = server.ask("POST", "/v1/functions", build(f"functions/{name}", *cfg).read_bytes(), server.tokens)
        assert reply.status in (200, 201), reply.body
        return str(reply.json["id"])

    return upload


def call(
    server: Server, identifier: str, body: bytes = b"", headers: dict[str, str] | None = None, **query: Any
) -> Any:
    path = f"/v1/functions/{identifier}/run"
    return server.ask("POST", path, body, {**server.tokens, **(headers or {})}, **query)


@pytest.mark.parametrize("guest", [("bindgen",), ("framed",), ("framed", "env")], ids="-".join)
def test_functions_get_the_body_and_arguments(server: Server, add: Callable[..., str], guest: tuple[str, ...]) -> None:
    identifier = add(*guest)
    reply = call(server, identifier, "Ännchen".encode(), call="say")
    assert (reply.status, reply.body.decode()) == (200, "hello Ännchen")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert call(server, identifier, b"printed is not answered", call="chatty").body == b"printed is not answered"
    assert call(server, identifier, call="repeat", arg="3").status in (400, 422)
    query = "call=repeat&arg=3&arg=ab"
    assert server.ask("POST", f"/v1/functions/{identifier}/run?{query}", None, server.tokens).body == b"ababab"
    data = bytes(range(256)) * 1000
    reply = call(server, identifier, data, call="invert")
    assert reply.body == bytes(255 - byte for byte in data)
    assert reply.headers["content-type"] == "application/octet-stream"
    body, headers = form(("a", "model.tflite", b"one"), ("b", "", b"four"), ("c", "photo.jpg", b"\xff"))
    assert call(server, identifier, body, headers, call="join").body == b"3 4 1"
    refused = call(server, identifier, call="fail")
    assert (refused.status, refused.code) == (422, "function_failed")
    assert "my own words" in refused.json["error"]["message"]
    assert call(server, identifier, b"@/etc/passwd", call="say").body == b"hello @/etc/passwd"
    assert call(server, identifier, call="say", arg="@/etc/passwd").body == b"hello @/etc/passwd"


def test_what_can_be_called_is_listed(server: Server, add: Callable[..., str]) -> None:
    only = add("runnable")
    record = server.ask("GET", f"/v1/functions/{only}", None, server.tokens).json
    assert (record["tasks"], record["functions"]) == (["function"], ["run_e"])
    assert not set(record) & {"code", "code_key", "admin_key"}
    assert call(server, only, b"Ann").body == b"hello Ann"
    several = add("bindgen")
    assert "?call= one of say, chatty" in call(server, several, b"x").json["error"]["message"]
    absent = call(server, several, b"x", call="absent")
    assert (absent.status, absent.code) == (404, "not_found")
    wrong = call(server, several, b"x", call="say", arg="too many")
    assert (wrong.status, wrong.code) == (400, "parameter")
    assert call(server, several, b"x", call="say", top="3").status == 400


def test_no_call_sees_another(server: Server, add: Callable[..., str], assemble) -> None:  # noqa: F811
    text = """(module (memory (export "memory") 1) (global $calls (mut i32) (i32.const 0))
        (func (export "allocate") (param i32) (result i32) (i32.const 64))
        (func (export "deallocate") (param i32 i32))
        (data (i32.const 128) "\\00\\90\\00\\00\\00\\01\\00\\00\\00")
        (data (i32.const 144) "\\a0\\00\\00\\00\\06\\00\\00\\00\\04\\00\\00\\00")
        (func (export "count") (param i32 i32) (result i32)
          (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
          (i32.store (i32.const 160) (global.get $calls)) (i32.const 128)))"""
    reply = server.ask("POST", "/v1/functions", assemble(text).read_bytes(), server.tokens)
    assert [call(server, reply.json["id"]).body for _ in range(3)] == [b"1"] * 3


def test_models_by_name(server: Server, add: Callable[..., str]) -> None:
    identifier = add("named")
    body, headers = form(("model", "m.tflite", MODEL.read_bytes()), ("labels", "l.txt", LABELS.read_bytes()))
    assert server.ask("PUT", "/v1/models/mine", body, {**server.tokens, **headers}).status in (200, 201)
    for name in ("mine", "dog_breeds", "mtcnn:rnet"):
        reply = call(server, identifier, name.encode(), model=name)
        assert reply.body.decode().startswith("0 true 0 "), reply.body
    assert call(server, identifier, b"mine").body.startswith(b"8 ")
    assert call(server, identifier, b"x", model="absent").status == 404
    assert "mtcnn:pnet" in call(server, identifier, b"x", model="mtcnn").json["error"]["message"]


def test_the_addresses_of_the_faas(server: Server, build) -> None:  # noqa: F811
    wasm = build("functions/framed", "named").read_bytes()
    described = {**server.tokens, "SSVM-Description": "greets", "Content-Type": "application/octet-stream"}
    kept = server.ask("POST", "/api/executables", wasm, described).json
    assert set(kept) == {"wasm_id", "wasm_sha256", "SSVM_Usage_Key", "SSVM_Admin_Key"}
    assert kept["wasm_sha256"].startswith("0x")
    record = server.ask("GET", f"/v1/functions/{kept['wasm_id']}", None, server.tokens).json
    assert record["description"] == "greets"
    run = f"/api/run/{kept['wasm_id']}"
    assert server.ask("POST", f"{run}/say", b"Ann", server.tokens).body == b"hello Ann"
    reply = server.ask("POST", f"{run}/say/bytes", b"Ann", server.tokens)
    assert (reply.body, reply.headers["content-type"]) == (b"hello Ann", "application/octet-stream")
    body, headers = form(("x", "a.jpg", b"1"), ("y", "b.jpg", b"22"), ("z", "c.jpg", b""))
    for end in ("", "/bytes"):
        multipart = f"/api/multipart/run/{kept['wasm_id']}/join{end}"
        assert server.ask("POST", multipart, body, {**server.tokens, **headers}).body == b"1 2 0"
    assert server.ask("POST", f"{run}/say", b"Ann").status == 401
    update = f"/api/update_wasm_binary/{kept['wasm_id']}"
    newer = build("functions/runnable").read_bytes()
    for key in ("", "wrong"):
        assert server.ask("PUT", update, newer, {**server.tokens, "SSVM_Admin_Key": key}).code == "admin_key"
    again = server.ask("POST", "/api/executables", wasm, server.tokens).json
    assert again["SSVM_Admin_Key"] == kept["SSVM_Admin_Key"]
    given = {**server.tokens, "SSVM_Admin_Key": kept["SSVM_Admin_Key"]}
    assert server.ask("PUT", update, newer, given).json["wasm_id"] == kept["wasm_id"]
    assert server.ask("POST", f"{run}/run_e", b"Ann", server.tokens).body == b"hello Ann"


@pytest.mark.parametrize(
    "name",
    [
        "malloc outside memory",
        "a result of 4 GiB",
        "a malloc that calls the function, which calls it",
        "4 Gi values",
        "a gigabyte of numbers",
        "an error of 4 GiB",
        "handed over from outside",
        "a runnable's result of 4 GiB",
    ],
)
def test_hostile_functions_fail_alone(server: Server, assemble, photo: bytes, name: str) -> None:  # noqa: F811
    text, words = HOSTILE[name]
    reply = server.ask("POST", "/v1/functions", assemble(text).read_bytes(), server.tokens)
    refused = call(server, reply.json["id"], b"abc")
    assert (refused.status, refused.code) == (422, "function_failed")
    assert words in refused.json["error"]["message"] and str(server.data) not in refused.body.decode()
    assert server.ask("POST", "/v1/classify", photo).status == 200


def test_the_reason_that_a_legacy_call_cannot_give_is_in_the_answer(server: Server, assemble) -> None:  # noqa: F811
    text = """(module
        (import "ssvm_tensorflowlite" "ssvm_tensorflowlite_create_session" (func $load (param i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "__wbindgen_malloc") (param i32) (result i32) (i32.const 64))
        (func (export "__wbindgen_free") (param i32 i32))
        (func (export "f") (param i32 i32 i32) (drop (call $load (local.get 1) (local.get 2))) unreachable))"""
    reply = server.ask("POST", "/v1/functions", assemble(text).read_bytes(), server.tokens)
    refused = call(server, reply.json["id"], b"no model")
    assert refused.status == 422 and refused.json["error"]["message"].count("is no TFLite file") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a process serves several calls where it can be copied")
def test_a_function_is_compiled_at_its_upload(tmp_path: Path, assemble) -> None:  # noqa: F811
    step = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 7)) (i32.rotl (local.get 0) (i32.const 3))))" * 40
    work = "".join(f"(func $f{n} (param i32) (result i32) {step} (local.get 0))" for n in range(700))
    text = f"""(module (memory (export "memory") 1) {work}
        (func (export "__wbindgen_malloc") (param i32) (result i32) (i32.const 64))
        (func (export "__wbindgen_free") (param i32 i32))
        (func (export "f") (param i32) (result i32) (call $f1 (local.get 0))))"""
    wasm = assemble(text).read_bytes()
    with running(tmp_path, "--functions", "--workers", "1") as server:
        identifier = server.ask("POST", "/v1/functions", wasm, server.tokens).json["id"]
        wait_for(lambda: bool(work_of(server, "/v1/functions")))
        (upload,) = work_of(server, "/v1/functions")
    with running(tmp_path, "--functions", "--workers", "1") as server:
        assert call(server, identifier, arg="1").status == 200
        assert call(server, identifier, arg="1").status == 200
        wait_for(lambda: len(work_of(server, f"/v1/functions/{identifier}/run")) == 2)
        calls = work_of(server, f"/v1/functions/{identifier}/run")
    assert max(calls) < upload / 2


def work_of(server: Server, path: str) -> list[float]:
    """The milliseconds of work on each request for a path, as the log has them."""
    return [event["work_ms"] for event in server.events("request") if event["path"] == path]
