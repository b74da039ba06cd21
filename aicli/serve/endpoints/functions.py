"""``/v1/functions``: modules that are stored, listed, replaced, deleted and called."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aicli._option import Option
from aicli.catalog import entries
from aicli.catalog.required import require_file
from aicli.errors import AicliError
from aicli.options import ClassifyOptions, DetectOptions
from aicli.serve.http.answers import Functions, StoredFunction
from aicli.serve.http.bodies import Part, parse_multipart
from aicli.serve.http.params import CLASSIFY, Parameter, read_parameters
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service
from aicli.serve.store import checked, now

__all__ = [
    "add_function",
    "call_stored",
    "delete_function",
    "functions_of",
    "get_function",
    "keep_function",
    "list_functions",
    "put_function",
    "require_function",
    "run_function",
]

WASM_MAGIC = b"\0asm"
TASKS = ("classify", "detect-faces", "command", "function")
TASK = Parameter(Option("Which of its tasks to run.", http="task", name="task", kind="choice", choices=TASKS))
ANSWER = ("top", "min_score")
"""Of a classifier's parameters, those that say what to answer and not how to feed a model."""
RUN = {
    "command": (TASK,),
    "function": (TASK,),
    "classify": (TASK, *(parameter for parameter in CLASSIFY if parameter.name in ANSWER)),
    "detect-faces": (TASK, *(Parameter(item) for item in DetectOptions.fields if item.http and not item.models)),
}
OF_FUNCTIONS = ("call", "arg", "model")
"""The parameters of a command or a function; all but ``call`` may be given several times."""
NO_STORE = {"cache-control": "no-store"}
MAX_MODELS = 16


def public(record: dict[str, Any]) -> StoredFunction:
    """What is told of a record, in its own order."""
    shown = StoredFunction.__required_keys__ | StoredFunction.__optional_keys__
    return cast(StoredFunction, {key: value for key, value in record.items() if key in shown})


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
    answer: Functions = {"functions": [public(item) for item in service.store.records("functions")]}
    return JSONResponse(answer, headers=NO_STORE)


async def get_function(request: Request) -> Response:
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    return JSONResponse(public(require_function(service, request)), headers=NO_STORE)


async def add_function(request: Request) -> Response:
    """Keeps a module; its id is made of its content, so that the same module has the same id."""
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    record, new = await keep_function(service, request, None)
    return JSONResponse(public(record), 201 if new else 200, NO_STORE)


async def put_function(request: Request) -> Response:
    """Replaces the module behind an id, which stays."""
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    record, new = await keep_function(service, request, require_function(service, request)["id"])
    return JSONResponse(public(record), 201 if new else 200, NO_STORE)


async def keep_function(
    service: Service, request: Request, identifier: str | None, more: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], bool]:
    """Compiles and keeps the body; its record, with ``more`` in it, and whether it is new."""
    with service.quarantine_admission.place() as place:
        wasm = await service.body(request, place)
        if not wasm.startswith(WASM_MAGIC):
            raise Problem(
                422,
                "guest",
                "the body is not a WebAssembly module; send a .wasm file: curl --data-binary @f.wasm ...",
            )
        job = {"kind": "check_function"}
        header, blobs = await service.run(request, service.quarantine, job, [wasm], uuid4().hex, once=True)
        found = {"tasks": header["tasks"], "functions": header["functions"], "code_key": header["code_key"]}
        return await asyncio.to_thread(record_function, service, identifier, wasm, blobs[0], found | dict(more or {}))


