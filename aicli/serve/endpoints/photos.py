"""``POST /v1/classify`` and ``POST /v1/faces``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aicli.catalog.folders import models_stamp
from aicli.errors import UsageError
from aicli.options import ClassifyOptions, DetectOptions, FrameOptions, PictureOptions
from aicli.output.pictures.spared import check_spared
from aicli.serve.http.admission import Place
from aicli.serve.http.bodies import Part, clean, parse_multipart
from aicli.serve.http.params import CLASSIFY, FACES, read_parameters
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service

__all__ = ["classify", "faces", "known_models"]

PICTURES = {"image/png": "png", "image/*": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
PHOTO_FIELDS = ("photo", "photos", "image", "images", "file", "files")
BASE64 = (b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"UklGR", b"data:")
"""How JPEG, PNG, GIF and WebP begin in Base64, and an address that holds a photo."""
LEAST_WITH_LINES, LEAST_KINDS = 2048, 200
"""No photo of so many bytes, of so many different ones, is without 10 and 13, unless these were taken out. (A white BMP
is, but for few kinds of bytes.)"""

HOW_TO_NAME = (
    "photos are parts named photo: curl -F photo=@photo.jpg ..., a model of yours comes as model and labels, "
    "a picture to lay on faces as cover"
)
PART = "part"
"""What the option ``cover`` says of a picture that is a part of the form."""


@dataclass
class Upload:
    """What a request brought: photos with their names, perhaps a model and its labels."""

    names: list[str] = field(default_factory=list)
    photos: list[bytes] = field(default_factory=list)
    model: bytes | None = None
    labels: bytes | None = None
    cover: bytes | None = None
    several: bool = False


def known_models(task: str) -> MappingProxyType[str, str]:
    """The models of the catalog that are here, by name and alias: what a request may ask for beside uploads."""
    return _known(task, models_stamp())


@lru_cache(maxsize=4)
def _known(task: str, stamp: int) -> MappingProxyType[str, str]:
    from aicli.catalog import list_models

    here = [entry for entry in list_models() if entry.task == task and entry.state in ("bundled", "pulled", "own")]
    return MappingProxyType({name: entry.name for entry in here for name in (entry.name, *entry.aliases)})


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_upload(service: Service, request: Request, place: Place) -> Upload:
    body = await service.body(request, place)
    if not is_form(request):
        if not body:
            raise Problem(400, "empty", "the body is empty; send a photo: curl --data-binary @photo.jpg ...")
        upload = Upload([clean(utf8(request.headers.get("x-filename", ""))) or "photo"], [body])
    else:
        kind = request.headers["content-type"]
        upload = read_form(parse_multipart(body, kind, service.settings.max_parts))
    for photo in upload.photos:
        if (hint := not_bytes(photo)) is not None:
            raise Problem(422, "image", hint)
    return upload


def read_form(parts: list[Part]) -> Upload:
    upload = Upload(several=True)
    for part in parts:
        if part.name in PHOTO_FIELDS:
            upload.names.append(part.filename or f"photo {len(upload.names) + 1}")
            upload.photos.append(part.content)
        elif part.name in ("model", "labels", "cover"):
            if getattr(upload, part.name) is not None:
                raise Problem(400, "multipart", f"the form has two parts named {part.name}; send one")
            setattr(upload, part.name, part.content)
        else:
            raise Problem(400, "multipart", f"the form has a part named {part.name!r}; {HOW_TO_NAME}")
    if not upload.photos:
        raise Problem(400, "multipart", f"the form has no photo; {HOW_TO_NAME}")
    return upload


def not_bytes(photo: bytes) -> str | None:
    """What to send instead, if this is a photo wrapped in text."""
    start = photo[:64].lstrip()
    if start.startswith(BASE64):
        kind = "a data: URI" if start.startswith(b"data:") else "Base64 text"
        return f"the photo is {kind}; decode it and send the bytes: curl --data-binary @photo.jpg ..."
    if start[:1] in (b"{", b"[") and start[1:].lstrip()[:1] in (b'"', b"{", b"[", b"}", b"]"):
        return "the body is JSON; send the photo's bytes as the body (curl --data-binary @photo.jpg ...) or as a form"
    if any(start.startswith(f"{name}=".encode()) for name in PHOTO_FIELDS):
        return "the body is an URL-encoded form; send the photo's bytes, or a multipart form: curl -F photo=@photo.jpg"
    if len(photo) >= LEAST_WITH_LINES and b"\n" not in photo and b"\r" not in photo and has_many_kinds(photo):
        return "the photo has lost its line ends, which curl -d takes out; send it: curl --data-binary @photo.jpg ..."
    return None


def has_many_kinds(photo: bytes) -> bool:
    """Whether it has more than ``LEAST_KINDS`` different bytes. A set of all would hold up every other request."""
    kinds: set[int] = set()
    known = b""
    for begin in range(0, len(photo), LEAST_WITH_LINES):
        if new := photo[begin : begin + LEAST_WITH_LINES].translate(None, known):
            kinds.update(new)
            known = bytes(kinds)
            if len(kinds) > LEAST_KINDS:
                return True
    return False


def utf8(value: str) -> str:
    """A header's value as its sender meant it: curl and the page send names in UTF-8, the parser knows bytes only."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


