"""What travels in the wheel and the source archive, what it depends on, and what start-up may cost."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import aicli

PROJECT = Path(__file__).resolve().parent.parent
HEAVY = {
    "numpy",
    "PIL",
    "rich",
    "ssl",
    "wasmtime",
    "wasmer",
    "ai_edge_litert",
    "tflite_runtime",
    "starlette",
    "httptools",
    "anyio",
}

LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
MAC = {"sys_platform": "darwin", "platform_machine": "arm64"}
WINDOWS = {"sys_platform": "win32", "platform_machine": "AMD64"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    folder = tmp_path_factory.mktemp("dist")
    hatchling("build", "-t", "wheel", "-t", "sdist", "-d", str(folder))
    return folder


def hatchling(*arguments: str, home: str | None = None, source: Path = PROJECT) -> str:
    """What the build backend prints; ``home`` is the project's address."""
    environment = {name: value for name, value in os.environ.items() if name != "AICLI_PROJECT_URL"}
    if home is not None:
        environment["AICLI_PROJECT_URL"] = home
    command = [sys.executable, "-m", "hatchling", *arguments]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(dist: Path) -> dict[str, bytes]:
    """The wheel's files by name."""
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    return HeaderParser().parsestr(wheel[f"aicli_vision-{aicli.__version__}.dist-info/METADATA"].decode())


def below(folder: str) -> set[str]:
    return {path.relative_to(PROJECT).as_posix() for path in (PROJECT / folder).rglob("*") if path.is_file()}


def test_the_wheel_holds_the_whole_package(wheel: dict[str, bytes]) -> None:
    wanted = {name for name in below("aicli") if "__pycache__" not in name}
    assert wanted <= set(wheel)
    assert "aicli/py.typed" in wheel
    assert wheel["aicli/_bundled/aicli_guest.wasm"].startswith(b"\0asm")


def test_the_wheel_holds_models_labels_and_the_guests_source(wheel: dict[str, bytes]) -> None:
    source = {name for name in below("guest-rust") if not name.startswith("guest-rust/target/") and name[-3:] != ".md"}
    for name in sorted(below("models") | below("labels") | source):
        assert wheel.get(f"aicli/_bundled/{name}") == (PROJECT / name).read_bytes(), name


def test_the_wheel_holds_nothing_else(wheel: dict[str, bytes]) -> None:
    own = f"aicli_vision-{aicli.__version__}"
    assert {name.split("/")[0] for name in wheel} == {"aicli", f"{own}.dist-info", f"{own}.data"}
    assert [name for name in wheel if name.startswith(f"{own}.data/")] == [f"{own}.data/data/share/man/man1/aicli.1"]
    assert not [name for name in wheel if re.search(r"/target/|__pycache__|\.pyc$|(^|/)\.git", name)]


def test_the_wheel_holds_every_licence(wheel: dict[str, bytes]) -> None:
    licences = f"aicli_vision-{aicli.__version__}.dist-info/licenses/"
    assert f"{licences}LICENSE" in wheel
    models = json.loads((PROJECT / "models" / "catalog.json").read_bytes())["models"]
    named = {model["license_file"] for model in models if model.get("license_file")}
    assert named
    assert all(f"{licences}models/{name}" in wheel for name in named)


