"""``aicli models`` and the functions behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import TinyModel, schema

from aicli.catalog import add_classifier, add_faces, list_models, load_classifier, load_faces
from aicli.cli.main import run
from aicli.errors import ModelError, UsageError
from aicli.nn.engines import Engine

LABELS = [f"class {index}" for index in range(12)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "birds.tflite"
    path.write_bytes(TinyModel().flat(last="SOFTMAX").finish())
    (tmp_path / "birds.txt").write_text("\n".join(LABELS))
    return path


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON that a command prints."""
    assert run(["models", *arguments, "-f", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    models = {item["name"]: item for item in answer(capsys, "list")}
    assert models["efficientnet_lite0"]["state"] == "bundled"
    assert models["mobilenet_v2"]["state"] == "available"
    assert models["mobilenet_v2"]["accuracy"]["source"].startswith("https://")
    assert {item["task"] for item in answer(capsys, "list", "--task", "detect-faces")} == {"detect-faces"}
    assert run(["models", "list"]) == 0
    shown = capsys.readouterr().out
    for name, item in models.items():
        assert name in shown
        assert item["license"] in shown


def test_show_name_and_file(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    assert answer(capsys, "show", "mobilenet")["name"] == "mobilenet_v2"
    facts = answer(capsys, "show", str(model))
    assert facts["inputs"][0]["shape"] == [1, 2, 2, 3]
    assert facts["outputs"][0]["kind"] == "probabilities"
    assert "assuming -1 to 1 (--input-range -1,1)" in facts["notes"][0]
    assert run(["models", "show", str(model)]) == 0
    assert "softmax" not in capsys.readouterr().err


def test_add_use_path_remove(capsys: pytest.CaptureFixture[str], model: Path, engine: Engine) -> None:
    labels = str(model.with_suffix(".txt"))
    added = answer(
        capsys, "add", "my_birds", str(model), "--labels", labels, "--input-range", "0,1", "--resize", "crop"
    )
    assert added["state"] == "own"
    original = model.read_bytes()
    model.unlink()
    loaded = load_classifier("my_birds", engine=engine)
    assert (loaded.input.std[0], loaded.input.crop, loaded.notes) == (255.0, "crop", ())
    assert loaded.labels == tuple(LABELS)
    paths = answer(capsys, "path", "my_birds")
    assert Path(paths["model"]).read_bytes() == original
    assert list(answer(capsys, "path", "my_birds", "--file", "labels")) == ["labels"]
    assert {check["status"] for check in answer(capsys, "verify", "my_birds")} == {"ok"}
    Path(paths["model"]).write_bytes(original + b"x")
    assert "damaged" in {check["status"] for check in answer(capsys, "verify", code=1)}
    assert len(answer(capsys, "rm", "my_birds")[0]["removed"]) == 2
    with pytest.raises(ModelError, match="no model 'my_birds'"):
        load_classifier("my_birds", engine=engine)


def test_names_of_ones_own(model: Path, engine: Engine) -> None:
    for name in ("mobilenet_v2", "mobilenet", "../x", "", "a b", "x.tflite"):
        with pytest.raises(UsageError):
            add_classifier(name, model, LABELS, engine=engine)
    add_classifier("birds", model, LABELS, engine=engine)
    with pytest.raises(UsageError, match="force replaces it"):
        add_classifier("birds", model, LABELS, engine=engine)
    add_classifier("birds", model, LABELS[::-1], engine=engine, force=True)
    assert load_classifier("birds", engine=engine).labels[0] == "class 11"


def test_add_refuses_what_is_no_classifier(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    assert run(["models", "add", "bad", str(tmp_path / "bad.tflite"), "--labels", str(model.with_suffix(".txt"))]) == 2
    assert run(["models", "add", "birds", str(model), "--input-range", "1,0"]) == 2
    assert "the smaller first" in capsys.readouterr().err
    assert run(["models", "add", "birds"]) == 2
    assert run(["models", "add", "birds", str(model), "--pnet", "x"]) == 2
    assert [entry.name for entry in list_models() if entry.state == "own"] == []
    capsys.readouterr()
    assert run(["models", "add", "birds", str(model)]) == 0
    assert all(line.startswith("aicli: note: ") for line in capsys.readouterr().err.splitlines())
    assert [entry.name for entry in list_models() if entry.state == "own"] == ["birds"]


def test_dropped_model_is_listed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "user-models").mkdir()
    (tmp_path / "user-models" / "mine.tflite").write_bytes(model.read_bytes())
    assert {item["name"]: item["state"] for item in answer(capsys, "list")}["mine"] == "own"
    assert answer(capsys, "verify", "mine")[0]["status"] == "unverified"
    answer(capsys, "rm", "mine")
    assert not (tmp_path / "user-models" / "mine.tflite").exists()


def test_removing_what_cannot_be_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "rm", "mtcnn"]) == 2
    assert "comes with aicli" in capsys.readouterr().err
    assert run(["models", "rm", "mobilenet_v2"]) == 2
    assert run(["models", "path", "mobilenet_v2"]) == 2
    assert "aicli models pull mobilenet_v2" in capsys.readouterr().err


def test_damaged_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "user-models").mkdir()
    for content in ("{", "[]", '{"models": [{}]}', '{"models": 3}'):
        (tmp_path / "user-models" / "registry.json").write_text(content)
        assert run(["models", "list"]) == 2
        assert "registry.json" in capsys.readouterr().err


def bundled_nets(swap: bool, folder: Path) -> dict[str, Path]:
    """The bundled MTCNN's files, with their outputs in another order if ``swap``."""
    faces = load_faces()
    nets = {"pnet": faces.pnet, "rnet": faces.rnet, "onet": faces.onet}
    if not swap:
        return nets
    import flatbuffers

    for net, path in nets.items():
        made = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        made.subgraphs[0].outputs = list(made.subgraphs[0].outputs)[::-1]
        builder = flatbuffers.Builder(1024)
        builder.Finish(made.Pack(builder), b"TFL3")
        nets[net] = folder / path.name
        nets[net].write_bytes(bytes(builder.Output()))
    return nets


def output_widths(path: Path, engine: Engine) -> list[int]:
    return [int(item["shape"][-1]) for item in engine.interpreter(path, 1).get_output_details()]


@pytest.mark.parametrize("swap", [False, True])
def test_another_mtcnn(tmp_path: Path, engine: Engine, swap: bool) -> None:
    nets: dict[str, Any] = bundled_nets(swap, tmp_path)
    add_faces("my_mtcnn", **nets, engine=engine, input_range="-1,1", channels="bgr")
    faces = load_faces("my_mtcnn")
    assert (faces.mean, faces.std, faces.channels) == (127.5, 127.5, "bgr")
    assert output_widths(faces.onet, engine) == [4, 10, 2]
    assert output_widths(faces.pnet, engine) == [4, 2]


def test_wrong_networks(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    nets = bundled_nets(False, tmp_path)
    with pytest.raises(ModelError, match="no rnet"):
        add_faces("wrong", nets["pnet"], nets["onet"], nets["rnet"], engine=engine)
    common = ["models", "add", "wrong", "--task", "detect-faces"]
    assert run([*common, "--pnet", str(nets["pnet"])]) == 2
    assert run([*common, "--pnet", "p", "--rnet", "r", "--onet", "o", "--labels", "l"]) == 2