@lru_cache(maxsize=64)
def classify_query(query: bytes) -> tuple[ClassifyOptions, dict[str, Any], dict[str, Any], bool]:
    """Options, what a worker is told of them and of frames, whether a model is named. Most requests ask for the same.

    Raises :class:`Problem`.
    """
    given = read_parameters(QueryParams(query).multi_items(), CLASSIFY)
    options = given.into(ClassifyOptions)
    return options, options.to_dict(), given.into(FrameOptions).to_dict(), "model" in given


async def classify(request: Request) -> Response:
    service: Service = request.app.state.service
    options, told, frames, names_model = classify_query(request.scope["query_string"])
    name = str(options.model)
    with service.tasks_admission.place() as place:
        upload = await read_upload(service, request, place)
        if upload.cover is not None:
            raise Problem(400, "multipart", "the part cover lies on faces; it belongs to /v1/faces")
        job = {"kind": "classify", "options": told, "names": upload.names, **frames}
        if upload.model is not None:
            service.require_trust(request)
            if names_model:
                raise Problem(400, "parameter", "give the model as a part or as a parameter, not both")
            blobs = [upload.model, upload.labels or b"", *upload.photos]
            job["model"], key = "uploaded", uuid4().hex
            header, _ = await service.run(request, service.quarantine, job, blobs, key)
        elif upload.labels is not None:
            raise Problem(400, "multipart", "labels come with a model; add the part model")
        elif service.store.has("models", name) and (
            kept := await asyncio.to_thread(service.store.read, "models", name)
        ):
            record, objects = kept
            blobs = [objects["model"], objects.get("labels", b""), *upload.photos]
            job["model"] = name
            key = f"model {record['model']} {record['labels']}"
            header, _ = await service.run(request, service.quarantine, job, blobs, key)
        else:
            known = catalog_name(name, "classify")
            if known != name:
                job["options"] = options.replace(model=known).to_dict()
            header, _ = await service.run(request, service.pool, job, upload.photos)
    return answer(upload, header["results"], several=bool(frames))


async def faces(request: Request) -> Response:
    service: Service = request.app.state.service
    given = read_parameters(request.query_params.multi_items(), FACES)
    options = given.into(DetectOptions)
    if (known := catalog_name(options.model, "detect-faces")) != options.model:
        options = options.replace(model=known)
    pictures, accept = given.into(PictureOptions), request.headers.get("accept", "*/*")
    named = {item.name for item in PictureOptions.fields} & set(given)
    if pictures.hides_faces or not is_form(request):  # nothing in the body can change what is asked for
        wanted_picture(pictures, named, accept)
    with service.tasks_admission.place() as place:
        upload = await read_upload(service, request, place)
        if upload.model is not None or upload.labels is not None:
            raise Problem(400, "multipart", "faces are found with the models of the service; send photos only")
        if upload.cover is not None:
            if pictures.hides_faces:
                how = pictures.anonymize or "the parameter cover"
                raise Problem(400, "parameter", f"{how} and the part cover both hide faces; choose one")
            pictures, named = pictures.replace(cover=PART), named | {"cover"}
        picture = wanted_picture(pictures, named, accept)
        if picture and len(upload.photos) != 1:
            raise Problem(400, "multipart", "a picture is made of one photo; send one, or ask for JSON")
        frames = given.into(FrameOptions).to_dict()
        if frames and picture == "jpeg":
            raise Problem(400, "parameter", "all_frames gives an animation, no JPEG; Accept: image/png or image/webp")
        job = {"kind": "faces", "options": options.to_dict(), "names": upload.names, **frames}
        if picture:
            job["pictures"] = pictures.replace(picture_format=picture).to_dict()
        photos = upload.photos if upload.cover is None else [*upload.photos, upload.cover]
        header, blobs = await service.run(request, service.pool, job, photos)
    if picture:
        headers = {"cache-control": "no-store", "vary": "accept", "x-faces": str(header["faces"])}
        headers |= {"x-note": header["note"]} if "note" in header else {}
        return Response(blobs[0], media_type=header["type"], headers=headers)
    return answer(upload, header["results"], several=bool(frames))