def test_every_file_that_is_no_text_has_its_licence_named() -> None:
    """Models, labels, pictures and modules: docs/licences.md names each, or a folder whose files are of one origin."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    page = (PROJECT / "docs" / "licences.md").read_text(encoding="utf-8")
    patterns = re.findall(r"`([\w./*-]+/[\w.*-]+)`", page)
    files = [name for name in listed.stdout.split("\0") if name]
    foreign = [name for name in files if is_foreign(PROJECT / name)]
    assert "models/pnet.tflite" in foreign and "labels/imagenet_1000.txt" in foreign
    assert [name for name in foreign if not any(fnmatch(name, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in files)] == []


def is_foreign(path: Path) -> bool:
    """Whether a file is of a kind that others make, or holds a zero byte, as no text does."""
    if path.parent.name == "labels" or path.suffix in {".svg", ".ttf", ".woff2"}:
        return True
    return path.is_file() and b"\0" in path.read_bytes()


def test_the_source_archive_holds_every_tracked_file(dist: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {name for name in listed.stdout.split("\0") if name and (PROJECT / name).exists()}
    assert tracked <= held
    # A photo or a page that lies in the checkout is no part of it.
    assert {name.partition("/")[0] for name in held} == {name.partition("/")[0] for name in tracked} | {"PKG-INFO"}


@pytest.mark.parametrize(
    ("python", "platform", "wanted"),
    [
        ("3.10", LINUX, {"wasmer", "wasmer-compiler-cranelift", "tflite-runtime"}),
        ("3.10", WINDOWS, {"wasmer", "wasmer-compiler-cranelift"}),
        ("3.10", MAC, set()),
        ("3.10", {**LINUX, "platform_machine": "aarch64"}, {"tflite-runtime"}),
        ("3.11", LINUX, set()),
        ("3.13", WINDOWS, set()),
    ],
)
def test_dependencies_for_each_platform(
    metadata: Message, python: str, platform: dict[str, str], wanted: set[str]
) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.1", "extra": "", **platform}
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    taken = {r.name for r in requirements if r.marker is None or r.marker.evaluate(environment)}
    assert taken == wanted | {"click", "pillow", "rich", "numpy", "ai-edge-litert", "wasmtime"}


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "aicli-vision"
    assert metadata["Version"] == aicli.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"heif", "serve", "test", "dev"} <= set(metadata.get_all("Provides-Extra", []))


def test_a_build_that_is_not_told_an_address_names_none(metadata: Message) -> None:
    assert metadata.get_all("Project-URL") is None
    assert metadata.get_payload() == (PROJECT / "README.md").read_text(encoding="utf-8")


def test_a_release_is_built_with_the_address_that_it_is_told(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    home, tag = "https://example.org/us/aicli", f"v{aicli.__version__}"
    wanted = {
        "Homepage": home,
        "Source": f"{home}/tree/{tag}",
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/{tag}/CHANGELOG.md",
        "Documentation": f"{home}/tree/{tag}/docs",
    }
    told = json.loads(hatchling("metadata", home=f"{home}/"))
    assert told["urls"] == wanted

    # What an index shows has no files around it.
    links = re.findall(r"\]\(([^)\s]+)\)", told["readme"]["text"])
    own = [link for link in links if link.startswith(f"{home}/blob/{tag}/")]
    assert f"{home}/blob/{tag}/docs/development.md#platforms" in own
    assert [link for link in links if "://" not in link] == []
    assert all((PROJECT / link.removeprefix(f"{home}/blob/{tag}/").partition("#")[0]).is_file() for link in own)

    # A wheel that somebody makes of the archive names where the archive was made, not where the wheel was.
    hatchling("build", "-t", "sdist", "-d", str(tmp_path), home=home)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(tmp_path, filter="data")
        else:
            archive.extractall(tmp_path)
    source = tmp_path / path.name.removesuffix(".tar.gz")
    for later in (None, "https://example.org/them/fork"):
        again = json.loads(hatchling("metadata", home=later, source=source))
        assert again["urls"] == wanted
        assert again["readme"]["text"] == told["readme"]["text"]


@pytest.mark.parametrize(
    "home", ["example.org/us/aicli", "http://example.org/us/aicli", "https://example.org", "https://a b/c"]
)
def test_an_address_that_is_none_ends_the_build(home: str) -> None:
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    with pytest.raises(
        AssertionError, match=r"AICLI_PROJECT_URL must be an address like https://host/owner/repository"
    ):
        hatchling("metadata", home=home)


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {aicli.__version__}" in (PROJECT / "CHANGELOG.md").read_text()


def modules() -> list[str]:
    found = pkgutil.walk_packages([str(PROJECT / "aicli")], "aicli.")
    return [module.name for module in found if not module.name.endswith(("__main__", "_child"))]


@pytest.mark.parametrize("name", ["aicli", *modules()])
def test_all_names_what_the_module_offers(name: str) -> None:
    try:
        module = import_module(name)
    except ImportError as error:
        if (error.name or "").startswith("aicli"):
            raise
        pytest.skip(f"needs {error.name}")
    offered = getattr(module, "__all__", [])
    assert len(set(offered)) == len(offered)
    assert [name for name in offered if not hasattr(module, name)] == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["classify", "--help"], ["detect-faces", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "aicli", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize(("answer", "said"), [("3.9", "is 3.9"), ("2.7", "is 2.7"), ("", "does not run")])
def test_make_refuses_a_wrong_python_in_one_line(tmp_path: Path, answer: str, said: str) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho {answer}\n")
    fake.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = [make, "-n", f"PYTHON={fake}", "demo"]
    done = subprocess.run(command, cwd=PROJECT, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "3.10 or later" in done.stderr
    assert said in done.stderr
