"""``POST /v1/classify`` and ``POST /v1/faces``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from aicli.options import ClassifyOptions, DetectOptions, PictureOptions
from aicli.serve.http.bodies import Held, clean, parse_multipart
from aicli.serve.http.params import CLASSIFY, FACES, read_parameters
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service

__all__ = ["classify", "faces", "known_models"]

PHOTO_FIELDS = ("photo", "image", "file")


@dataclass
class Upload:
    """What a request brought: photos with their names, perhaps a model and its labels."""

    names: list[str] = field(default_factory=list)
    photos: list[bytes] = field(default_factory=list)
    model: bytes | None = None
    labels: bytes | None = None
    several: bool = False


def known_models(task: str) -> dict[str, str]:
    """The models of the catalog that are here, by name and alias: what a request may ask for beside uploads."""
    return dict(_known(task))


@lru_cache(maxsize=4)
def _known(task: str) -> tuple[tuple[str, str], ...]:
    from aicli.catalog import list_models

    here = [entry for entry in list_models() if entry.task == task and entry.state in ("bundled", "pulled", "own")]
    return tuple((name, entry.name) for entry in here for name in (entry.name, *entry.aliases))


async def read_upload(service: Service, request: Any, held: Held) -> Upload:
    body = await service.body(request, held)
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        if not body:
            raise Problem(400, "empty", "the body is empty; send a photo: curl --data-binary @photo.jpg ...")
        return Upload([clean(request.headers.get("x-filename", "")) or "photo"], [body])
    upload = Upload(several=True)
    for part in parse_multipart(body, kind, service.settings.max_parts):
        if part.name in PHOTO_FIELDS:
            upload.names.append(part.filename or f"photo {len(upload.names) + 1}")
            upload.photos.append(part.content)
        elif part.name in ("model", "labels") and getattr(upload, part.name) is None:
            setattr(upload, part.name, part.content)
        else:
            raise Problem(400, "multipart", f"the form has an unexpected part {part.name!r}; see /docs")
    if not upload.photos:
        raise Problem(400, "multipart", "the form has no part named photo")
    return upload


async def classify(request: Any) -> Response:
    service: Service = request.app.state.service
    given = read_parameters(request.query_params.multi_items(), CLASSIFY)
    options = given.into(ClassifyOptions)
    name = str(options.model)
    service.pool.check_room()
    held = Held(service.budget)
    try:
        upload = await read_upload(service, request, held)
        job = {"kind": "classify", "options": options.to_dict(), "names": upload.names}
        if upload.model is not None:
            if "model" in given:
                raise Problem(400, "parameter", "give the model as a part or as a parameter, not both")
            blobs = [upload.model, upload.labels or b"", *upload.photos]
            job["model"], key = "uploaded", uuid4().hex
            header, _ = await service.run(request, service.quarantine, job, blobs, key)
        elif upload.labels is not None:
            raise Problem(400, "multipart", "labels come with a model; add the part model")
        elif (record := service.store.record("models", name)) is not None:
            labels = service.store.object(record["labels"]) if record["labels"] else b""
            blobs = [await asyncio.to_thread(service.store.object, record["model"]), labels, *upload.photos]
            job["model"] = name
            key = f"model {record['model']} {record['labels']}"
            header, _ = await service.run(request, service.quarantine, job, blobs, key)
        else:
            job["options"] = options.replace(model=catalog_name(name, "classify")).to_dict()
            header, _ = await service.run(request, service.pool, job, upload.photos)
    finally:
        held.release()
    return answer(upload, header["results"])


async def faces(request: Any) -> Response:
    service: Service = request.app.state.service
    given = read_parameters(request.query_params.multi_items(), FACES)
    options = given.into(DetectOptions)
    options = options.replace(model=catalog_name(options.model, "detect-faces"))
    picture = wants_picture(request.headers.get("accept", "*/*"))
    service.pool.check_room()
    held = Held(service.budget)
    try:
        upload = await read_upload(service, request, held)
        if upload.model is not None or upload.labels is not None:
            raise Problem(400, "multipart", "faces are found with the models of the service; send photos only")
        if picture and len(upload.photos) != 1:
            raise Problem(400, "multipart", "a picture is made of one photo; send one, or ask for JSON")
        job = {"kind": "faces", "options": options.to_dict(), "names": upload.names}
        if picture:
            job["pictures"] = given.into(PictureOptions).to_dict()
        header, blobs = await service.run(request, service.pool, job, upload.photos)
    finally:
        held.release()
    if picture:
        return Response(blobs[0], media_type="image/png", headers={"cache-control": "no-store", "vary": "accept"})
    return answer(upload, header["results"])


def catalog_name(name: str, task: str) -> str:
    """The model's own name. Raises :class:`Problem` 404 when the service does not have it."""
    known = known_models(task)
    if name not in known:
        raise Problem(404, "model", f"there is no model {name!r} for this; GET /v1/models lists what there is")
    return known[name]


def answer(upload: Upload, results: list[dict[str, Any]]) -> JSONResponse:
    """One record for a raw body; for a form ``{"results": [...]}``, where a photo that failed has an error."""
    headers = {"cache-control": "no-store", "vary": "accept"}
    statuses = [record.pop("status", 200) for record in results]
    if upload.several:
        return JSONResponse({"results": results}, min(statuses), headers)
    if "error" in results[0]:
        raise Problem(statuses[0], results[0]["error"]["code"], results[0]["error"]["message"])
    return JSONResponse(results[0], 200, headers)


def wants_picture(accept: str) -> bool:
    """Whether the header prefers a PNG. Raises :class:`Problem` 406 when it wants neither PNG nor JSON."""
    wanted: list[tuple[float, int, str]] = []
    for place, item in enumerate(accept.lower().split(",")):
        kind, *rest = (piece.strip() for piece in item.split(";"))
        quality = next((piece[2:] for piece in rest if piece.startswith("q=")), "1")
        try:
            wanted.append((-float(quality), place, kind))
        except ValueError:
            continue
    for weight, _, kind in sorted(wanted):
        if weight < 0 and kind in ("image/png", "image/*"):
            return True
        if weight < 0 and kind in ("application/json", "application/*", "*/*", ""):
            return False
    raise Problem(406, "accept", "the answer is application/json or image/png")
