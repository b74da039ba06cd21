"""``/v1/models`` and ``/v1/functions``: what can be stored, listed, replaced, deleted and called."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aicli._option import Option
from aicli.options import ClassifyOptions, DetectOptions
from aicli.serve.endpoints.photos import known_models
from aicli.serve.http.bodies import parse_multipart
from aicli.serve.http.params import CLASSIFY, Parameter, read_parameters
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service
from aicli.serve.store import checked

__all__ = [
    "add_function",
    "delete_function",
    "delete_model",
    "get_function",
    "list_functions",
    "list_models",
    "put_function",
    "put_model",
    "run_function",
]

WASM_MAGIC = b"\0asm"
TASKS = ("classify", "detect-faces", "command")
TASK = Parameter(Option("Which of its tasks to run.", http="task", name="task", kind="choice", choices=TASKS))
ANSWER = ("top", "min_score")
"""Of a classifier's parameters, those that say what to answer and not how to feed a model."""
RUN = {
    "command": (TASK,),
    "classify": (TASK, *(parameter for parameter in CLASSIFY if parameter.name in ANSWER)),
    "detect-faces": (TASK, *(Parameter(item) for item in DetectOptions.fields if item.http and not item.models)),
}
NO_STORE = {"cache-control": "no-store"}


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


async def list_models(request: Request) -> Response:
    """The catalog's models that are here, and the uploaded ones."""
    service: Service = request.app.state.service
    read_parameters(request.query_params.multi_items(), ())
    listed = []
    for task in ("classify", "detect-faces"):
        names = sorted(set(known_models(task).values()))
        listed += [{"name": name, "task": task, "uploaded": False} for name in names]
    listed += [{**public(record), "task": "classify", "uploaded": True} for record in service.store.records("models")]
    return JSONResponse({"models": listed}, headers=NO_STORE)


def public(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("model", "labels")}


async def put_model(request: Request) -> Response:
    """Keeps a classifier: a form with the parts model and labels, or a .tflite body that brings its labels."""
    service: Service = request.app.state.service
    service.require_token(request)
    name = checked(request.path_params["name"])
    options = read_parameters(request.query_params.multi_items(), ())
    if name in known_models("classify") or name in known_models("detect-faces") or name.endswith(".tflite"):
        raise Problem(409, "name", f"{name!r} cannot be the name of an upload; choose another")
    with service.quarantine_admission.place() as place:
        body = await service.body(request, place)
        parts = {"model": body}
        kind = request.headers.get("content-type", "")
        if kind.lower().startswith("multipart/form-data"):
            parts = {part.name: part.content for part in parse_multipart(body, kind, service.settings.max_parts)}
        if not set(parts) <= {"model", "labels"} or not parts.get("model"):
            raise Problem(400, "multipart", "send a form with the parts model and labels, or a .tflite file")
        blobs = [parts["model"], parts.get("labels", b"")]
        job = {"kind": "check_model", "model": name, "options": options}
        header, _ = await service.run(request, service.quarantine, job, blobs, uuid4().hex)
        record = {"name": name, "bytes": len(blobs[0]), "created": now(), "classes": header["classes"]}
        record |= {"input": header["input"], "notes": header["notes"]}
        replaced = await asyncio.to_thread(keep_model, service, name, record, blobs)
    return JSONResponse(public(record), 200 if replaced else 201, NO_STORE)


def keep_model(service: Service, name: str, record: dict[str, Any], blobs: list[bytes]) -> bool:
    with service.store.locked() as store:
        replaced = store.record("models", name) is not None
        record["model"] = store.put_object(blobs[0])
        record["labels"] = store.put_object(blobs[1]) if blobs[1] else None
        store.put_record("models", name, record)
    return replaced


async def delete_model(request: Request) -> Response:
    service: Service = request.app.state.service
    service.require_token(request)
    read_parameters(request.query_params.multi_items(), ())
    if not await asyncio.to_thread(service.store.delete, "models", request.path_params["name"]):
        raise Problem(404, "not_found", "there is no uploaded model of this name")
    return Response(status_code=204)


def functions_of(request: Request) -> Service:
    """The service, if it has functions and the request may use them."""
    service: Service = request.app.state.service
    if not service.settings.functions:
        raise Problem(403, "functions_off", "functions are switched off in this service")
    service.require_token(request)
    return service


