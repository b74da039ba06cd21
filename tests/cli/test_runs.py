"""Runs over many images: jobs, interruption, resumption, limits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aicli import Classifier, Failure, GuestError, GuestTimeout, Hint, ImageError, UsageError, WriteError
from aicli._text import shown
from aicli.cli.batch import progress as progress_line
from aicli.cli.batch import record_file
from aicli.cli.batch.progress import Progress, duration
from aicli.cli.batch.record_file import RecordFile
from aicli.cli.batch.run import line_on
from aicli.cli.batch.sources import PassedOver
from aicli.image.decode import open_image

posix = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


@pytest.fixture
def many(tmp_path: Path, examples: Path) -> Path:
    """A folder of 40 names for one photo, every tenth broken."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        path = folder / f"p{number}.jpg"
        if number % 10 == 5:
            path.write_bytes(b"no image")
        else:
            shutil.copy(examples / "grace_hopper.jpg", path)
    return folder


def test_two_jobs_answer_like_one(aicli: Any, many: Path, runtime: str) -> None:
    one = aicli("classify", many, "-f", "jsonl", "-j", 1, "--runtime", runtime)
    two = aicli("classify", many, "-f", "jsonl", "-j", 2, "--runtime", runtime)
    assert one.out == two.out and one.code == two.code == 1
    assert one.out.count("\n") == 40 and "4 failed" in two.err


def test_the_python_api_gives_the_same(many: Path, runtime: str) -> None:
    paths = sorted(many.iterdir())[:8]
    classifier = Classifier(runtime=runtime)
    one, two = list(classifier.many(paths)), list(classifier.many(paths, jobs=2))
    assert [str(answer) for answer in one] == [str(answer) for answer in two]
    assert [answer.image for answer in two] == [str(path) for path in paths]
    assert sum(isinstance(answer, Failure) for answer in two) == 1


def test_images_are_taken_as_they_are_answered(many: Path) -> None:
    taken = []

    def paths() -> Any:
        for number in range(1000):
            taken.append(number)
            yield many / "p0.jpg"

    answers: Any = Classifier().many(paths(), jobs=2)
    next(answers)
    answers.close()
    assert len(taken) <= 16


def test_stop_at_the_first_error(aicli: Any, many: Path) -> None:
    result = aicli("classify", many, "-f", "jsonl", "--on-error", "stop")
    assert result.code == 1
    assert result.out.count("\n") == 6 and "stopped after 6" in result.err.splitlines()[-1]


def test_quiet_verbose_and_timing(aicli: Any, many: Path) -> None:
    assert aicli("classify", many / "p0.jpg", many / "p1.jpg", "-q").err == ""
    result = aicli("detect-faces", many / "p0.jpg", "-v", "--timing", "-f", "jsonl")
    assert "decode" in result.err and "rnet" in result.err
    assert {"decode", "guest", "pnet", "rnet", "onet"} <= set(json.loads(result.out)["timing"])


def test_an_image_that_takes_too_long_is_given_up(aicli: Any, many: Path) -> None:
    result = aicli("detect-faces", many / "p0.jpg", many / "p5.jpg", "--timeout", 0.002, "-j", 1)
    assert result.code == 1 and "--timeout" in result.err.splitlines()[0]
    assert "p5.jpg" in result.err.splitlines()[1]