def catalog_name(name: str, task: str) -> str:
    """The model's own name. Raises :class:`Problem` 404 when the service does not have it."""
    known = known_models(task)
    if name not in known:
        raise Problem(404, "model", f"there is no model {name!r} for this; GET /v1/models lists what there is")
    return known[name]


def answer(upload: Upload, results: list[dict[str, Any]], *, several: bool) -> JSONResponse:
    """One record for a raw body; ``{"results": [...]}`` for a form, where a photo that failed has an error, and where
    ``several`` records of one photo were asked for."""
    headers = {"cache-control": "no-store", "vary": "accept"}
    statuses = [record.pop("status", 200) for record in results]
    if upload.several or (several and "error" not in results[0]):
        return JSONResponse({"results": results}, min(statuses), headers)
    if "error" in results[0]:
        raise Problem(statuses[0], results[0]["error"]["code"], results[0]["error"]["message"])
    return JSONResponse(results[0], 200, headers)


def wanted_picture(pictures: PictureOptions, given: set[str], accept: str) -> str | None:
    """The format of the picture that is asked for; ``None`` for records.

    Raises :class:`Problem` 400 for parameters that have no effect, or that no picture is made with.
    """
    hides = pictures.hides_faces
    picture = wants_picture(accept, otherwise="png" if hides else None)
    if picture is None and given:
        what = "a picture is asked for with Accept: image/png, image/jpeg or image/webp"
        raise Problem(400, "parameter", f"{', '.join(sorted(given))}: of no effect on records; {what}")
    if picture == "png" and "quality" in given:
        raise Problem(400, "parameter", "quality: of no effect on PNG; ask for image/jpeg or image/webp")
    if pictures.anonymize is not None and pictures.cover is not None:
        raise Problem(400, "parameter", f"{pictures.anonymize} and cover both hide faces; choose one")
    without = given & {"shape", "keep", "spare", "keep_metadata", "margin"}
    if without and not hides:
        names = ", ".join(sorted(without))
        how = "blur=true, pixelate=true, cover=solid or a form with a part cover"
        raise Problem(400, "parameter", f"{names}: of no effect without {how}")
    try:
        check_spared(pictures)
    except UsageError as error:
        raise Problem(400, "parameter", str(error)) from None
    return picture


def wants_picture(accept: str, otherwise: str | None) -> str | None:
    """The format of the picture that the header prefers to a record; ``otherwise`` where it takes anything.

    Raises :class:`Problem` 406 when it wants neither a picture nor JSON.
    """
    wanted: list[tuple[float, int, str]] = []
    for place, item in enumerate(accept.lower().split(",")):
        kind, *rest = (piece.strip() for piece in item.split(";"))
        quality = next((piece[2:] for piece in rest if piece.startswith("q=")), "1")
        try:
            wanted.append((-float(quality), place, kind))
        except ValueError:
            continue
    for weight, _, kind in sorted(wanted):
        if weight < 0 and kind in PICTURES:
            return PICTURES[kind]
        if weight < 0 and kind in ("*/*", ""):
            return otherwise
        if weight < 0 and kind in ("application/json", "application/*"):
            return None
    raise Problem(406, "accept", "the answer is application/json, image/png, image/jpeg or image/webp")
