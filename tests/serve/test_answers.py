"""The service's answers have exactly the properties that its description names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aicli.serve.http.openapi import schemas
from tests.serve.conftest import Server, form
from tests.serve.test_uploads import LABELS, MODEL, module

jsonschema = pytest.importorskip("jsonschema")


def closed(schema: Any) -> Any:
    """The same schema, for objects without any other property."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    return {**found, "additionalProperties": False} if "properties" in schema else found


def check(name: str, answer: Any) -> None:
    document = {"components": {"schemas": closed(schemas())}, "$ref": f"#/components/schemas/{name}"}
    jsonschema.validate(answer, document)


def test_a_property_too_many_or_too_few_is_found() -> None:
    check("Executable", {"wasm_id": "a", "wasm_sha256": "b"})
    for wrong in ({"wasm_id": "a"}, {"wasm_id": "a", "wasm_sha256": "b", "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            check("Executable", wrong)


def test_answers_about_models(server: Server) -> None:
    body, kind = form(("model", "m", MODEL.read_bytes()), ("labels", "l", LABELS.read_bytes()))
    kept = server.ask("PUT", "/v1/models/described", body, {**kind, **server.tokens})
    check("Model", kept.json)
    listed = server.ask("GET", "/v1/models").json
    check("Models", listed)
    found = {model["name"]: model for model in listed["models"]}
    assert found["described"] == {**kept.json, "task": "classify", "uploaded": True}
    assert server.ask("DELETE", "/v1/models/described", None, server.tokens).status == 204


def test_answers_about_functions(server: Server) -> None:
    described = {**server.tokens, "SSVM-Description": "says what it gets"}
    new = server.ask("POST", "/api/executables", module("echo"), described).json
    check("NewExecutable", new)
    address = f"/v1/functions/{new['wasm_id']}"
    one = server.ask("GET", address, None, server.tokens).json
    check("Function", one)
    assert one["description"] == "says what it gets"
    listed = server.ask("GET", "/v1/functions", None, server.tokens).json
    check("Functions", listed)
    assert one in listed["functions"]
    keys = {**server.tokens, "SSVM_Admin_Key": new["SSVM_Admin_Key"]}
    path = f"/api/update_wasm_binary/{new['wasm_id']}"
    check("Executable", server.ask("PUT", path, module("fail"), keys).json)
    assert server.ask("DELETE", address, None, server.tokens).status == 204


@pytest.mark.parametrize("address", ["/v1/classify", "/v1/faces"])
def test_answers_about_photos(server: Server, photo: bytes, address: str) -> None:
    name = "Classification" if address == "/v1/classify" else "Detection"
    check(name, server.ask("POST", address, photo).json)
    several = server.ask("POST", address, *form(("photo", "a.jpg", photo), ("photo", "b.jpg", b"no photo"))).json
    check(f"{name}s", several)
    assert [("error" in record) for record in several["results"]] == [False, True]
    check("Failures", server.ask("POST", address, *form(("photo", "b.jpg", b"no photo"))).json)
    check("Error", server.ask("POST", address, b"no photo").json)
    check("Error", json.loads(server.ask("PATCH", address, b"").body))
