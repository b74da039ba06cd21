"""``/v1/train``: a classifier from photos in a form, each in a field with the name of its class."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aicli.options import TrainOptions
from aicli.serve.endpoints.photos import catalog_name
from aicli.serve.http.answers import TrainingLimits
from aicli.serve.http.bodies import Part, parse_multipart, read_body
from aicli.serve.http.params import TRAIN, read_parameters
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service
from aicli.serve.settings import Settings
from aicli.serve.trainings import Run

__all__ = ["add_training", "drop_training", "get_model", "get_report", "get_training", "limits"]

NO_STORE = {"cache-control": "no-store"}
HOW = "curl -F wren=@a.jpg -F wren=@b.jpg -F robin=@c.jpg -F robin=@d.jpg ..."
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""The report is made of strangers' names and pictures: it runs nothing, and is of no origin."""
FEWEST = 2
VIEWS = {False: 1, True: 4}


async def limits(request: Request) -> Response:
    """Whether this service trains, and on how much."""
    service: Service = request.app.state.service
    read_parameters(request.query_params.multi_items(), ())
    settings = service.settings
    facts: TrainingLimits = {"enabled": settings.train}
    if settings.train:
        facts["photos"], facts["classes"] = settings.train_photos, settings.train_classes
        facts["bytes"], facts["seconds"] = settings.train_body, settings.train_time
    return JSONResponse(facts, headers=NO_STORE)


def allowed(request: Request) -> Service:
    """The service, if it trains and for whoever asks. Raises :class:`Problem`."""
    service: Service = request.app.state.service
    if not service.settings.train:
        raise Problem(403, "no_training", "training is switched off; the service's operator can allow it")
    service.require_trust(request)
    return service


async def add_training(request: Request) -> Response:
    """Begins a training; what becomes of it is asked for at the address in ``Location``."""
    service = allowed(request)
    given = read_parameters(request.query_params.multi_items(), TRAIN).into(TrainOptions)
    base = catalog_name(str(given.base), "classify")
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Problem(400, "multipart", f"send a form with photos in fields named after their classes: {HOW}")
    run = service.trainings.reserve(service.budget)
    try:
        settings = service.settings
        body = await read_body(request, run.held, limit=settings.train_body, seconds=settings.train_time)
        parts = await asyncio.to_thread(parse_multipart, body, kind, settings.train_photos)
        run.options = {"base": base, "views": VIEWS[given.augment], "seed": given.seed}
        put_photos(run, parts, settings)
        service.trainings.begin(run)
    except BaseException:
        service.trainings.release(run)
        raise
    address = f"/v1/train/{run.id}"
    return JSONResponse(run.to_dict(), 202, {**NO_STORE, "location": address})


def put_photos(run: Run, parts: list[Part], settings: Settings) -> None:
    """Raises :class:`Problem` 400 or 413 for what cannot be trained on."""
    counts: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for number, part in enumerate(parts, 1):
        label = part.name.strip()
        if not label:
            raise Problem(400, "multipart", f"part {number} has no name; it should be the photo's class: {HOW}")
        if not part.filename:
            raise Problem(400, "multipart", f"the part {label!r} is not a file; send photos as files: {HOW}")
        counts[label] += 1
        name = f"{label}/{part.filename}"
        names[name] += 1
        if names[name] > 1:
            path = PurePosixPath(part.filename)
            name = f"{label}/{path.stem} ({names[name]}){path.suffix}"
        run.names.append(name)
        run.labels.append(label)
        run.photos.append(part.content)
    if len(counts) < FEWEST:
        raise Problem(400, "classes", f"a classifier needs photos of at least two classes: {HOW}")
    if len(counts) > settings.train_classes:
        raise Problem(
            413, "classes", f"these are {len(counts)} classes; at most {settings.train_classes} are taken here"
        )
    if few := next((label for label, count in counts.items() if count < FEWEST), None):
        raise Problem(400, "classes", f"there is one photo of the class {few!r}; it needs at least {FEWEST}")


async def get_training(request: Request) -> Response:
    """How far a training is, and what came out."""
    service = allowed(request)
    read_parameters(request.query_params.multi_items(), ())
    return JSONResponse(service.trainings.find(request.path_params["id"]).to_dict(), headers=NO_STORE)


async def drop_training(request: Request) -> Response:
    """Stops a training and forgets it."""
    service = allowed(request)
    read_parameters(request.query_params.multi_items(), ())
    await service.trainings.drop(request.path_params["id"])
    return Response(status_code=204)


async def get_model(request: Request) -> Response:
    """The .tflite file."""
    headers = {**NO_STORE, "content-disposition": 'attachment; filename="own.tflite"'}
    return Response(done(request).model, headers=headers, media_type="application/octet-stream")


async def get_report(request: Request) -> Response:
    """The report as a page."""
    headers = {**NO_STORE, "content-security-policy": REPORT_POLICY}
    return Response(done(request).page, headers=headers, media_type="text/html; charset=utf-8")


def done(request: Request) -> Run:
    service = allowed(request)
    read_parameters(request.query_params.multi_items(), ())
    run = service.trainings.find(request.path_params["id"])
    if run.state == "running":
        raise Problem(409, "running", "the training is not done yet; ask again", retry_after=1)
    if run.error is not None or run.training is None:
        raise Problem(404, "failed", "the training failed, so that there is nothing to be had of it")
    return run
