"""docs/articles.md: every command line in it is run, and answers what stands below it; each convention carries both."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serve.conftest import PROJECT, TOKEN, running

PAGE = PROJECT / "docs" / "articles.md"
SHARED = PROJECT.parent / "shared" / "images"
MODEL = PROJECT / "models" / "efficientnet_lite0.tflite"
LABELS = PROJECT / "labels" / "imagenet_1000.txt"
PHOTO = PROJECT / "examples" / "grace_hopper.jpg"
FACES = [part for net in ("pnet", "rnet", "onet") for part in ("--model", f"{net}=mtcnn:{net}")]
GUESTS = {
    "mobilenet_service_lib_bg": ("ssvm",),
    "mtcnn_service_lib_bg": ("faces", "single"),
    "image_classification_lib_bg": ("ssvm", "three"),
    "face_detection_lib_bg": ("faces",),
    "inferencing": ("pointers",),
}
NAMES = {"mobilenet": 0, "mtcnn": 1, "classification": 2, "faces": 3, "pointers": 4}
GREEN = (0, 255, 0)

needs_photos = pytest.mark.skipif(
    not SHARED.is_dir() and os.environ.get("AICLI_REQUIRE_SHARED") != "1", reason="needs ../shared/images"
)


BINDINGS = [(), ("framed",), ("env",), ("runnable",)]
every_binding = pytest.mark.parametrize("binding", BINDINGS, ids=lambda cfg: "".join(cfg) or "bindgen")


def blocks(text: str) -> list[tuple[str, str]]:
    """Each command line of the page with the answer that stands below it."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    answers = [*lines[1:], ""]
    pairs = zip(lines, answers, strict=True)
    return [(line, answer[2:] if answer.startswith("# ") else "") for line, answer in pairs if not line.startswith("#")]


def is_answer(shown: str, given: str) -> bool:
    """Whether an answer is the one shown, in which ID and ... stand for anything."""
    if not shown.startswith("{"):
        return given.strip() == shown
    pattern = re.escape(shown).replace(r"\.\.\.", ".*").replace('"ID"', '"[0-9a-f]+"')
    return re.match(pattern.removesuffix(r"\}"), given) is not None


@needs_photos
def test_every_line_of_the_articles(vision, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for name, cfg in GUESTS.items():
        shutil.copy(vision(*cfg), folder / f"{name}.wasm")
    for source, name in ((MODEL, "model.tflite"), (LABELS, "labels.txt"), (SHARED / "grace_hopper.jpg", "")):
        shutil.copy(source, folder / (name or source.name))
    shutil.copy(SHARED / "solvay.jpg", folder)
    with running(tmp_path, "--functions", "--workers", "1") as server:
        variables = {"auth": f"Authorization: Bearer {TOKEN}", "service": server.url}
        for name, number in NAMES.items():
            wasm = (folder / f"{list(GUESTS)[number]}.wasm").read_bytes()
            kept = server.ask("POST", "/api/executables", wasm, server.tokens).json
            variables[name] = kept["wasm_id"]
            if name == "mobilenet":
                variables["key"] = kept["SSVM_Admin_Key"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **variables, "PATH": path, "PYTHONPATH": str(PROJECT)}
        environment["AICLI_CACHE_DIR"] = str(tmp_path / "cache")
        found = blocks(PAGE.read_text())
        assert len(found) > 15
        for line, shown in found:
            line = re.sub(r"^aicli ", f"{sys.executable} -m aicli ", line)
            shell = ["bash", "-ec", line]
            done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, (line, done.stderr)
            assert not shown or is_answer(shown, done.stdout), (line, done.stdout)
    pictures = {name: (folder / f"{name}.png").read_bytes() for name in ("boxes", "tmp", "large", "form", "arg")}
    assert pictures["boxes"] == pictures["tmp"] and pictures["large"] == pictures["form"] == pictures["arg"]
    assert green(pictures["boxes"], (SHARED / "solvay.jpg").read_bytes()) >= 29 * 4 * 20


def green(picture: bytes, photo: bytes) -> int:
    """How many pixels of a picture are green that were not in the photo."""
    with Image.open(io.BytesIO(picture)) as image, Image.open(io.BytesIO(photo)) as before:
        assert image.size == before.size and image.format == "PNG"
        pixels = np.asarray(image)
        return int((pixels == GREEN).all(axis=-1).sum())


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    """What ``aicli classify`` and ``detect-faces`` say of the photo."""

    def ask(command: str) -> list[dict[str, object]]:
        line = [sys.executable, "-m", "aicli", command, str(PHOTO), "-f", "json"]
        found: list[dict[str, object]] = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
        return found

    return {"classify": ask("classify"), "faces": ask("detect-faces")}


@every_binding
@pytest.mark.parametrize("networks", ["ssvm", "lite", "nn"])
def test_each_convention_classifies_as_aicli_does(vision, aicli_run, known, binding, networks: str) -> None:
    done = aicli_run(vision(*binding, *([networks] if networks != "nn" else [])), PHOTO)
    best = known["classify"][0]["predictions"][0]
    label = best["label"].split(",")[0]
    assert done.stdout == f'["{label}","{best["confidence"]}"]\n', done.stderr


@every_binding
def test_each_convention_finds_the_faces_that_aicli_finds(vision, known, binding, tmp_path: Path) -> None:
    smallest = [] if "runnable" in binding else ["--arg", "20"]
    line = [sys.executable, "-m", "aicli", "run", str(vision("faces", *binding)), *FACES, *smallest, str(PHOTO)]
    environment = {**os.environ, "AICLI_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(line, capture_output=True, check=True, env=environment, timeout=120)
    faces = known["faces"][0]["faces"]
    assert done.stderr.decode() == f"{len(faces)} faces\n"
    with Image.open(io.BytesIO(done.stdout)) as image:
        for face in faces:
            x1, y1, x2, y2 = (int(max(0, value)) for value in face["box"])
            corners = [(x1, y1), (min(x2, image.width - 1), y1), (x1, min(y2, image.height - 1))]
            assert [image.getpixel(corner) for corner in corners] == [GREEN] * 3
