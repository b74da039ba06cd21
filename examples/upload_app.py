"""A web application of one's own on the library: a photo is uploaded, its label and the boxes of its faces come back.

    pip install '.[serve]' uvicorn
    uvicorn --app-dir examples upload_app:app
    curl -F photo=@examples/astronaut.png http://127.0.0.1:8000/photos

``aicli serve`` is the service with queues, limits and metrics; this shows how little an application needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from aicli import AicliError, Classifier, FaceDetector, ImageError, ImageTooLargeError

MAX_BYTES = 20_000_000
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>What is in the photo?</title>
<form action="/photos" method="post" enctype="multipart/form-data">
<label>Photo <input type="file" name="photo" accept="image/*" required></label> <button>Look</button></form></html>"""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    """The models are loaded once, before the first request."""
    with Classifier(top_k=3) as classifier, FaceDetector() as detector:
        yield {"classifier": classifier, "detector": detector}


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def photos(request: Request) -> Response:
    if int(request.headers.get("content-length", MAX_BYTES + 1)) > MAX_BYTES:
        raise HTTPException(413, f"a photo may have {MAX_BYTES} bytes, and its size must be said beforehand")
    async with request.form(max_files=1, max_fields=0) as form:
        upload = form.get("photo")
        if not isinstance(upload, UploadFile):
            raise HTTPException(400, "the form has no file named photo")
        data, name = await upload.read(), upload.filename or "photo"
    # An object answers one call at a time, whichever thread makes it; meanwhile the application takes other requests.
    return JSONResponse(await run_in_threadpool(answer, request.state.classifier, request.state.detector, data, name))


def answer(classifier: Classifier, detector: FaceDetector, data: bytes, name: str) -> dict[str, Any]:
    photo = detector.open(data, name=name)  # decoded once for both
    labels, found = classifier.classify(photo), detector.detect(photo)
    return {
        "name": name,
        "width": found.width,
        "height": found.height,
        "labels": [{"label": one.label, "score": one.score} for one in labels.predictions],
        "faces": [{"box": list(face.box), "score": face.score} for face in found.faces],
    }


async def refused(request: Request, error: Exception) -> Response:
    """An error as JSON: what the photo does wrong is its sender's affair, anything else ours."""
    if isinstance(error, HTTPException):
        status, message = error.status_code, error.detail
    elif isinstance(error, ImageTooLargeError):
        status, message = 413, str(error)
    elif isinstance(error, ImageError):
        status, message = 422, str(error)
    else:
        status, message = 500, str(error)
    return JSONResponse({"error": message}, status)


app = Starlette(
    routes=[Route("/", page), Route("/photos", photos, methods=["POST"])],
    exception_handlers={HTTPException: refused, AicliError: refused},
    lifespan=lifespan,
)
