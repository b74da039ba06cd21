"""What `aicli page` writes, and what it refuses to write over."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from aicli.cli.main import cli
from aicli.errors import ModelError, UnavailableError, UsageError
from aicli.page import files
from aicli.page.site import LIST, write_site


def below(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != LIST]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_site_is_complete_and_lists_itself(site: Path) -> None:
    found = below(site)
    known = json.loads((site / "aicli" / "files.json").read_text())["files"]
    assert {f"aicli/{address}": item["sha256"] for address, item in known.items()} == {
        address: sha256
        for address, sha256 in found.items()
        if address.startswith("aicli/") and "files.json" not in address
    }
    assert {address: [sha256] for address, sha256 in found.items()} == json.loads((site / LIST).read_text())["files"]
    assert {"index.html", "sw.js", "aicli/index.js", "aicli/worker.js", "aicli/data/aicli_guest.wasm"} <= set(found)
    licences = {"aicli/LICENSES/litert.txt", "aicli/LICENSES/fflate.txt", "aicli/data/models/LICENSES/mtcnn.txt"}
    assert licences <= set(found)
    types = {address for address in found if address.endswith(".d.ts")}
    assert "aicli/index.d.ts" in types
    assert not any(address in (site / "sw.js").read_text() for address in types), "a page has no need of them"
    page = (site / "index.html").read_text()
    assert "{{" not in page
    assert "null;" not in (site / "sw.js").read_text().partition("const scope")[0]
    names = {item["name"] for item in json.loads((site / "aicli/data/models/catalog.json").read_text())["models"]}
    assert names == {"efficientnet_lite0", "mtcnn", "dog_breeds"}


def test_a_site_is_brought_up_to_date_and_nothing_else_is_touched(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    (folder / "CNAME").write_text("photos.example.org")
    kept = (folder / "index.html").stat().st_mtime_ns
    write_site(folder, ["dogs"])
    assert (folder / "CNAME").read_text() == "photos.example.org"
    assert (folder / "index.html").stat().st_mtime_ns == kept, "what is as it should be is left alone"
    models = {path.name for path in (folder / "aicli/data/models").glob("*.tflite")}
    nets = {f"{net}{kind}.tflite" for net in ("pnet", "rnet", "onet") for kind in ("", "_pixels")}
    assert models == {"dog_breeds.tflite", *nets}
    assert "CNAME" not in json.loads((folder / LIST).read_text())["files"]
    (folder / "static" / "app.css").write_text("mine")
    with pytest.raises(UsageError, match=r"app\.css: this file was not written by aicli, or changed since"):
        write_site(folder)
    assert not (folder / "aicli/data/models/efficientnet_lite0.tflite").exists()


def test_an_interrupted_run_is_gone_on_with(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aicli.page import site as module

    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    write = module._write
    written: list[Path] = []

    def stop(path: Path, content: files.Content, sha256: str) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(path, content, sha256)

    monkeypatch.setattr(module, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        write_site(folder, ["dog_breeds"])
    monkeypatch.undo()
    write_site(folder)
    assert below(folder) == below(site)


@pytest.mark.usefixtures("site")
def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="has files that aicli did not write"):
        write_site(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UsageError, match="this is a file"):
        write_site(tmp_path / "thesis.txt")
    for text in ("{", '{"files": 3}', "[]"):
        (tmp_path / LIST).write_text(text)
        with pytest.raises(UsageError, match="is damaged"):
            write_site(tmp_path)
    outside = tmp_path / "victim"
    outside.write_text("mine")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / LIST).write_text(json.dumps({"files": {"../victim": [hashlib.sha256(b"mine").hexdigest()]}}))
    write_site(folder)
    assert outside.read_text() == "mine"


@pytest.mark.usefixtures("site")
def test_models_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model 'nosuch'; there is efficientnet_lite0, mtcnn"):
        write_site(tmp_path / "site", ["nosuch"])
    with pytest.raises(ModelError, match="mobilenet_v2 is not here; get it: aicli models pull mobilenet_v2"):
        write_site(tmp_path / "site", ["mobilenet_v2"])
    assert not (tmp_path / "site").exists()


def test_an_installation_without_the_browsers_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BUILT", tmp_path / "nothing")
    with pytest.raises(UnavailableError, match="no files for the browser; in a checkout, run: make browser"):
        write_site(tmp_path / "site")
    page = files.page_files("", service=True, device={})
    assert "sw.js" not in page
    assert b'data-device="no"' in files.read(page[""])


@pytest.mark.usefixtures("site")
def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["page", "--out", str(tmp_path / "site"), "-m", "dog_breeds"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{tmp_path / 'site'}: ")
    assert " files, " in result.output
