"""The addresses of the Second State FaaS, for clients that move from it: ``/api/executables`` and ``/api/run``.

They are behind the service's token. The FaaS' own keys are answered in their places: nobody needs a usage key here, and
an admin key is asked for where it was, to replace a module.
"""

from __future__ import annotations

import hmac
from typing import Any
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aicli.serve.endpoints.functions import (
    NO_STORE,
    call_stored,
    functions_of,
    keep_function,
    require_function,
)
from aicli.serve.http.answers import Executable, NewExecutable
from aicli.serve.http.params import read_parameters
from aicli.serve.http.problems import Problem

__all__ = ["add_executable", "run_bytes", "run_text", "update_binary"]

NO_KEY = str(UUID(int=0))
MAX_DESCRIPTION = 200
BYTES = "application/octet-stream"


async def add_executable(request: Request) -> Response:
    """Keeps a module, with what ``SSVM-Description`` says of it."""
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    described = request.headers.get("ssvm-description", "")[:MAX_DESCRIPTION]
    more: dict[str, Any] = {"description": described} if described else {}
    record, _ = await keep_function(service, request, None, more | {"admin_key": str(uuid4())})
    answer: NewExecutable = {
        **identity(record),
        "SSVM_Usage_Key": NO_KEY,
        "SSVM_Admin_Key": record["admin_key"],
    }
    return JSONResponse(answer, headers=NO_STORE)


def identity(record: dict[str, Any]) -> Executable:
    return {"wasm_id": record["id"], "wasm_sha256": f"0x{record['sha256']}"}


async def update_binary(request: Request) -> Response:
    """Replaces the module of an id, for whoever has its admin key."""
    service = functions_of(request)
    read_parameters(request.query_params.multi_items(), ())
    record = require_function(service, request)
    given = request.headers.get("ssvm_admin_key") or request.headers.get("ssvm-admin-key", "")
    right = str(record.get("admin_key", ""))
    if not right or not hmac.compare_digest(given.encode("utf-8", "replace"), right.encode()):
        raise Problem(403, "admin_key", "give the SSVM_Admin_Key that /api/executables answered for this id")
    record, _ = await keep_function(service, request, record["id"])
    return JSONResponse(identity(record), headers=NO_STORE)


async def run_text(request: Request) -> Response:
    """Calls a function with the body, or with each part of a form; the answer as it is."""
    return await run(request, "")


async def run_bytes(request: Request) -> Response:
    """The same; the answer is bytes, whatever they are."""
    return await run(request, BYTES)


async def run(request: Request, media_type: str) -> Response:
    service = functions_of(request)
    items = request.query_params.multi_items()
    models = [value for name, value in items if name == "model"]
    read_parameters([item for item in items if item[0] != "model"], ())
    record = require_function(service, request)
    name = request.path_params["function"]
    return await call_stored(service, request, record, name, models=models, media_type=media_type)
