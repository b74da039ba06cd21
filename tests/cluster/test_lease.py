"""One run at a time in a folder of records."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aicli.cluster import lease
from aicli.cluster.record_folder import RecordFolder
from aicli.errors import AicliError, UsageError

ABOUT = {"all_frames": False}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.02)


def folder(path: Path) -> RecordFolder:
    return RecordFolder(f"{path}/out", "jsonl", "classify")


def begun(path: Path) -> RecordFolder:
    made = folder(path)
    made.begin(ABOUT, resume=True, overwrite=False)
    return made


def writers(path: Path) -> list[Path]:
    return list((path / "out" / "_aicli").glob("writer-*"))


def someone(path: Path, **about: Any) -> Path:
    """What a run has left that was killed."""
    (path / "out" / "_aicli").mkdir(parents=True)
    left = path / "out" / "_aicli" / "writer-0.json"
    left.write_text(json.dumps({"host": "there", "process": 7, "beat": 1, **about}))
    return left


def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    refusal = (
        rf"out: another run writes into it \(process {os.getpid()} on .*\); wait for its end, or name another folder"
    )
    with folder(tmp_path).lease() as held:
        with pytest.raises(UsageError, match=refusal), folder(tmp_path).lease():
            pass
        assert len(writers(tmp_path)) == 1
        held.check()
    assert writers(tmp_path) == []


def test_a_run_elsewhere_lives_while_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = iter(["one", "another"])
    monkeypatch.setattr(lease, "machine", lambda: next(machines))
    with (
        folder(tmp_path).lease(),
        pytest.raises(UsageError, match="another run writes into it"),
        folder(tmp_path).lease(),
    ):
        pass


@pytest.mark.parametrize("machines", [("one", "one"), ("one", "another")])
def test_of_two_that_begin_at_once_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: tuple[str, str]
) -> None:
    """Each has said that it is there before it looks for the other."""
    told = iter(machines)
    monkeypatch.setattr(lease, "machine", lambda: next(told))
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 60.0)
    both = threading.Barrier(2)
    others = lease.Lease._others

    def together(self: lease.Lease) -> list[str]:
        if threading.current_thread() not in met:
            met.add(threading.current_thread())
            both.wait(60)
        return others(self)

    met: set[threading.Thread] = set()
    monkeypatch.setattr(lease.Lease, "_others", together)
    ends: list[str] = []
    refused = threading.Event()

    def enter(mine: lease.Lease) -> None:
        try:
            with mine:
                assert refused.wait(60)
                ends.append("held")
        except UsageError:
            refused.set()
            ends.append("refused")

    threads = [threading.Thread(target=enter, args=[folder(tmp_path).lease()]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ends) == ["held", "refused"]
    assert writers(tmp_path) == []


@pytest.mark.parametrize("about", [{}, {"machine": lease.machine(), "started": 1}])
def test_the_place_of_a_dead_one_is_taken(tmp_path: Path, about: dict[str, Any]) -> None:
    """Of this machine at once, though its number is another process's by now."""
    left = someone(tmp_path, **about)
    with folder(tmp_path).lease():
        assert not left.exists() and len(writers(tmp_path)) == 1
        begun(tmp_path)
    begun(tmp_path)  # what it had left is no reason to refuse the folder


def test_a_run_that_was_taken_for_dead_ends(tmp_path: Path) -> None:
    with folder(tmp_path).lease() as held:
        begun(tmp_path)
        writers(tmp_path)[0].unlink()
        deadline = time.monotonic() + 60
        with pytest.raises(AicliError, match="out: another run has taken this folder over"):
            while time.monotonic() < deadline:
                held.check()
                time.sleep(0.02)
    assert writers(tmp_path) == []


def test_a_run_whose_folder_is_removed_is_told_by_who_writes(tmp_path: Path) -> None:
    with folder(tmp_path).lease() as held:
        writers(tmp_path)[0].unlink()  # and there is no run.json
        time.sleep(0.3)
        held.check()
