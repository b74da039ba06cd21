"""The API's description in OpenAPI 3.1: requests from the options that check them, answers from the result types."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from aicli import __version__
from aicli._record import Record
from aicli.results import Classification, Detection, Prediction
from aicli.serve.http.answers import (
    ErrorAnswer,
    Executable,
    Failed,
    Failures,
    Functions,
    Models,
    NewExecutable,
    StoredFunction,
    StoredModel,
    TrainingLimits,
    TrainingRun,
)
from aicli.serve.http.params import CLASSIFY, FACES, NAME, TRAIN, Parameter
from aicli.serve.settings import Settings

__all__ = ["describe"]

JSON = "application/json"
BINARY = {"type": "string", "format": "binary"}
NUMBER, STRING, INTEGER = {"type": "number"}, {"type": "string"}, {"type": "integer"}
BOOLEAN = {"type": "boolean"}
PLAIN = {str: STRING, float: NUMBER, int: INTEGER, bool: BOOLEAN}
ANSWERS = {
    "Error": ErrorAnswer,
    "Executable": Executable,
    "Failed": Failed,
    "Failures": Failures,
    "Function": StoredFunction,
    "Functions": Functions,
    "Model": StoredModel,
    "Models": Models,
    "NewExecutable": NewExecutable,
    "Run": TrainingRun,
    "Training": TrainingLimits,
}
"""The schemas by their names in the document; one that has a name is referred to where it is part of another."""
NAMES = {kind: name for name, kind in ANSWERS.items()}
WRITTEN_TOO = {Prediction: ("confidence",)}
"""Properties that a record has beside the fields of its type."""
STATUS = {
    400: "A parameter or the body is wrong.",
    401: "The token is missing or wrong.",
    403: "This is switched off.",
    404: "There is no such thing.",
    405: "The address does not take this method.",
    406: "The answer would be of another type.",
    408: "The request was too slow.",
    409: "The name is taken.",
    413: "The body, the photo or the number of parts is too large.",
    421: "The service does not answer to this Host.",
    422: "The photo, model or function cannot be used.",
    431: "The headers of a part are too long.",
    500: "The service failed on this request.",
    503: "Busy: try again after the seconds in Retry-After.",
    504: "The work took longer than the deadline.",
    507: "The upload cannot be kept.",
}
PHOTO_ERRORS = (400, 404, 408, 413, 422, 431, 500, 503, 504)
STORE_ERRORS = (*PHOTO_ERRORS, 401, 403, 409, 507)


def record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def listing(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def answer(kind: Any) -> dict[str, Any]:
    """The schema of an answer's type, or of a result's as its ``to_dict`` writes it.

    A tuple of numbers alone (a point, a box) is an array, every other type an object, without what has a default if
    it says nothing.
    """
    if kind in PLAIN:
        return PLAIN[kind]
    if NoneType in get_args(kind):
        return part(next(each for each in get_args(kind) if each is not NoneType))
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": part(get_args(kind)[1])}
    if get_origin(kind) is list or get_args(kind)[1:] == (...,):
        return listing(part(get_args(kind)[0]))
    hints = get_type_hints(kind)
    if is_typeddict(kind):
        optional = kind.__optional_keys__
    elif issubclass(kind, Record):
        optional = {name for name in hints if hasattr(kind, name)}
    elif set(hints.values()) == {float}:
        return {**listing(NUMBER), "minItems": len(hints), "maxItems": len(hints)}
    else:
        optional = set(kind._field_defaults)
    hints |= {name: get_type_hints(getattr(kind, name).fget)["return"] for name in WRITTEN_TOO.get(kind, ())}
    found = record(**{name: part(hint) for name, hint in hints.items()})
    return {**found, "required": [name for name in hints if name not in optional]}


def part(kind: Any) -> dict[str, Any]:
    return reference(NAMES[kind]) if kind in NAMES else answer(kind)


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> dict[str, Any]:
    photos = {"Classification": Classification, "Detection": Detection}
    several = {
        f"{name}s": record(results=listing({"anyOf": [reference(name), reference("Failed")]})) for name in photos
    }
    return {name: answer(kind) for name, kind in (ANSWERS | photos).items()} | several


def answers(
    good: dict[int, tuple[str, dict[str, Any]]], errors: Sequence[int], *, of_photos: bool = False
) -> dict[str, Any]:
    """Responses: for each good status its description and content, then the errors.

    ``of_photos``: a form all of whose photos failed is answered with the list of their errors.
    """
    failure = json_of("Error", "Failures") if of_photos else json_of("Error")
    found: dict[str, Any] = {}
    for status, (text, content) in good.items():
        found[str(status)] = {"description": text, **({"content": content} if content else {})}
    for status in sorted({*errors, 405, 421}):
        response: dict[str, Any] = {"description": STATUS[status], "content": failure}
        if status == 503:
            response["headers"] = {"Retry-After": {"schema": INTEGER}}
        found[str(status)] = response
    return found


def json_of(*names: str) -> dict[str, Any]:
    kinds = [reference(name) for name in names]
    return {JSON: {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}}


def form(required: Sequence[str], **parts: Any) -> dict[str, Any]:
    return {"multipart/form-data": {"schema": {"type": "object", "properties": parts, "required": list(required)}}}


def body(*contents: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for content in contents:
        merged |= content
    return {"required": True, "content": merged}


RAW = {"application/octet-stream": {"schema": BINARY}}
TOKEN: list[dict[str, list[str]]] = [{"token": []}]
TOKEN_ELSEWHERE: list[dict[str, list[str]]] = [*TOKEN, {}]
"""From the machine itself no token is needed."""


def operation(summary: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"summary": summary, "responses": responses, **more}


def query(table: Sequence[Parameter]) -> list[dict[str, Any]]:
    return [parameter.describe() for parameter in table]


def describe(settings: Settings) -> dict[str, Any]:
    """The document, for the service as it was started."""
    paths = photo_paths() | model_paths() | (function_paths() if settings.functions else {})
    paths |= training_paths(settings) | other_paths()
    limits = f"Bodies up to {settings.max_body} bytes, photos up to {settings.max_pixels} pixels, "
    limits += f"{settings.max_parts} parts in a form, {settings.deadline:g} s for the work on a request."
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aicli",
            "version": __version__,
            "description": f"Labels for photos, faces in photos, and functions of one's own. {limits}",
        },
        "paths": paths,
        "components": {"schemas": schemas(), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def photo_paths() -> dict[str, Any]:
    image = {kind: {"schema": BINARY} for kind in ("image/jpeg", "image/png")}
    several = {"anyOf": [BINARY, listing(BINARY)]}
    classify = operation(
        "Say what is in photos",
        answers(
            {200: ("A record, or for a form a list of records.", json_of("Classification", "Classifications"))},
            PHOTO_ERRORS,
            of_photos=True,
        ),
        parameters=query(CLASSIFY),
        requestBody=body(RAW, image, form(["photo"], photo=several, model=BINARY, labels=BINARY)),
    )
    pictures = {kind: {"schema": BINARY} for kind in ("image/png", "image/jpeg", "image/webp")}
    drawn = {**json_of("Detection", "Detections"), **pictures}
    faces = operation(
        "Find faces in photos",
        answers(
            {200: ("Records, or with Accept: image/png the photo with boxes, or with its faces hidden.", drawn)},
            (*PHOTO_ERRORS, 406),
            of_photos=True,
        ),
        parameters=query(FACES),
        requestBody=body(RAW, image, form(["photo"], photo=several, cover=BINARY)),
    )
    return {"/v1/classify": {"post": classify}, "/v1/faces": {"post": faces}}


def named(name: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{NAME.pattern}$"}}
    ]


def model_paths() -> dict[str, Any]:
    keep = operation(
        "Keep a classifier under a name",
        answers({200: ("Replaced.", json_of("Model")), 201: ("Kept.", json_of("Model"))}, STORE_ERRORS),
        requestBody=body(RAW, form(["model"], model=BINARY, labels=BINARY)),
        security=TOKEN,
    )
    delete = operation(
        "Delete an uploaded classifier", answers({204: ("Deleted.", {})}, (400, 401, 403, 404)), security=TOKEN
    )
    models = operation("List the models", answers({200: ("The models.", json_of("Models"))}, (400,)))
    return {
        "/v1/models": {"get": models},
        "/v1/models/{name}": {"parameters": named("name"), "put": keep, "delete": delete},
    }


def function_paths() -> dict[str, Any]:
    one = json_of("Function")
    output = {"text/plain": {"schema": STRING}, "application/octet-stream": {"schema": BINARY}}
    result = json_of("Classification", "Detection") | output
    add = answers({200: ("It was there already.", one), 201: ("Kept.", one)}, STORE_ERRORS)
    few = (400, 401, 403, 404)
    everything = {
        "get": operation(
            "List the functions", answers({200: ("The functions.", json_of("Functions"))}, few), security=TOKEN
        ),
        "post": operation("Keep a WebAssembly module", add, requestBody=body(RAW), security=TOKEN),
    }
    single = {
        "parameters": named("id"),
        "get": operation("Describe a function", answers({200: ("The function.", one)}, few), security=TOKEN),
        "put": operation("Replace a function, which keeps its id", add, requestBody=body(RAW), security=TOKEN),
        "delete": operation("Delete a function", answers({204: ("Deleted.", {})}, few), security=TOKEN),
    }
    run = operation(
        "Call a function with the body",
        answers({200: ("What the function gave.", result)}, STORE_ERRORS),
        requestBody={**body(RAW, form([])), "required": False},
        security=TOKEN,
        parameters=[in_query(name, text) for name, text in CALLED.items()],
        description="A guest of a task takes a photo and that task's query parameters; a WASI command takes anything "
        "on standard input; a function takes each arg, then the body, or each part of a form.",
    )
    return {
        "/v1/functions": everything,
        "/v1/functions/{id}": single,
        "/v1/functions/{id}/run": {"parameters": named("id"), "post": run},
    } | former_paths(output)


def training_paths(settings: Settings) -> dict[str, Any]:
    limits = {
        "get": operation("Whether photos can be trained on", answers({200: ("Limits.", json_of("Training"))}, (400,)))
    }
    if not settings.train:
        return {"/v1/train": limits}
    run = json_of("Run")
    begin = operation(
        "Train a classifier",
        answers({202: ("Begun: Location says where to ask for it.", run)}, STORE_ERRORS),
        requestBody=body(form([])),
        parameters=query(TRAIN),
        security=TOKEN_ELSEWHERE,
        description="A form of photos, each in a field with the name of its class. One training at a time, of "
        f"{settings.train_photos} photos of {settings.train_classes} classes, {settings.train_body} bytes and "
        f"{settings.train_time:g} s at most. The last results are kept for an hour.",
    )
    few = (400, 401, 403, 404)
    drop = operation("Stop or forget a training", answers({204: ("Gone.", {})}, few), security=TOKEN_ELSEWHERE)
    found = {
        "/v1/train": {**limits, "post": begin},
        "/v1/train/{id}": {
            "parameters": named("id"),
            "get": operation(
                "How far a training is", answers({200: ("The state.", run)}, few), security=TOKEN_ELSEWHERE
            ),
            "delete": drop,
        },
    }
    page = {"text/html": {"schema": STRING}}
    for name, what, content in (("model", "The trained model", RAW), ("report", "The report as a page", page)):
        get = operation(what, answers({200: ("It.", content)}, (*few, 409)), security=TOKEN_ELSEWHERE)
        found[f"/v1/train/{{id}}/{name}"] = {"parameters": named("id"), "get": get}
    return found


def former_paths(output: dict[str, Any]) -> dict[str, Any]:
    """The addresses of the Second State FaaS."""
    header = {"in": "header", "schema": STRING}
    kept = answers({200: ("Kept.", json_of("NewExecutable"))}, STORE_ERRORS)
    replaced = answers({200: ("Replaced.", json_of("Executable"))}, STORE_ERRORS)
    described = [{**header, "name": "SSVM-Description", "required": False}]
    key = [{**header, "name": "SSVM_Admin_Key", "required": True}]
    add = operation("Keep a WebAssembly module", kept, requestBody=body(RAW), security=TOKEN, parameters=described)
    update = operation("Replace a module", replaced, requestBody=body(RAW), security=TOKEN, parameters=key)
    found: dict[str, Any] = {
        "/api/executables": {"post": add},
        "/api/update_wasm_binary/{id}": {"parameters": named("id"), "put": update},
    }
    function = [{"name": "function", "in": "path", "required": True, "schema": STRING}]
    for path, content in (("run", RAW), ("multipart/run", form([]))):
        for end in ("", "/bytes"):
            run = operation(
                "Call a function",
                answers({200: ("What the function gave.", output)}, STORE_ERRORS),
                requestBody={**body(content), "required": False},
                security=TOKEN,
                parameters=[in_query("model", CALLED["model"])],
            )
            found[f"/api/{path}/{{id}}/{{function}}{end}"] = {"parameters": [*named("id"), *function], "post": run}
    return found


CALLED = {
    "call": "The function to call.",
    "arg": "A value for it, before the body: text or a number; may be given several times.",
    "model": "A model that it may load by this name; OTHER=NAME gives it another one. May be given several times.",
}


def in_query(name: str, text: str) -> dict[str, Any]:
    several = {} if name == "call" else {"style": "form", "explode": True}
    schema = STRING if name == "call" else listing(STRING)
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema, **several}


def other_paths() -> dict[str, Any]:
    def text(summary: str, errors: Sequence[int] = ()) -> dict[str, Any]:
        return {"get": operation(summary, answers({200: ("Plain text.", {"text/plain": {"schema": STRING}})}, errors))}

    return {
        "/healthz": text("Whether the front process is alive"),
        "/readyz": text("Whether workers take requests", (503,)),
        "/metrics": text("Counters for Prometheus"),
    }
