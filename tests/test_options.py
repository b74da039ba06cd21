"""Options have one home: command line, HTTP and Python take the same names, defaults and ranges from it."""

from __future__ import annotations

import inspect
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from aicli import Classifier, FaceDetector
from aicli._option import Options
from aicli.cli.commands.models import OwnModel
from aicli.cli.commands.run import CommandOptions
from aicli.cli.main import cli
from aicli.errors import UsageError
from aicli.options import (
    ClassifyFiles,
    ClassifyOptions,
    DetectFiles,
    DetectOptions,
    InputOptions,
    Limits,
    PictureOptions,
    RunOptions,
)
from aicli.results import Box, Classification, Detection, Face, Landmarks, Point, Prediction
from aicli.serve.settings import Settings

COMMANDS: dict[str, tuple[type[Options], ...]] = {
    "classify": (InputOptions, ClassifyOptions, ClassifyFiles, RunOptions),
    "detect-faces": (InputOptions, DetectOptions, DetectFiles, PictureOptions, RunOptions),
    "run": (CommandOptions,),
    "serve": (Settings,),
}
SERVED = [("/v1/classify", ClassifyOptions), ("/v1/faces", DetectOptions)]


def test_they_import_nothing_heavy() -> None:
    code = "import sys, aicli.options; print(*{'numpy', 'PIL', 'click', 'wasmtime', 'wasmer'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_has_them_all(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    shown = {param.name: param for param in command.params if isinstance(param, click.Option)}
    options = [item for options in COMMANDS[name] for item in options.fields if item.section and not item.argument]
    assert {item.name for item in options} <= shown.keys()
    for item in options:
        default = shown[item.name].default
        assert default in (item.default, None) or not item.default or item.shown, item.name


@pytest.mark.parametrize("name", [*COMMANDS, "models add"])
def test_long_help_has_sections(name: str) -> None:
    command: click.Command | None = cli
    for word in name.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(cli), word)
    assert command is not None
    text = command.get_help(click.Context(command))
    fields = OwnModel.fields if name == "models add" else [item for kind in COMMANDS[name] for item in kind.fields]
    for section in {item.section for item in fields if item.section and not item.argument}:
        assert f"\n{section}:\n" in text
    assert re.search(r"\nOther:\n +(?:-h, )?--help +\S.*$", text), "an option without a section"


def test_no_command_takes_its_options_out_of_a_dict() -> None:
    folder = Path(__file__).resolve().parents[1] / "aicli" / "cli"
    for path in folder.rglob("*.py"):
        assert not re.search(r"\b(options|keywords|values)\.pop\(|\blocals\(\)", path.read_text()), path


@pytest.mark.parametrize(("make", "options"), [(Classifier, ClassifyOptions), (FaceDetector, DetectOptions)])
def test_python_takes_them_as_keywords(make: type, options: type[Options]) -> None:
    parameters = dict(inspect.signature(make).parameters)
    assert {name: parameter.default for name, parameter in parameters.items()} == options().keywords()


@pytest.mark.parametrize(("path", "options"), SERVED)
def test_http_takes_those_that_have_a_parameter(path: str, options: type[Options]) -> None:
    pytest.importorskip("starlette")
    from aicli.serve.http.openapi import describe

    document = describe(Settings(Path("unused")))
    described = {item["name"]: item["schema"] for item in document["paths"][path]["post"]["parameters"]}
    served = [item for item in options.fields if item.http is not None]
    assert len(served) >= 3
    for item in served:
        schema = described[item.http]
        wanted = list(item.default) if isinstance(item.default, tuple) else item.default
        assert schema.get("default") == wanted
        assert schema.get("items", schema).get("minimum") == item.least


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (ClassifyOptions, {"top_k": -1}),
        (ClassifyOptions, {"top_k": True}),
        (ClassifyOptions, {"top_k": 1.5}),
        (ClassifyOptions, {"min_score": float("nan")}),
        (ClassifyOptions, {"resize": "stretch"}),
        (ClassifyOptions, {"limits": 5}),
        (DetectOptions, {"min_size": "20"}),
        (DetectOptions, {"min_size": float("inf")}),
        (DetectOptions, {"thresholds": (0.6, 0.7)}),
        (DetectOptions, {"thresholds": (0.6, 0.7, 1.1)}),
        (DetectOptions, {"threads": 0}),
        (Limits, {"timeout": 0}),
    ],
)
def test_wrong_values_are_refused_by_name(options: type[Options], wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"^{name} is .*; it must be "):
        options(**wrong)


