"""The program as a shell sees it: exit codes, streams that fail, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PHOTO = Path(__file__).resolve().parents[2] / "examples" / "grace_hopper.jpg"
FULL = Path("/dev/full")


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aicli", *arguments]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_everything_is_written_before_the_process_ends() -> None:
    done = run("classify", str(PHOTO), "-f", "json", stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert done.stdout.startswith("[") and done.stdout.endswith("]\n")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["nonsense"], 2), (["classify", "no.jpg"], 1), (["classify", "--top", "x", str(PHOTO)], 2)],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert run(*arguments, stdout=subprocess.PIPE).returncode == code


@pytest.mark.parametrize("group", [[], ["models"]])
def test_who_names_no_command_reads_the_help(group: list[str]) -> None:
    help = run(*group, "--help", stdout=subprocess.PIPE)
    shown = run(*group, stdout=subprocess.PIPE)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == help.stdout and shown.stderr.startswith("Usage: aicli"), shown.stderr


COUNT_THREADS = """
import os
import aicli.__main__, aicli.cli.main
def run(arguments):
    import numpy
    print(len(os.listdir("/proc/self/task")), os.environ["OPENBLAS_NUM_THREADS"])
    return 0
aicli.cli.main.run = run
aicli.__main__.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_numpy_starts_no_threads_unless_the_user_wants_them() -> None:
    plain = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}

    def count(environment: dict[str, str]) -> list[str]:
        return subprocess.check_output([sys.executable, "-c", COUNT_THREADS], env=environment, text=True).split()

    assert count(plain) == ["1", "1"]
    assert count({**plain, "OPENBLAS_NUM_THREADS": "2"})[1] == "2"


SAY_MODULES = """
import sys
from aicli.cli.main import run
run(sys.argv[1:])
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["classify", "--help"], ["classify", str(PHOTO)], ["info"]])
def test_who_needs_no_cluster_loads_nothing_of_it(arguments: list[str]) -> None:
    """Neither the engine, nor what reads Parquet and buckets, nor the project's own part for it."""
    done = subprocess.run([sys.executable, "-c", SAY_MODULES, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "aicli.cli.main" in loaded
    assert not loaded & {"ray", "pyarrow", "fsspec", "pandas"}
    assert [name for name in loaded if name.startswith("aicli.") and "cluster" in name] == []


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["classify", "--help"], ["info"], ["classify", str(PHOTO)]])
def test_a_full_disk_is_one_line_and_a_code(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        done = run(*arguments, stdout=full)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX pipe")
def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = run("--help", stdout=pipe)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("arguments", "code"), [("--help", 0), (f"classify {PHOTO}", 0), ("classify no.jpg", 1)])
def test_closed_streams_are_no_fault(closed: str, arguments: str, code: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m aicli {arguments} {closed}'], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if closed == "2>&-":
        assert done.stderr == ""
    if closed == "<&-" and code == 0:
        assert done.stdout