def record_function(
    service: Service, identifier: str | None, wasm: bytes, code: bytes, found: dict[str, Any]
) -> tuple[dict[str, Any], bool]:
    with service.store.locked() as store:
        digest = store.put_object(wasm)
        if identifier is None:
            identifier = digest[:20]
            present = store.record("functions", identifier)
            if present is not None and present["sha256"] != digest:
                identifier = f"{digest[:20]}-{uuid4().hex[:8]}"  # replaced since: this id belongs to other content now
        before = store.record("functions", identifier) or {}
        created = before["created"] if before.get("sha256") == digest else now()
        record = {"id": identifier, "sha256": digest, "bytes": len(wasm), "created": created}
        # What a client was told of an id stays true.
        record |= {"description": before["description"]} if "description" in before else {}
        record |= found | ({"admin_key": before["admin_key"]} if "admin_key" in before else {})
        record["code"] = store.put_object(code) if code else None
        store.put_record("functions", identifier, record)
    return record, not before


async def delete_function(request: Request) -> Response:
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    if not await asyncio.to_thread(service.store.delete, "functions", request.path_params["id"]):
        raise Problem(404, "not_found", "there is no function of this id")
    return Response(status_code=204)


async def run_function(request: Request) -> Response:
    """Calls a function: a photo for a guest of a task, standard input for a command, values for a function."""
    service = functions_of(request)
    record = require_function(service, request)
    items = request.query_params.multi_items()
    calls = [value for name, value in items if name == "call"]
    if len(calls) > 1:
        raise Problem(400, "parameter", "the parameter call is given twice")
    wanted = "function" if calls else request.query_params.get("task", record["tasks"][0])
    values = [value for name, value in items if name == "arg"]
    models = [value for name, value in items if name == "model"]
    others = (
        items if wanted in ("classify", "detect-faces") else [item for item in items if item[0] not in OF_FUNCTIONS]
    )
    given = read_parameters(others, RUN.get(wanted, (TASK,)))
    if values and wanted != "function":
        raise Problem(400, "parameter", f"arg is for functions, and this is a {wanted}")
    if wanted == "function":
        name = calls[0] if calls else only_function(record)
        return await call_stored(service, request, record, name, values, models)
    return await run_task(service, request, record, wanted, given, models)


def only_function(record: dict[str, Any]) -> str:
    names: list[str] = record.get("functions", [])
    if len(names) != 1:
        raise Problem(400, "parameter", f"say which function to call: ?call= one of {', '.join(names) or 'none'}")
    return names[0]


async def call_stored(
    service: Service,
    request: Request,
    record: dict[str, Any],
    name: str,
    values: Sequence[str] = (),
    models: Sequence[str] = (),
    media_type: str = "",
) -> Response:
    """Calls a function of a stored module with ``values``, then the body, or each part of a form in its order."""
    if name not in record.get("functions", []):
        known = ", ".join(record.get("functions", [])) or "none"
        raise Problem(404, "not_found", f"the module has no function {name[:80]!r}; it has {known}")
    with service.quarantine_admission.place() as place:
        body = await service.body(request, place)
        kind = request.headers.get("content-type", "")
        parts = [Part(content=body)] if body else []
        if kind.lower().startswith("multipart/form-data"):
            parts = parse_multipart(body, kind, service.settings.max_parts)
        blobs = [part.content for part in parts if not is_field(part)]
        count = 0
        arguments: list[str | int] = list(values)
        for part in parts:
            if is_field(part):
                arguments.append(part.content.decode("utf-8", "replace"))
            else:
                arguments.append(count)
                count += 1
        job = {"task": "function", "call": name, "values": arguments}
        _, answer = await run_stored(service, request, record, job, blobs, models)
    return Response(answer[0], headers={**NO_STORE, "content-type": media_type or text_or_bytes(answer[0])})


def is_field(part: Part) -> bool:
    """Whether a part of a form is a field that somebody wrote, and no file."""
    return bool(part.name) and not part.filename


