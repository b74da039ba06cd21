"""What cannot be is said in one line, before any node is asked."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest

from aicli.cli.main import run
from aicli.cluster import session
from aicli.cluster.record_folder import RecordFolder
from tests.cluster.conftest import require_ray


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """The exit code and the one line of ``aicli ARGUMENTS``."""

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1, (out, err)
        return code, err

    return call


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--cluster writes many files: name a folder for them with -O"),
        (("-O", "x.parquet"), "x.parquet: --cluster writes many files; give a folder, such as -O x/"),
        (("-O", "x/", "-f", "csv"), "--format does not go with --cluster: --to says what"),
        (("-O", "x/", "--move", "--group", "y"), "--group does not go with --cluster"),
        (("-O", "x/", "--sheet", "s.png"), "--sheet does not go with --cluster"),
    ],
)
def test_options_that_do_not_go_together(told: Any, examples: Path, options: Any, said: str) -> None:
    code, line = told("classify", examples, "--cluster", "local", *options)
    assert code == 2 and said in line


def test_to_belongs_to_a_cluster(told: Any, examples: Path) -> None:
    for command in ("classify", "detect-faces"):
        code, line = told(command, examples, "--to", "jsonl")
        assert code == 2 and "--to has no effect without --cluster" in line


def test_ray_that_is_not_installed(told: Any, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(session, "find_spec", lambda name: None if name == "ray" else find(name))
    code, line = told("classify", examples, "-O", tmp_path / "out", "--cluster", "local")
    assert code == 2 and "a cluster needs Ray Data; run: pip install " in line and "'ray[data]>=" in line
    assert not (tmp_path / "out").exists()


def test_clusters_that_are_not_reached(told: Any, examples: Path, tmp_path: Path) -> None:
    require_ray()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    for address, said in {
        nobody: "cannot be reached (Connection refused); check the address",
        "somewhere": "somewhere: no address of a cluster; give auto, local or HOST:PORT",
        "ray://head:10001": "send the command there with: ray job submit",
    }.items():
        code, line = told("classify", examples, "-O", tmp_path / "out", "--cluster", address, "-q")
        assert code == 2 and said in line, address
    assert not (tmp_path / "out").exists()


def test_no_image_at_all(told: Any, tmp_path: Path) -> None:
    require_ray()
    (tmp_path / "empty").mkdir()
    code, line = told("classify", tmp_path / "empty", "-O", tmp_path / "out", "--cluster", "local")
    assert code == 1 and "empty: no images in this folder" in line
    (tmp_path / "list").write_text("")
    code, line = told("classify", "--files-from", tmp_path / "list", "-O", tmp_path / "out", "--cluster", "local")
    assert code == 2 and "there is no image to answer" in line
    assert not (tmp_path / "out").exists()


def test_records_of_another_model_are_not_continued(told: Any, examples: Path, tmp_path: Path) -> None:
    require_ray()
    folder = RecordFolder(f"{tmp_path}/out", "parquet", "classify")
    folder.begin({"all_frames": False, "model": "other"}, resume=False, overwrite=False)
    code, line = told("classify", examples, "-O", tmp_path / "out", "--cluster", "local", "--resume")
    assert code == 2 and 'out: begun with model "other", not "' in line and "; resume it as it was" in line


def test_a_wrong_model_is_told_before_any_node_is_asked(told: Any, examples: Path, tmp_path: Path) -> None:
    require_ray()
    code, line = told("classify", examples, "-m", "nothing.tflite", "-O", tmp_path / "o", "--cluster", "127.0.0.1:1")
    assert code == 2 and "nothing.tflite" in line