def require_function(service: Service, request: Request) -> dict[str, Any]:
    record = service.store.record("functions", request.path_params["id"])
    if record is None:
        raise Problem(404, "not_found", "there is no function of this id")
    return record


async def list_functions(request: Request) -> Response:
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    return JSONResponse({"functions": service.store.records("functions")}, headers=NO_STORE)


async def get_function(request: Request) -> Response:
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    return JSONResponse(require_function(service, request), headers=NO_STORE)


async def add_function(request: Request) -> Response:
    """Keeps a module; its id is made of its content, so that the same module has the same id."""
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    return await keep_function(service, request, None)


async def put_function(request: Request) -> Response:
    """Replaces the module behind an id, which stays."""
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    return await keep_function(service, request, require_function(service, request)["id"])


async def keep_function(service: Service, request: Request, identifier: str | None) -> Response:
    with service.quarantine_admission.place() as place:
        wasm = await service.body(request, place)
        if not wasm.startswith(WASM_MAGIC):
            raise Problem(
                422,
                "guest",
                "the body is no WebAssembly module; send a .wasm file: curl --data-binary @f.wasm ...",
            )
        job = {"kind": "check_function"}
        header, _ = await service.run(request, service.quarantine, job, [wasm], uuid4().hex)
        record, new = await asyncio.to_thread(record_function, service, identifier, wasm, header["tasks"])
    return JSONResponse(record, 201 if new else 200, NO_STORE)


def record_function(
    service: Service, identifier: str | None, wasm: bytes, tasks: list[str]
) -> tuple[dict[str, Any], bool]:
    with service.store.locked() as store:
        digest = store.put_object(wasm)
        if identifier is None:
            identifier = digest[:20]
            present = store.record("functions", identifier)
            if present is not None and present["sha256"] == digest:
                return present, False
            if present is not None:  # replaced since: this id belongs to other content now
                identifier = f"{digest[:20]}-{uuid4().hex[:8]}"
        new = store.record("functions", identifier) is None
        record = {"id": identifier, "sha256": digest, "bytes": len(wasm), "tasks": tasks, "created": now()}
        store.put_record("functions", identifier, record)
    return record, new


async def delete_function(request: Request) -> Response:
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    if not await asyncio.to_thread(service.store.delete, "functions", request.path_params["id"]):
        raise Problem(404, "not_found", "there is no function of this id")
    return Response(status_code=204)


async def run_function(request: Request) -> Response:
    """Calls a function with the body: a photo for a guest of a task, standard input for a command."""
    service = functions_of(request)
    record = require_function(service, request)
    wanted = request.query_params.get("task", record["tasks"][0])
    given = read_parameters(request.query_params.multi_items(), RUN.get(wanted, (TASK,)))
    if wanted not in record["tasks"]:
        raise Problem(400, "parameter", f"this function does not do {wanted}; it does {', '.join(record['tasks'])}")
    with service.quarantine_admission.place() as place:
        body = await service.body(request, place)
        kept = await asyncio.to_thread(service.store.read, "functions", record["id"])
        if kept is None or wanted not in kept[0]["tasks"]:
            raise Problem(404, "not_found", "this function was replaced or deleted meanwhile")
        record, wasm = kept[0], kept[1]["sha256"]
        options = given.into(DetectOptions if wanted == "detect-faces" else ClassifyOptions).to_dict()
        job = {"kind": "run_function", "task": wanted, "options": options, "names": ["photo"]}
        # A command takes over its process's streams, so that the process serves it once.
        key = uuid4().hex if wanted == "command" else f"function {record['sha256']}"
        try:
            header, blobs = await service.run(request, service.quarantine, job, [wasm, body], key)
        except Problem as problem:
            if problem.code == "guest_fault":
                raise Problem(422, "function_failed", problem.message) from None
            raise
    if wanted == "command":
        return Response(blobs[0], headers={**NO_STORE, "content-type": text_or_bytes(blobs[0])})
    result = header["results"][0]
    if "error" in result:
        status = 422 if result["error"]["code"] == "guest_fault" else result["status"]
        raise Problem(status, result["error"]["code"], result["error"]["message"])
    return JSONResponse(result, headers=NO_STORE)


def text_or_bytes(content: bytes) -> str:
    """The media type of a command's output: never one that a browser would run."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
