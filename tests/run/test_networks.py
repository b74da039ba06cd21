"""Guests of every generation with real models, against the same models run directly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aicli.nn.dialects.resample import resize_corners, resize_cubic
from aicli.nn.dialects.tensorflow_graphs import is_installed
from aicli.nn.engines import load_engine

SIDE = 224
INPUT, OUTPUT = "input", "MobilenetV2/Predictions/Softmax"
GUEST_ARGUMENTS = ("m.tflite", INPUT, OUTPUT, "p.jpg", SIDE)


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """A folder with a model, a photo and the photo's pixels."""
    (tmp_path / "m.tflite").symlink_to("model")
    (tmp_path / "model").write_bytes((shared / "models/mobilenet_v2_1.0_224_quant.tflite").read_bytes())
    (tmp_path / "p.jpg").write_bytes((shared / "images/grace_hopper.jpg").read_bytes())
    with Image.open(tmp_path / "p.jpg") as image:
        pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    (tmp_path / "p.rgb").write_bytes(pixels.tobytes())
    return tmp_path


def classify(folder: Path, pixels: np.ndarray, *, xnnpack: bool = True) -> str:
    """What the guests print for these pixels."""
    interpreter = load_engine(xnnpack=xnnpack).interpreter(folder / "model", 1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
    interpreter.invoke()
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    best = len(scores) - 1 - int(np.argmax(scores[::-1]))
    return f"{best} {scores[best]}"


def photo(folder: Path) -> np.ndarray:
    with Image.open(folder / "p.jpg") as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def from_raw(folder: Path) -> str:
    pixels = np.frombuffer((folder / "p.rgb").read_bytes(), np.uint8).reshape(SIDE, SIDE, 3)
    return classify(folder, pixels)


@pytest.mark.parametrize("type_number", [2, 3], ids=["early witx", "later witx"])
def test_wasi_nn_with_a_model_from_a_folder(build, aicli_run, folder: Path, from_raw: str, type_number: int) -> None:
    done = aicli_run(build("nn"), "--dir", f"{folder}:.", "bytes", "m.tflite", "p.rgb", SIDE, type_number)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["onnx 0", "stale 1", "pointer 1", "small 7 1001", from_raw]
    assert from_raw.startswith("653 ")


def test_wasi_nn_single_functions_and_names(build, aicli_run, folder: Path, from_raw: str) -> None:
    named = ("--model", f"default={folder / 'model'}", "--dir", f"{folder}:.")
    for mode in ("name", "config"):
        done = aicli_run(build("nn"), *named, mode, "default", "p.rgb", SIDE, 3, "single")
        assert done.stdout.splitlines()[-1:] == [from_raw], done.stderr


def test_scores_of_hosts_without_xnnpack_to_the_last_digit(build, aicli_run, folder: Path, from_raw: str) -> None:
    pixels = np.frombuffer((folder / "p.rgb").read_bytes(), np.uint8).reshape(SIDE, SIDE, 3)
    plain = classify(folder, pixels, xnnpack=False)
    assert plain != from_raw  # one step of the output's 256
    named = ("--dir", f"{folder}:.", "--model", f"default={folder / 'model'}")
    for mode, model in (("name", "default"), ("bytes", "m.tflite")):  # here, and in an engine process
        for kernels, expected in ((["--no-xnnpack"], plain), ([], from_raw)):
            done = aicli_run(build("nn"), *named, *kernels, mode, model, "p.rgb", SIDE, 3)
            assert done.stdout.splitlines()[-1:] == [expected], done.stderr


def test_wit_dialect(build, aicli_run, folder: Path, from_raw: str) -> None:
    arguments = ("--dir", f"{folder}:.", "--nn-dialect", "wit", "bytes", "m.tflite", "p.rgb", SIDE, 4)
    done = aicli_run(build("nn"), *arguments)
    assert done.stdout.splitlines() == ["onnx 0", "stale 1", "pointer 1", "small 6 1001", from_raw]


def test_a_name_that_is_not_there_is_named(build, aicli_run, folder: Path) -> None:
    done = aicli_run(build("nn"), "--dir", f"{folder}:.", "name", "absent", "p.rgb", SIDE, 3)
    assert done.returncode == 1
    assert "asked for a model 'absent'" in done.stderr.splitlines()[-1]


def test_current_wasmedge(build, aicli_run, folder: Path) -> None:
    done = aicli_run(build("lite_current"), "--dir", f"{folder}:.", *GUEST_ARGUMENTS)
    resized = resize_cubic(photo(folder), SIDE, SIDE)
    expected = classify(folder, np.clip(resized + 0.5, 0, 255).astype(np.uint8))
    assert done.stdout.splitlines() == ["short 1", "size 1", "unknown 1", expected], done.stderr


@pytest.mark.parametrize("cfg", [(), ("ssvm",)], ids=["wasmedge", "ssvm"])
def test_legacy_wasmedge_and_ssvm(build, aicli_run, folder: Path, cfg: tuple[str, ...]) -> None:
    done = aicli_run(build("lite_legacy", *cfg), "--dir", f"{folder}:.", *GUEST_ARGUMENTS)
    resized = resize_corners(photo(folder), SIDE, SIDE)
    first = [int(value) for value in resized[0, 0]]
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"pixel {first[0]} {first[1]} {first[2]} [")
    floats = [float(text) for text in lines[0].partition("[")[2].rstrip("]").split(",")]
    assert floats == pytest.approx([value / 255 for value in reversed(first)], abs=1e-6)
    assert lines[1:] == ["no model 0", "run 0", "unknown 0", classify(folder, resized)], done.stderr
    assert done.stderr.count("is no TFLite file") == 1
    assert "has no output 'x', only" in done.stderr