async def run_task(
    service: Service,
    request: Request,
    record: dict[str, Any],
    wanted: str,
    given: Any,
    models: Sequence[str],
) -> Response:
    if wanted not in record["tasks"]:
        raise Problem(400, "parameter", f"this function does not do {wanted}; it does {', '.join(record['tasks'])}")
    with service.quarantine_admission.place() as place:
        body = await service.body(request, place)
        options = given.into(DetectOptions if wanted == "detect-faces" else ClassifyOptions).to_dict()
        job = {"task": wanted, "options": options, "names": ["photo"], "values": []}
        named = models if wanted == "command" else ()
        header, blobs = await run_stored(service, request, record, job, [body], named)
    if wanted == "command":
        return Response(blobs[0], headers={**NO_STORE, "content-type": text_or_bytes(blobs[0])})
    result = header["results"][0]
    if "error" in result:
        status = 422 if result["error"]["code"] == "guest_fault" else result["status"]
        raise Problem(status, result["error"]["code"], result["error"]["message"])
    return JSONResponse(result, headers=NO_STORE)


async def run_stored(
    service: Service,
    request: Request,
    record: dict[str, Any],
    job: dict[str, Any],
    blobs: list[bytes],
    models: Sequence[str],
) -> tuple[dict[str, Any], Sequence[bytes]]:
    """What a stored module answers to a job in quarantine, with ``models`` that it may load by name."""
    kept = await asyncio.to_thread(service.store.read, "functions", record["id"])
    if kept is None or job["task"] not in kept[0]["tasks"]:
        raise Problem(404, "not_found", "this function was replaced or deleted meanwhile")
    record, objects = kept
    named, more = await asyncio.to_thread(find_models, service, models, len(blobs))
    job |= {"kind": "run_function", "models": named, "code_key": record.get("code_key", "")}
    blobs = [objects["sha256"], objects.get("code", b""), *blobs, *more]
    # A process of one module alone; where calls are no copies of it, of one call alone.
    key = f"function {record['sha256']}" if sys.platform == "linux" else uuid4().hex
    try:
        header, answer = await service.run(request, service.quarantine, job, blobs, key)
    except Problem as problem:
        if problem.code == "guest_fault":
            raise Problem(422, "function_failed", problem.message) from None
        raise
    if header["code_key"] != record.get("code_key") and answer[-1]:  # another version of the runtime than at the upload
        await asyncio.to_thread(renew_code, service, record, header["code_key"], answer[-1])
    return header, answer


def renew_code(service: Service, record: dict[str, Any], key: str, code: bytes) -> None:
    with service.store.locked() as store:
        present = store.record("functions", record["id"])
        if present is not None and present["sha256"] == record["sha256"]:
            renewed = {**present, "code": store.put_object(code), "code_key": key}
            store.put_record("functions", record["id"], renewed)


def find_models(service: Service, names: Sequence[str], first: int) -> tuple[dict[str, str | int], list[bytes]]:
    """Uploaded models as the numbers of blobs from ``first`` on, and those of the catalog as paths; ``mtcnn:pnet`` is
    one file of several, and ``pnet=mtcnn:pnet`` the same under another name. Raises :class:`Problem` 404 for others."""
    if len(names) > MAX_MODELS:
        raise Problem(400, "parameter", f"at most {MAX_MODELS} models can be named")
    found: dict[str, str | int] = {}
    blobs: list[bytes] = []
    for text in names:
        name, _, wanted = text.partition("=")
        model, _, role = (wanted or name).partition(":")
        kept = service.store.read("models", checked(model)) if not role else None
        if kept is not None:
            found[name] = first + len(blobs)
            blobs.append(kept[1]["model"])
            continue
        try:
            entry = entries.require_entry(model)
            nets = [key for key in entry.files if key != "labels"]
            role = role or (nets[0] if len(nets) == 1 else "")
            if role not in nets:
                raise Problem(404, "not_found", f"{name}: choose one of {', '.join(f'{model}:{net}' for net in nets)}")
            found[name] = str(require_file(entry, role))
        except AicliError as error:
            raise Problem(404, "not_found", f"the model cannot be given to a function: {error.message}") from None
    return found, blobs


def text_or_bytes(content: bytes) -> str:
    """The media type of a command's output: never one that a browser would run."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