def test_the_output_file_appears_whole(aicli: Any, many: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    result = aicli("classify", many, "-O", target)
    assert (result.code, result.out, len(target.read_text().splitlines())) == (1, "", 40)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.jsonl"]


def test_an_output_file_in_no_folder_is_said_at_once(aicli: Any, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "out.jsonl"
    result = aicli("classify", tmp_path / "absent.png", "-O", target)
    assert result.err == f"aicli: cannot write {target}.part: No such file or directory; make its folder first\n"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_resume_answers_what_is_missing(aicli: Any, many: Path, tmp_path: Path, suffix: str) -> None:
    whole, target = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    aicli("classify", many, "-O", whole)
    data = whole.read_bytes()
    (tmp_path / f"out.{suffix}.part").write_bytes(data[: len(data) // 2])  # as a killed run leaves it, torn
    result = aicli("classify", many, "-O", target, "--resume")
    assert "answered before" in result.err

    def names(path: Path) -> list[str]:
        text = path.read_text()
        if suffix == "jsonl":
            return sorted(json.loads(line)["image"] for line in text.splitlines())
        assert text.count("image,rank") == 1
        return sorted(line.split(",")[0] for line in text.splitlines())

    assert names(target) == names(whole)
    again = aicli("classify", many, "-O", target, "--resume")
    assert "4 images" in again.err and "36 answered before" in again.err
    assert names(target) == names(whole)


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("answered", ["chelsea.png", "absent.png"])
def test_records_of_another_task_or_model_are_not_continued(
    aicli: Any, examples: Path, tmp_path: Path, suffix: str, answered: str
) -> None:
    target = tmp_path / f"out.{suffix}"
    aicli("classify", examples / answered, "-O", target)
    before = target.read_bytes()
    if answered == "chelsea.png" or suffix == "csv":
        other = aicli("detect-faces", examples / "astronaut.png", "-O", target, "--resume")
        assert (other.code, other.err.count("\n")) == (2, 1), other.err
        assert "its records are those of aicli classify" in other.err and target.read_bytes() == before
    if answered == "chelsea.png" and suffix == "jsonl":
        other = aicli("classify", examples / "astronaut.png", "-m", "dog_breeds", "-O", target, "--resume")
        assert (other.code, other.err.count("\n")) == (2, 1), other.err
        assert "of the model efficientnet_lite0, and this run's model is dog_breeds" in other.err
        assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [target.name], "nothing that is in the way of the next run"
    assert aicli("classify", examples / "astronaut.png", "-O", target, "--resume").code == 0


def test_an_error_that_is_not_about_the_photo_gets_its_name_in_front(tmp_path: Path) -> None:
    """By what the error is about, not by how its line begins."""
    late = GuestTimeout("the guest used up its 1 second", hint=Hint("limits.timeout"))
    assert line_on("the", late) == "the: the guest used up its 1 second; --guest-timeout gives more"
    assert line_on("g", GuestError("g is no module").of("g.wasm")) == "g: g.wasm: g is no module"
    assert line_on("cannot", WriteError("out/x.png", "disk full")) == "cannot: cannot write out/x.png: disk full"
    assert line_on("", ImageError("an empty name; check the quotes").of("''")) == "'': an empty name; check the quotes"
    (tmp_path / "a\nb.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    for name in ("a\nb.jpg", "cut.png", "absent.jpg", "."):
        path = f"{tmp_path}/./{name}"
        with pytest.raises(ImageError) as caught:
            open_image(path)
        assert line_on(path, caught.value) == str(caught.value) == f"{shown(path)}: {caught.value.message}"


def test_a_link_that_cannot_be_read_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str) -> str:
        raise PermissionError(path)

    monkeypatch.setattr(os.path, "realpath", denied)
    passed = PassedOver([])
    passed("photos/cwd", "")
    assert passed.counts == {"without suffix": 1}


def test_a_refused_resume_leaves_nothing_and_takes_nothing(aicli: Any, examples: Path, tmp_path: Path) -> None:
    """With pictures, after a photo that failed, for a model that is not there, and of a run that was interrupted."""
    target, absent, photo = tmp_path / "out.jsonl", tmp_path / "absent.png", examples / "chelsea.png"
    aicli("classify", photo, "-O", target)
    pictures = ("-o", f"{tmp_path / 'pictures'}/", "-O", target, "--resume")
    before = target.read_bytes()
    for model in ("dog_breeds", "no_such_model"):
        assert aicli("classify", absent, examples / "astronaut.png", "-m", model, *pictures).code == 2
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"out.jsonl"}
    part = target.rename(tmp_path / "out.jsonl.part")
    assert aicli("classify", examples / "astronaut.png", "-m", "dog_breeds", "-O", target, "--resume").code == 2
    assert part.read_bytes() == before and not target.exists()


def test_a_resumed_csv_asks_for_its_model(aicli: Any, examples: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    assert "its model" not in aicli("classify", examples / "chelsea.png", "-O", target).err
    more = ("classify", examples, "-O", target, "--resume")
    note = "csv does not say its model; more records are of efficientnet_lite0, is it the same?"
    assert aicli(*more).err.count(note) == 1
    assert "its model" not in aicli(*more).err, "there is nothing more"
    assert (
        "its model"
        not in aicli(*more[:1], examples / "astronaut.png", examples / ".." / "examples", *more[2:], "-q").err
    )


def test_a_note_does_not_go_on_in_the_line_of_progress(
    aicli: Any, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.csv"
    aicli("classify", examples / "chelsea.png", "-O", target)
    monkeypatch.setattr(Progress, "show", lambda self, *_: (setattr(self, "_shown", True), sys.stderr.write("a bar")))
    said = aicli("classify", tmp_path / "absent.png", examples / "astronaut.png", "-O", target, "--resume").err
    assert f"a bar{progress_line.ERASE}aicli: note: {target}: csv does not say its model" in said


def test_a_file_that_is_no_part_of_ours_resumes_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('[1]\n"x"\n{"image": 5}\n{"image": "a", "error": "x"}\n{"image": "b"}\n{"ima')
    file = RecordFile(str(tmp_path / "a.jsonl"), "jsonl", "classify", resume=True)
    file.close()
    assert file.answered == {"b"} and [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@posix
@pytest.mark.parametrize("options", [(), ("--resume",), ("--overwrite",)])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_second_run_into_the_file_of_one_that_goes_on_is_refused(
    aicli: Any, examples: Path, tmp_path: Path, suffix: str, options: tuple[str, ...]
) -> None:
    target = tmp_path / f"out.{suffix}"
    first = RecordFile(str(target), suffix, "classify", resume=False)
    with first.open() as stream:
        stream.write("image,rank\n" if suffix == "csv" else "")
        stream.flush()
        result = aicli("classify", examples / "chelsea.png", "-O", target, *options)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert f"{target}.part: another run writes its records there; wait for its end" in result.err
        stream.write('{"image": "a"}\n')
    first.close()
    written = target.read_text()
    assert written.endswith('{"image": "a"}\n'), "nothing of it was lost"
    assert aicli("classify", examples / "chelsea.png", "-O", target, "--overwrite").code == 0


@posix
def test_of_two_runs_that_begin_at_once_the_second_does_nothing(aicli: Any, examples: Path, tmp_path: Path) -> None:
    """Also not before its first record: no photo is moved, and the plan of the first stays."""
    target, photo, plan = tmp_path / "a.jsonl", tmp_path / "photo.png", tmp_path / "a.jsonl.plan"
    shutil.copy(examples / "chelsea.png", photo)
    plan.write_text('{"run": "first"}\n')
    first = RecordFile(str(target), "jsonl", "classify", resume=False)
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"a\.jsonl\.part: another run"):
            RecordFile(str(target), "jsonl", "classify", resume=resume)
        more = ("--group", tmp_path / "groups", "--move", *(["--resume"] if resume else []))
        assert aicli("classify", photo, "-O", target, *more).code == 2
    assert photo.exists() and plan.read_text() == '{"run": "first"}\n' and not (tmp_path / "groups").exists()
    with first.open() as stream:
        stream.write('{"image": "a"}\n')
    first.close()
    assert target.read_text() == '{"image": "a"}\n'
    second = RecordFile(str(target), "jsonl", "classify", resume=True)
    with second.open() as stream:
        stream.write('{"image": "b"}\n')
    second.close()
    assert target.read_text() == '{"image": "a"}\n{"image": "b"}\n'
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "a.jsonl.plan", "photo.png"}


@posix
@pytest.mark.parametrize("moment", ["lock_part", "wait_for_lock", "is_at"])
def test_records_of_a_run_that_ends_while_another_begins_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before the part is opened, before it is locked, before it is known for the one under its name."""
    target, part = tmp_path / "a.jsonl", tmp_path / "a.jsonl.part"
    lines = [f'{{"image": "{number}"}}\n' for number in range(50)]
    part.write_text("".join(lines))
    real = getattr(record_file, moment)

    def ends_first(*arguments: Any) -> Any:
        if part.exists() and part.stat().st_size:
            part.rename(target)
        return real(*arguments)

    monkeypatch.setattr(record_file, moment, ends_first)
    second = RecordFile(str(target), "jsonl", "classify", resume=True)
    monkeypatch.undo()
    assert len(second.answered) == 50
    with second.open() as stream:
        stream.write('{"image": "new"}\n')
    second.close()
    assert target.read_text() == "".join(lines) + '{"image": "new"}\n'


@posix
def test_the_part_is_locked_from_the_moment_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.jsonl"
    target.write_text('{"image": "a"}\n')
    refused = []
    real = os.replace

    def replace(*arguments: Any, **more: Any) -> None:
        real(*arguments, **more)
        with pytest.raises(UsageError, match="another run"):
            RecordFile(str(target), "jsonl", "classify", resume=True)
        refused.append(arguments[1])

    first = RecordFile(str(target), "jsonl", "classify", resume=True)
    monkeypatch.setattr(os, "replace", replace)
    with first.open():
        monkeypatch.undo()
    first.close()
    assert refused == [f"{target}.part"]


RESUMES = """
import sys
from contextlib import closing
from aicli.cli.batch.record_file import RecordFile
with closing(RecordFile(*sys.argv[1:], "classify", resume=True)) as file, file.open():
    pass
"""


@posix
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_full_disk_at_the_start_of_a_resume_loses_no_record(
    aicli: Any, examples: Path, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"out.{suffix}"
    aicli("classify", *[examples / "chelsea.png"] * 3, "-O", target)
    before = target.read_text() + "".join(
        line.replace("chelsea", f"of_another_day_{number}") + "\n"
        for number in range(20)
        for line in target.read_text().splitlines()[-5:]
    )
    target.write_text(before)
    full = ["sh", "-c", 'ulimit -f 4; exec "$@"', "sh", sys.executable, "-c", RESUMES, str(target), suffix]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # it would be cut off too
    done = subprocess.run(full, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert f"WriteError: cannot write {target}.part: File too large" in done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [target.name] and target.read_text() == before
    (tmp_path / f"{target.name}.part").touch()  # as kill -9 leaves it in the same moment
    assert aicli("classify", examples / "astronaut.png", "-O", target, "--resume").code == 0
    assert target.read_text().startswith(before) and target.read_text().count("astronaut") > 0
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@posix
def test_ctrl_c_says_how_far_it_came(spawn: Any, many: Path, tmp_path: Path, runtime: str) -> None:
    target = tmp_path / "out.jsonl"
    arguments = ("--min-size", 12, "-j", 2, "-O", target, "--runtime", runtime)
    names = [many / "p0.jpg"] * 500
    process = spawn("detect-faces", *names, *arguments)
    part = tmp_path / "out.jsonl.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - begun < 5  # a second on a machine that does nothing else
    assert process.returncode == 130
    assert error.decode().splitlines()[-1].startswith("aicli: interrupted after ") and b"--resume" in error
    assert part.exists() and not target.exists()


@posix
def test_answers_do_not_wait_for_the_next_name(spawn: Any, many: Path) -> None:
    reader, writer = os.pipe()
    process = spawn("classify", "--files-from", "-", "-f", "jsonl", stdin=reader)
    os.close(reader)
    for name in ("p0.jpg", "p1.jpg"):
        os.write(writer, f"{many / name}\n".encode())
        assert json.loads(process.stdout.readline())["image"] == str(many / name)
    os.close(writer)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_progress_line() -> None:
    progress = Progress(False)
    assert progress.line(5, 0, 2.0) == "5 images  2.5/s"
    progress.total = 20
    assert progress.line(5, 1, 1.0) == "[#####...............] 5/20  5.0/s  3.0 s left  1 failed"
    assert [duration(value) for value in (0.41, 12, 185, 3723)] == ["0.4 s", "12 s", "3:05", "1:02:03"]


def test_files_that_were_passed_over_are_counted_and_listed(aicli: Any, tmp_path: Path, examples: Path) -> None:
    (tmp_path / "film.mp4").touch()
    (tmp_path / "film.txt").touch()
    (tmp_path / "a.jpg").write_bytes((examples / "grace_hopper.jpg").read_bytes())
    results = tmp_path / "r.jsonl"
    results.touch()
    answer = aicli("classify", tmp_path, "-O", results)
    assert answer.code == 0
    assert answer.err.endswith("none failed, 2 files passed over (1 .mp4, 1 .txt; -v lists them)\n")
    answer = aicli("classify", "-v", tmp_path, "-O", results)
    assert f"{tmp_path / 'film.mp4'}: passed over" in answer.err and "1 .txt)" in answer.err
    assert aicli("classify", "-q", tmp_path, "-O", results).err == ""
    assert aicli("classify", tmp_path / "a.jpg").err == ""


def test_a_part_that_was_looked_at_is_said_once(aicli: Any, tmp_path: Path, examples: Path) -> None:
    from PIL import Image

    with Image.open(examples / "grace_hopper.jpg") as opened:
        photo = opened.convert("RGB")
    for name in ("a.gif", "b.gif", "c.tif"):
        photo.save(tmp_path / name, save_all=True, append_images=[photo.rotate(10 * turn) for turn in range(1, 5)])
    answer = aicli("detect-faces", "-f", "jsonl", *(tmp_path / name for name in ("a.gif", "b.gif", "c.tif")))
    assert [line.split(": ", 2)[2] for line in answer.err.splitlines()] == [
        f"{tmp_path / 'a.gif'}: an animated GIF of 5 frames, of which frame 0 was answered; --all-frames answers each",
        f"{tmp_path / 'c.tif'}: a TIFF of 5 pages, of which frame 0 was answered; --all-frames answers each",
    ]
    for line in answer.out.splitlines():
        record = json.loads(line)
        assert (record["frames"], record["frame"], len(record["faces"])) == (5, 0, 1)
    assert aicli("classify", "-q", tmp_path / "a.gif").err == ""