def test_values_are_kept_as_their_type() -> None:
    import numpy as np

    options = DetectOptions(min_size=np.float32(40), thresholds=[0.5, 0, 1], max_faces=np.int64(3))  # type: ignore[arg-type]
    assert (options.min_size, options.thresholds, options.max_faces) == (40.0, (0.5, 0.0, 1.0), 3)
    assert type(options.max_faces) is int
    assert ClassifyOptions(top_k=0).top_k == 0  # all: a value that Python alone may give


def test_they_are_values() -> None:
    options = ClassifyOptions("model.tflite", ["a", "b"], top_k=3, limits=Limits(1 << 20, None))
    assert options == options.replace() == pickle.loads(pickle.dumps(options))
    assert hash(options) == hash(options.replace())
    assert options != options.replace(top_k=4)
    assert "top_k=3" in repr(options)
    with pytest.raises(AttributeError):
        options.top_k = 4  # type: ignore[misc]
    for wrong in ({"tops": 3}, {"model": "twice"}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            ClassifyOptions("model.tflite", **wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="positional"):
        ClassifyOptions("model.tflite", None, 3)  # type: ignore[misc]


def test_they_travel_as_json() -> None:
    options = ClassifyOptions(Path("a.tflite"), ("a", "b"), min_score=0.5, limits=Limits(timeout=1.5), channels="bgr")
    sent = json.loads(json.dumps(options.to_dict()))
    assert sent == {
        "model": "a.tflite",
        "labels": ["a", "b"],
        "min_score": 0.5,
        "limits": {"timeout": 1.5},
        "channels": "bgr",
    }
    assert ClassifyOptions.from_dict(sent) == options.replace(model="a.tflite")
    assert DetectOptions().to_dict() == {}


def shape(record: Any) -> Any:
    """What a schema says of a value, read from the value itself."""
    if isinstance(record, dict):
        return {name: shape(value) for name, value in record.items()}
    if isinstance(record, list):
        return [shape(record[0])]
    return {bool: "boolean", int: "integer", float: "number", str: "string"}[type(record)]


def described(schema: dict[str, Any]) -> Any:
    if schema["type"] == "object":
        return {name: described(inner) for name, inner in schema["properties"].items()}
    return [described(schema["items"])] if schema["type"] == "array" else schema["type"]


def test_answers_are_described_as_they_are_written() -> None:
    pytest.importorskip("starlette")
    from aicli.serve.http.openapi import schemas

    points = Landmarks(*[Point(1.5, 2.5)] * 5)
    face = Face(Box(0.5, 0.5, 9.5, 9.5), 0.9, points, 90)
    seen: dict[str, Any] = {"frame": 1, "frames": 2, "part": "preview"}
    whole: dict[str, Any] = {
        "Classification": Classification("a.gif", 3, 4, "m", (Prediction(1, "cat", 0.5),), **seen),
        "Detection": Detection("a.gif", 3, 4, "m", (face,), **seen),
    }
    bare: dict[str, Any] = {
        "Classification": Classification("a.jpg", 3, 4, "m", (Prediction(1, "cat", 0.5),)),
        "Detection": Detection("a.jpg", 3, 4, "m", (face._replace(turn=None),)),
    }
    for name, answer in whole.items():
        assert shape(answer.to_dict()) == described(schemas()[name])
        assert list(bare[name].to_dict()) == schemas()[name]["required"]
    item = schemas()["Detection"]["properties"]["faces"]["items"]
    assert list(bare["Detection"].to_dict()["faces"][0]) == item["required"]
    assert (item["properties"]["box"]["minItems"], item["properties"]["box"]["maxItems"]) == (4, 4)


def test_http_descriptions_name_no_flag() -> None:
    pytest.importorskip("starlette")
    from aicli.serve.http.openapi import describe

    text = json.dumps(describe(Settings(Path("unused"), functions=True, token="x" * 16)))
    assert not re.findall(r".{30}(?<![\w-])--[a-z].{20}", text)
