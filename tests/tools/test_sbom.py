"""tools/sbom.py: the bill of materials of a wheel."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]


def test_the_bill_names_what_the_wheel_holds_and_asks_for(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    pytest.importorskip("cyclonedx", reason="a development tool")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    command = [sys.executable, str(PROJECT / "tools" / "sbom.py"), str(wheel)]
    texts = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(texts) == 1
    (text,) = texts
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None

    bill = json.loads(text)
    files = {item["name"]: item for item in bill["components"] if item["type"] != "library"}
    with zipfile.ZipFile(wheel) as archive:
        bundled = {
            name.removeprefix("aicli/_bundled/"): hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if name.endswith((".tflite", ".wasm"))
            or (name.startswith("aicli/_bundled/labels/") and name[-1] != "/")
            or (name.startswith("aicli/_bundled/page/") and name.endswith(".js"))
        }
    assert {name: item["hashes"][0]["content"] for name, item in files.items()} == bundled
    licences = [item["licenses"][0] for item in files.values()]
    named = {item["expression"] if "expression" in item else item["license"]["id"] for item in licences}
    assert named <= {"Apache-2.0", "MIT", "Apache-2.0 AND MIT"}
    required = {item["name"] for item in bill["components"] if item.get("scope") == "required"}
    assert {Requirement(name).name for name in required} >= {"click", "numpy", "pillow", "wasmtime"}
