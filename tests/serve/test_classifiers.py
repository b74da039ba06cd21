"""A file, the same file registered under a name, and the same file sent to the service answer alike."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aicli import Classifier
from aicli.catalog import add_classifier, remove
from tests.serve.conftest import PHOTO, PROJECT, Server, form

EXPORTED = PROJECT / "tests" / "data" / "classifiers"
NAMES = ["planes", "planes_grey", "int16_signed", "uint8_imagenet", "quantised_dark", "two_entries", "ultralytics_json"]


def pairs(predictions: Any) -> list[tuple[str, float]]:
    return [(item["label"], round(item["score"], 5)) for item in predictions]


@pytest.mark.parametrize("name", [*NAMES, "logit_grey"])
def test_one_model_three_ways(server: Server, photo: bytes, tmp_path: Path, name: str) -> None:
    path = EXPORTED / f"{name}.tflite"
    labels = {"logit_grey": ["no", "yes"], "ultralytics_json": None}.get(name, ["a", "b", "c", "d"])
    by_file = pairs(Classifier(path, labels)(PHOTO).to_dict()["predictions"])
    add_classifier(f"three_ways_{name}", path, labels, force=True)
    assert pairs(Classifier(f"three_ways_{name}")(PHOTO).to_dict()["predictions"]) == by_file
    text = b"" if labels is None else json.dumps(labels).encode()
    parts = (("photo", "a.jpg", photo), ("model", "m", path.read_bytes()), *([("labels", "l", text)] if text else []))
    reply = server.ask("POST", "/v1/classify", *form(*parts))
    assert reply.status == 200, reply.body
    (record,) = reply.json["results"]
    assert pairs(record["predictions"]) == by_file


def by_command(model: str | Path, *options: object) -> list[tuple[str, float]]:
    line = [
        sys.executable,
        "-m",
        "aicli",
        "classify",
        "-q",
        "-f",
        "json",
        "-m",
        str(model),
        *map(str, options),
        str(PHOTO),
    ]
    done = subprocess.run(line, capture_output=True, check=True, timeout=120)
    return pairs(json.loads(done.stdout)[0]["predictions"])


def by_request(server: Server, photo: bytes, model: str) -> list[tuple[str, float]]:
    reply = server.ask("POST", "/v1/classify", photo, model=model)
    assert reply.status == 200, reply.body
    return pairs(reply.json["predictions"])


@pytest.mark.parametrize("name", ["planes", "int16_signed", "uint8_imagenet", "logit_grey", "ultralytics_planes"])
def test_a_model_called_by_its_name(server: Server, photo: bytes, tmp_path: Path, name: str) -> None:
    """A file, registered on the command line and kept by the service: one answer, whoever is asked."""
    path, labels = EXPORTED / f"{name}.tflite", tmp_path / "labels.txt"
    labels.write_text("no\nyes\n" if name == "logit_grey" else "0 a\n1 b\n2 c\n3 d\n")
    files = [("model", "m.tflite", path.read_bytes())]
    options: list[object] = []
    if "ultralytics" not in name:
        options = ["--labels", labels]
        files.append(("labels", "labels.txt", labels.read_bytes()))
    expected = by_command(path, *options)
    added, kept = f"added_{name}", f"kept_{name}"
    line = [sys.executable, "-m", "aicli", "models", "add", added, str(path), *map(str, options)]
    subprocess.run(line, check=True, capture_output=True, timeout=120)
    body, headers = form(*files)
    assert server.ask("PUT", f"/v1/models/{kept}", body, {**server.tokens, **headers}).status == 201
    answers = [by_command(added), by_request(server, photo, added), by_request(server, photo, kept)]
    assert answers == [expected] * 3


def test_a_running_service_sees_what_happens_to_models(server: Server, photo: bytes) -> None:
    for name in ("planes", "uint8_imagenet"):
        labels = [f"{name} {number}" for number in range(4)]
        add_classifier("changing", EXPORTED / f"{name}.tflite", labels, force=True)
        for _ in range(4):  # whichever worker it is
            assert by_request(server, photo, "changing") == pairs(
                Classifier("changing")(PHOTO).to_dict()["predictions"]
            )
    remove("changing")
    assert server.ask("POST", "/v1/classify", photo, model="changing").status == 404


def test_models_of_the_catalog_answer_alike(server: Server, photo: bytes) -> None:
    for model in ("efficientnet_lite0", "dog_breeds"):
        assert by_command(model) == by_request(server, photo, model)


def test_what_is_said_of_a_model_in_the_address(server: Server, photo: bytes) -> None:
    path = EXPORTED / "planes.tflite"
    parts = form(("photo", "a.jpg", photo), ("model", "m", path.read_bytes()))
    said: Any = {"mean": "0.5", "std": "0.25", "channels": "bgr"}
    reply = server.ask("POST", "/v1/classify", *parts, **said)
    expected = Classifier(path, mean="0.5", std="0.25", channels="bgr")(PHOTO).to_dict()["predictions"]
    (record,) = reply.json["results"]
    assert pairs(record["predictions"]) == pairs(expected)
    refused: Any = ({"input_range": "1,0"}, {"mean": "0.5"}, {"signature": "x"})
    for wrong in refused:
        reply = server.ask("POST", "/v1/classify", *parts, **wrong)
        assert (reply.status, "error" in reply.json) == (400, True), reply.body
