"""doctor and completion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aicli.cli.commands import doctor


def test_doctor_finds_a_sound_installation_sound(aicli: Any, runtime: str) -> None:
    result = aicli("doctor", "-f", "json")
    findings = json.loads(result.out)
    assert result.code == 0, findings
    assert any(finding["check"].startswith(runtime) for finding in findings)


def test_doctor_survives_what_it_finds(aicli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> doctor.Finding:
        raise RuntimeError("no\nluck")

    monkeypatch.setattr(doctor, "check_guest", fail)
    monkeypatch.setattr(doctor, "check_pairs", lambda: iter(()))
    result = aicli("doctor")
    assert result.code == 1
    assert "bad   guest: RuntimeError: no\\nluck" in result.out and "-> reinstall" in result.out


def test_doctor_names_the_other_package_of_this_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor.check_namesake()) == []
    described = tmp_path / "aicli-99.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: aicli\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (finding,) = doctor.check_namesake()
    assert finding.status == "bad" and "'aicli' 99.0" in finding.detail
    assert finding.remedy.startswith("pip uninstall aicli, then reinstall aicli-vision")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_parse(aicli: Any, shell: str) -> None:
    script = aicli("completion", shell).out
    assert "_AICLI_COMPLETE" in script
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_model_names_are_completed() -> None:
    words = {"_AICLI_COMPLETE": "bash_complete", "COMP_WORDS": "aicli classify -m dog", "COMP_CWORD": "3"}
    environment = {**os.environ, **words}
    command = [sys.executable, "-m", "aicli"]
    output = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    assert "plain,dog_breeds" in output
