"""Training over HTTP: from photos in a form to a model that is used, and what is refused."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from aicli import Classifier
from tests.serve.conftest import Reply, Server, children, form, running, wait_for
from tests.serve.test_answers import check
from tests.training.conftest import SHOWN, make_photos

pytest.importorskip("sklearn", reason="needs scikit-learn")


def parts(photos: Path, each: int = 5, names: tuple[str, ...] = tuple(SHOWN)) -> list[tuple[str, str, bytes]]:
    return [
        (name, f"{number}.png", (photos / name / f"{number}.png").read_bytes())
        for name in names
        for number in range(each)
    ]


def send(server: Server, *given: tuple[str, str, bytes], headers: dict[str, str] | None = None, **query: Any) -> Reply:
    body, kind = form(*given)
    until = time.monotonic() + 60
    while True:
        reply = server.ask("POST", "/v1/train", body, {**kind, **(headers or {})}, **query)
        if reply.status != 503 or time.monotonic() > until:  # the last one may still be ending
            return reply
        time.sleep(0.1)


def finish(server: Server, reply: Reply) -> Any:
    """What a training that was begun has come to."""
    assert reply.status == 202, reply.body
    address = reply.headers["location"]
    wait_for(lambda: server.ask("GET", address).json["state"] != "running", 120)
    return server.ask("GET", address).json


def test_a_model_from_photos_in_a_form(trainer: Server, photos: Path, tmp_path: Path) -> None:
    given = [("a/b é" if name == "cat" else name, file, content) for name, file, content in parts(photos)]
    outcome = finish(trainer, send(trainer, *given, augment="true"))
    assert outcome["state"] == "done" and outcome["photos"] == {"done": 15, "failed": 0, "total": 15}
    training = outcome["training"]
    assert training["labels"] == ["a/b é", "officer", "astronaut"] and training["accuracy"]["value"] == 1.0
    address = f"/v1/train/{outcome['id']}"
    model = trainer.ask("GET", f"{address}/model")
    assert model.headers["content-disposition"] == 'attachment; filename="own.tflite"'
    (tmp_path / "own.tflite").write_bytes(model.body)
    new = make_photos(tmp_path, 1, first=9, names=("cat",)) / "cat" / "9.png"
    best = Classifier(tmp_path / "own.tflite")(new).best
    assert best is not None and best.label == "a/b é"
    page = trainer.ask("GET", f"{address}/report")
    assert b"<svg" in page.body and b"Calibration" in page.body
    assert (
        "sandbox" in page.headers["content-security-policy"] and "script" not in page.headers["content-security-policy"]
    )
    # used at once, and kept
    body, kind = form(("photo", "9.png", new.read_bytes()), ("model", "own.tflite", model.body))
    found = trainer.ask("POST", "/v1/classify", body, kind).json["results"][0]
    assert found["predictions"][0]["label"] == "a/b é"
    assert trainer.ask("PUT", "/v1/models/own", model.body).status == 401
    assert trainer.ask("PUT", "/v1/models/own", model.body, trainer.tokens).status == 201
    found = trainer.ask("POST", "/v1/classify", new.read_bytes(), model="own").json
    assert found["predictions"][0]["label"] == "a/b é"
    # the same photos and seed give the same bytes, as on the command line
    again = finish(trainer, send(trainer, *given, augment="true"))
    assert trainer.ask("GET", f"/v1/train/{again['id']}/model").body == model.body
    assert trainer.ask("DELETE", address).status == 204 and trainer.ask("GET", address).status == 404


def test_the_same_file_as_on_the_command_line(trainer: Server, photos: Path, tmp_path: Path) -> None:
    from aicli import train

    given = parts(photos, names=("astronaut", "cat", "officer"))
    outcome = finish(trainer, send(trainer, *given, seed=3, base="dog_breeds"))
    train(photos, tmp_path / "own.tflite", seed=3, base="dog_breeds", jobs=1)
    assert trainer.ask("GET", f"/v1/train/{outcome['id']}/model").body == (tmp_path / "own.tflite").read_bytes()


def test_broken_and_repeated_photos_are_left_out_and_named(trainer: Server, photos: Path) -> None:
    strange = [
        ("cat", "../../<b>notes.jpg", b"\xff\xd8\xff rubbish"),
        ("cat", "bomb.png", bomb()),
        ("cat", "0.png", (photos / "cat" / "0.png").read_bytes()),
        ("officer", "wrong.png", (photos / "astronaut" / "0.png").read_bytes()),
        ("officer", "empty.jpg", b""),
    ]
    outcome = finish(trainer, send(trainer, *parts(photos), *strange))
    training = outcome["training"]
    assert outcome["photos"] == {"done": 20, "failed": 3, "total": 20}
    failures = [failure["error"] for failure in training["failures"]]
    assert failures[0].startswith("cat/<b>notes.jpg: ") and failures[1].startswith("cat/bomb.png: ")
    assert "1 repeated photo left out" in "".join(training["notes"])
    assert "astronaut/0.png" in "".join(training["notes"]) and training["trained_on"]["astronaut"] == 4
    page = trainer.ask("GET", f"/v1/train/{outcome['id']}/report").body
    assert b"&lt;b&gt;notes.jpg" in page and b"<b>" not in page


def bomb() -> bytes:
    """A small file with more pixels than may be."""
    import io

    from PIL import Image

    target = io.BytesIO()
    Image.new("1", (9000, 9000)).save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize(
    ("given", "query", "status", "message"),
    [
        ([("cat", "1.png", b"x"), ("cat", "2.png", b"y")], {}, 400, "at least two classes"),
        ([("cat", "1.png", b"x"), ("cat", "2.png", b"y"), ("dog", "3.png", b"z")], {}, 400, "one photo of the class"),
        ([("cat", "", b"x")], {}, 400, "is not a file"),
        ([(" ", "a.png", b"x")], {}, 400, "has no name"),
        ([(f"class {number}", f"{n}.png", b"x") for number in range(101) for n in (1, 2)], {}, 413, "101 classes"),
        ([("cat", "1.png", b"x")] * 2001, {}, 413, "more than 2000 parts"),
        ([("cat", "1.png", b"x")] * 2, {"augment": "maybe"}, 400, "augment"),
        ([("cat", "1.png", b"x")] * 2, {"base": "nothing"}, 404, "no model 'nothing'"),
        ([("cat", "1.png", b"x")] * 2, {"base": "../x.tflite"}, 400, "base"),
        ([("cat", "1.png", b"x")] * 2, {"base": "mtcnn"}, 404, "no model 'mtcnn' for this"),
        ([("cat", "1.png", b"x")] * 2, {"jobs": 4}, 400, "no parameter 'jobs'"),
    ],
)
def test_forms_that_are_refused(
    trainer: Server, given: list[tuple[str, str, bytes]], query: dict[str, Any], status: int, message: str
) -> None:
    reply = send(trainer, *given, **query)
    assert reply.status == status and message in reply.json["error"]["message"], reply.body
    assert trainer.ask("POST", "/v1/train", b"no form").status == 400  # and the place is free


def test_photos_of_which_none_can_be_read(trainer: Server) -> None:
    rubbish = [(name, f"{number}.jpg", b"rubbish") for name in "ab" for number in range(2)]
    outcome = finish(trainer, send(trainer, *rubbish))
    assert outcome["state"] == "failed" and "none of the 4 photos can be read" in outcome["error"]["message"]
    for what in ("model", "report"):
        assert trainer.ask("GET", f"/v1/train/{outcome['id']}/{what}").status == 404


def test_who_may_train(trainer: Server, server: Server, photos: Path) -> None:
    two = parts(photos, 2)
    foreign = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert send(trainer, *two, headers=foreign).code == "cross_site"
    assert trainer.ask("GET", "/v1/train").json["enabled"] is True
    off = send(server, *two)
    assert (off.status, off.code) == (403, "no_training")
    assert server.ask("GET", "/v1/train").json == {"enabled": False}
    assert server.ask("GET", "/train").status == 404 and b'<a href="/train" hidden>' in server.ask("GET", "/").body
    assert list(server.ask("GET", "/openapi.json").json["paths"]["/v1/train"]) == ["get"]
    assert trainer.ask("GET", "/train").status == 200 and b'<a href="/train">' in trainer.ask("GET", "/").body
    for path in ("/v1/train/x", "/v1/train/x/model", "/v1/train/x/report"):
        assert trainer.ask("GET", path).status == 404


def test_a_name_of_another_host_needs_the_token(tmp_path: Path, photos: Path) -> None:
    with running(tmp_path, "--train", "--workers", "1", "--allow-host", "photos.example.org") as server:
        two = parts(photos, 2)
        assert send(server, *two, headers={"Host": "photos.example.org"}).status == 401
        begun = send(server, *two, headers={"Host": "photos.example.org", **server.tokens})
        assert begun.status == 202
        address = begun.headers["location"]
        assert server.ask("GET", address, headers={"Host": "photos.example.org"}).status == 401
        assert server.ask("GET", address, headers={"Host": "photos.example.org", **server.tokens}).status == 200


def trainers(server: Server) -> list[int]:
    """The process that trains: a quarantined one that may see the user's models."""
    found = []
    for pid in children(server.process.pid):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if b"aicli-worker-" in environment and b"AICLI_MODELS_DIR=/tmp/aicli-worker-" not in environment:
            found.append(pid)
    return found


