"""The guard that counts: what it takes for slower, how it reads a profile, and what it says of another environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import counts
from benchmarks.callgrind import by_group, group
from benchmarks.counts import Change, compare
from benchmarks.planted import PLANTS, ROOT

PROFILE = """\
version: 1
creator: callgrind-3.19.0
events: Ir
ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ???
fn=(1) _PyEval_EvalFrameDefault
0 100
+3 20
cob=(2) /usr/lib/libc.so.6
cfn=(2) __memcpy_avx_unaligned_erms
calls=7 0
* 5000
ob=(2)
fn=(2)
0 3000
fn=(3) malloc
0 40
ob=(3) ???
fn=(4) 0x0000000010f77720
* 900
totals: 4060
"""


def test_a_profile_is_counted_once_by_what_the_instructions_were_spent_in(tmp_path: Path) -> None:
    profile = tmp_path / "out"
    profile.write_text(PROFILE)
    assert by_group(profile) == {"Python": 120, "copies": 3000, "other": 40, "guest": 900}


@pytest.mark.parametrize(
    ("file", "function", "name"),
    [
        ("/v/lib/python3.11/site-packages/pillow.libs/libjpeg-6dc8d115.so.62.4.0", "jpeg_read_header", "Pillow"),
        ("/v/lib/python3.11/site-packages/PIL/_imaging.cpython-311-x86_64-linux-gnu.so", "x", "Pillow"),
        ("/v/lib/python3.11/site-packages/ai_edge_litert/libpywrap_litert_common.so", "xnn_gemm", "engine"),
        ("/v/lib/python3.11/site-packages/wasmtime/linux-x86_64/_libwasmtime.so", "memcpy", "wasmtime"),
        ("/v/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so", "x", "Python"),
        ("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "x", "SHA-256"),
        ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", "memcpy", "other"),
    ],
)
def test_whose_code_it_is(file: str, function: str, name: str) -> None:
    assert group(file, function) == name


@pytest.mark.parametrize(
    ("row", "name", "before", "now", "slower"),
    [
        ("guest: classify", "guest instructions", 1000, 1050, False),
        ("guest: classify", "guest instructions", 1000, 1051, True),
        ("guest: classify", "host calls", 198, 199, True),
        ("guest: classify", "invocations", 1, 1, False),
        ("guest: classify", "allocations", 0, 1, True),
        ("instructions: classify", "Python", 1_800_000, 1_980_000, True),
        ("instructions: classify", "Python", 1_800_000, 1_889_000, False),
        ("instructions: classify", "wasmtime", 4_940, 9_880, False),  # too few to be more than noise
        ("start: classify", "modules imported", 380, 418, True),
    ],
)
def test_what_is_slower(row: str, name: str, before: int, now: int, slower: bool) -> None:
    assert Change(row, name, before, now).is_slower is slower
    assert not Change(row, name, before, now).is_faster


def test_fewer_is_no_slow_down_but_is_told() -> None:
    change = Change("guest: classify", "host calls", 198, 150)
    assert change.is_faster and not change.is_slower
    assert str(change) == "guest: classify: host calls 198 -> 150 (-24.2 %)"


def test_what_the_table_lacks_counts_as_new() -> None:
    before = {"a": {"x": 1, "y": 2}}
    assert compare(before, {"a": {"x": 1, "y": 3}, "b": {"z": 4}}) == [Change("a", "y", 2, 3), Change("b", "z", 0, 4)]


def measured(*, with_valgrind: bool) -> counts.Table:
    table = {"guest: classify": {"host calls": 3}}
    return {**table, "instructions: classify": {"Python": 2_000_000}} if with_valgrind else table


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(counts, "measure", lambda _checkout, *, with_valgrind: measured(with_valgrind=with_valgrind))
    here = {"numpy": "2.4.6", "Python": "3.11.7", "valgrind": "valgrind-3.19.0"}
    return {
        "environment": here,
        "counts": {"guest: classify": {"host calls": 3}, "instructions: classify": {"Python": 1_000_000}},
    }


def test_a_slow_down_fails_the_guard(saved: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    here = dict(saved["environment"])
    assert counts.check(saved, here, ROOT, with_valgrind=True) == 1
    assert "more:  instructions: classify: Python 1,000,000 -> 2,000,000 (+100.0 %)" in capsys.readouterr().out
    assert counts.check(saved, here, ROOT, with_valgrind=False) == 0


def test_other_packages_are_named(saved: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    here = {**saved["environment"], "numpy": "2.5.0"}
    assert counts.check(saved, here, ROOT, with_valgrind=True) == 2
    assert "other packages: numpy 2.5.0 instead of 2.4.6" in capsys.readouterr().err


def test_instructions_are_compared_on_such_a_machine_alone(
    saved: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    here = {**saved["environment"], "valgrind": "valgrind-3.24.0"}
    assert counts.check(saved, here, ROOT, with_valgrind=True) == 0
    printed = capsys.readouterr()
    assert "valgrind: valgrind-3.24.0 instead of valgrind-3.19.0" in printed.err
    assert "1 counts compared, 0 too many" in printed.out


@pytest.mark.parametrize("name", PLANTS)
def test_every_planted_slow_down_still_has_its_place(name: str) -> None:
    assert (ROOT / PLANTS[name].file).read_text().count(PLANTS[name].text) == 1