def test_what_a_legacy_call_got_wrong_is_said_once(build, aicli_run, folder: Path) -> None:
    for arguments, said in (
        (("m.tflite", "image", OUTPUT, "p.jpg", SIDE), f"has no input 'image', only {INPUT}"),
        (("m.tflite", INPUT, OUTPUT, "p.jpg", 100), f"30000 bytes cannot fill input '{INPUT}' of the guest's model"),
        (("m.tflite", INPUT, "scores", "p.jpg", SIDE), f"has no output 'scores', only {OUTPUT}"),
    ):
        done = aicli_run(build("lite_legacy"), "--dir", f"{folder}:.", *arguments)
        assert done.stderr.count(said) == 1, done.stderr


def test_named_models_of_the_catalog(build, aicli_run, folder: Path) -> None:
    named = ("--model", "default=mtcnn:rnet", "--dir", f"{folder}:.")
    done = aicli_run(build("nn"), *named, "name", "default", "p.rgb", 1, 3)
    assert "default takes float32" in done.stderr
    assert "mtcnn:pnet" in aicli_run(build("nn"), "--model", "default=mtcnn").stderr


def test_infer(assemble, aicli_run, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(bytes(100_000))
    (tmp_path / "image").write_bytes(bytes(50_000) + b"\x02")
    (tmp_path / "labels").write_text("zero\none\ntwo\n")
    guest = assemble("infer")
    arguments = ("--infer", "--model-file", tmp_path / "model", "--image", tmp_path / "image")
    assert aicli_run(guest, *arguments, "--labels", tmp_path / "labels").stdout == "two\n"
    assert aicli_run(guest, *arguments).stdout == "2\n"
    (tmp_path / "labels").write_text("zero\n")
    done = aicli_run(guest, *arguments, "--labels", tmp_path / "labels")
    assert done.returncode == 2 and "class 2" in done.stderr
    assert aicli_run(guest, "--call", "infer_from_ptrs", tmp_path / "model", tmp_path / "image").stdout == "2\n"
    hint = aicli_run(guest)
    assert hint.returncode == 2 and "takes two files, the model and the image" in hint.stderr


def test_reactor(assemble, aicli_run) -> None:
    guest = assemble("reactor")
    assert aicli_run(guest, "--invoke", "add", "--", "-2", "5").stdout == "3\n"
    assert aicli_run(guest, "--invoke", "hello").stdout == "hello\n"
    assert "add, hello" in aicli_run(guest).stderr
    assert "(i32, i64)" in aicli_run(guest, "--invoke", "add").stderr


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        ("wasmedge_process", "wasmedge_process_run", "process plugin"),
        ("wasi_unstable", "fd_write", "snapshot 0"),
        ("wasi:nn/graph@0.2.0", "load", "preview 2"),
        ("env", "emscripten_resize_heap", "Emscripten"),
        ("wasmedge_image", "load_webp", "WasmEdge image"),
        ("mystery", "f", "no host that aicli knows"),
    ],
)
def test_a_missing_import_is_named_with_its_provider(assemble, aicli_run, module: str, name: str, words: str) -> None:
    guest = assemble(f'(module (import "{module}" "{name}" (func)) (func (export "_start")))')
    done = aicli_run(guest)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"{module}.{name}" in done.stderr and words in done.stderr


@pytest.mark.skipif(is_installed(), reason="TensorFlow is installed")
def test_tensorflow_is_defined_and_named_when_it_is_missing(build, aicli_run, folder: Path) -> None:
    done = aicli_run(build("lite_current"), "--dir", f"{folder}:.", "m.tflite")
    assert (done.stdout, done.returncode) == ("tensorflow 6\n", 6)
    assert done.stderr.count("pip install tensorflow") == 1
    legacy = aicli_run(build("lite_legacy"), "--dir", f"{folder}:.", "m.tflite")
    assert (legacy.stdout, legacy.returncode) == ("graph 0\n", 0)
    assert legacy.stderr.count("pip install tensorflow") == 1
