"""A file, the same file registered under a name, and the same file sent to the service answer alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aicli import Classifier
from aicli.catalog import add_classifier
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