def test_one_at_a_time_and_a_stop(trainer: Server, photos: Path) -> None:
    many = [(name, f"{n}{file}", content) for name, file, content in parts(photos) for n in range(20)]
    begun = send(trainer, *many, augment="true")
    assert begun.status == 202
    address = begun.headers["location"]
    busy = trainer.ask("POST", "/v1/train", *form(*parts(photos, 2)))
    assert (busy.status, busy.code) == (503, "busy") and "retry-after" in busy.headers
    assert trainer.ask("GET", f"{address}/model").status == 409
    assert trainer.ask("DELETE", address).status == 204
    assert trainer.ask("GET", address).status == 404
    assert trainer.metric("aicli_buffered_bytes") < 1 << 20
    assert finish(trainer, send(trainer, *parts(photos)))["state"] == "done"


def test_the_process_has_limits_and_no_secrets(trainer: Server) -> None:
    wait_for(lambda: len(trainers(trainer)) == 1)
    (pid,) = trainers(trainer)
    assert b"AICLI_SERVE_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
    limits = Path(f"/proc/{pid}/limits").read_text()
    for line in (
        "Max data size             1073741824",
        "Max file size             67108864",
        "Max open files            128",
    ):
        assert line in limits


def test_a_process_that_dies_costs_no_training(trainer: Server, photos: Path) -> None:
    many = [(name, f"{n}{file}", content) for name, file, content in parts(photos) for n in range(4)]
    begun = send(trainer, *many, augment="true")
    wait_for(lambda: trainer.ask("GET", begun.headers["location"]).json["photos"]["done"] > 0, 60)
    for pid in trainers(trainer):
        os.kill(pid, signal.SIGKILL)
    outcome = finish(trainer, begun)
    assert outcome["state"] == "done" and outcome["photos"]["failed"] == 0, outcome


def test_a_training_that_takes_too_long(tmp_path: Path, photos: Path) -> None:
    with running(tmp_path, "--train", "--workers", "1", "--train-time", "1") as server:
        many = [(name, f"{n}{file}", content) for name, file, content in parts(photos) for n in range(10)]
        outcome = finish(server, send(server, *many, augment="true"))
        assert outcome["state"] == "failed" and outcome["error"]["code"] == "deadline", outcome
        assert "longer than 1 s" in outcome["error"]["message"]


def test_openapi_describes_it(trainer: Server, photos: Path) -> None:
    check("Training", trainer.ask("GET", "/v1/train").json)
    check("Run", finish(trainer, send(trainer, *parts(photos), ("cat", "bad.jpg", b"bad"))))
    paths = trainer.ask("GET", "/openapi.json").json["paths"]
    post = paths["/v1/train"]["post"]
    assert {item["name"] for item in post["parameters"]} == {"base", "augment", "seed"}
    assert {"/v1/train/{id}", "/v1/train/{id}/model", "/v1/train/{id}/report"} <= set(paths)
