"""``/v1/models``: classifiers that can be stored, listed, replaced and deleted."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aicli.serve.endpoints.photos import known_models
from aicli.serve.http.answers import ListedModel, Models, StoredModel
from aicli.serve.http.bodies import parse_multipart
from aicli.serve.http.params import NAME, read_parameters
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service
from aicli.serve.store import now

__all__ = ["delete_model", "list_models", "put_model"]

NO_STORE = {"cache-control": "no-store"}


async def list_models(request: Request) -> Response:
    """The catalog's models that are here, and the uploaded ones."""
    service: Service = request.app.state.service
    read_parameters(request.query_params.multi_items(), ())
    listed: list[ListedModel] = []
    for task in ("classify", "detect-faces"):
        names = sorted(set(known_models(task).values()))
        listed += [{"name": name, "task": task, "uploaded": False} for name in names]
    kept = (public(record) for record in service.store.records("models"))
    listed += [{**record, "task": "classify", "uploaded": True} for record in kept]
    answer: Models = {"models": listed}
    return JSONResponse(answer, headers=NO_STORE)


def public(record: dict[str, Any]) -> StoredModel:
    return cast(StoredModel, {key: record[key] for key in StoredModel.__annotations__ if key in record})


async def put_model(request: Request) -> Response:
    """Keeps a classifier: a form with the parts model and labels, or a .tflite body that brings its labels."""
    service: Service = request.app.state.service
    service.require_token(request)
    name = request.path_params["name"]
    if not NAME.fullmatch(name):
        allowed = "up to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit"
        raise Problem(400, "name", f"{name[:80]!r} cannot be the name of a model; a name has {allowed}")
    options = read_parameters(request.query_params.multi_items(), ())
    if (known := (known_models("classify") | known_models("detect-faces")).get(name)) is not None:
        what = "the name" if known == name else "another name"
        raise Problem(409, "name", f"{name!r} is {what} of the service's model {known}; choose another")
    if name.endswith(".tflite"):
        raise Problem(409, "name", f"{name!r} looks like a file; leave .tflite out of the name")
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
