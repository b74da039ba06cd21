"""The API through real sockets: what is answered, and what is refused."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.made_models import answers_no_numbers
from tests.serve.conftest import PHOTO, PROJECT, Server, form, wait_for

CLASSIFIER = PROJECT / "models" / "dog_breeds.tflite"
LABELS = PROJECT / "labels" / "dog_breeds.txt"


def cli_record(task: str, *arguments: str) -> object:
    from click.testing import CliRunner

    from aicli.cli.main import cli

    result = CliRunner().invoke(cli, [task, str(PHOTO), "-f", "json", *arguments])
    (record,) = json.loads(result.stdout)
    return {**record, "image": "photo"}


def test_classify_answers_the_record_of_the_command_line(server: Server, photo: bytes) -> None:
    reply = server.ask("POST", "/v1/classify", photo, top=3)
    assert reply.status == 200
    assert reply.json == cli_record("classify", "-k", "3")
    assert reply.json["predictions"][0]["label"] == "military uniform"


def test_faces_answers_the_record_of_the_command_line(server: Server, photo: bytes) -> None:
    reply = server.ask("POST", "/v1/faces", photo, min_size=40)
    assert reply.status == 200
    assert reply.json == cli_record("detect-faces", "--min-size", "40")


def test_faces_as_a_picture(server: Server, photo: bytes) -> None:
    reply = server.ask("POST", "/v1/faces", photo, {"Accept": "image/png"}, landmarks="true")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
    picture = Image.open(io.BytesIO(reply.body))
    record = server.ask("POST", "/v1/faces", photo).json
    assert picture.size == (record["width"], record["height"])
    x1, y1, _, y2 = record["faces"][0]["box"]
    near = [picture.getpixel((round(x1) + shift, round((y1 + y2) / 2))) for shift in (-1, 0, 1)]
    assert (0, 255, 0) in near


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("image/png;q=0.5, application/json", "application/json"),
        ("application/json;q=0.1, image/*", "image/png"),
        ("*/*", "application/json"),
    ],
)
def test_accept(server: Server, photo: bytes, accept: str, kind: str) -> None:
    assert server.ask("POST", "/v1/faces", photo, {"Accept": accept}).headers["content-type"] == kind


def test_accept_of_something_else(server: Server, photo: bytes) -> None:
    assert server.ask("POST", "/v1/faces", photo, {"Accept": "text/html"}).status == 406


def test_several_photos_of_which_one_is_none(server: Server, photo: bytes) -> None:
    body, headers = form(("photo", "a.jpg", photo), ("photo", "../../b.jpg", b"nothing"))
    reply = server.ask("POST", "/v1/classify", body, headers)
    good, bad = reply.json["results"]
    assert reply.status == 200
    assert (good["image"], bad["image"]) == ("a.jpg", "b.jpg")
    assert bad["error"]["code"] == "image"


def test_file_names_in_any_language(server: Server, photo: bytes) -> None:
    names = ["größe.jpg", "写真.jpg", "🏻.jpg"]
    reply = server.ask("POST", "/v1/classify", *form(*[("photo", name, photo) for name in names]))
    assert [record["image"] for record in reply.json["results"]] == names
    for name in names:
        raw = name.encode().decode("latin-1")  # the bytes that curl -H and the page send
        assert server.ask("POST", "/v1/classify", photo, {"X-Filename": raw}).json["image"] == name
    assert server.ask("POST", "/v1/classify", photo, {"X-Filename": "gr\xf6\xdfe.jpg"}).json["image"] == names[0]


def test_own_model_for_one_request(server: Server, photo: bytes) -> None:
    changed = LABELS.read_text().upper().encode()
    parts = (("photo", "a.jpg", photo), ("model", "m.tflite", CLASSIFIER.read_bytes()), ("labels", "l.txt", changed))
    reply = server.ask("POST", "/v1/classify", *form(*parts))
    (record,) = reply.json["results"]
    assert record["model"] == "uploaded"
    assert record["predictions"][0]["label"].isupper()
    assert "uploaded" not in [model["name"] for model in server.ask("GET", "/v1/models").json["models"]]


def test_a_model_whose_scores_are_not_numbers_is_told_to_its_owner(server: Server, photo: bytes) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    parts = (("photo", "black.png", stream.getvalue()), ("photo", "a.jpg", photo), ("model", "m", answers_no_numbers()))
    black, other = server.ask("POST", "/v1/classify", *form(*parts), input_range="-0.1,1").json["results"]
    assert black["error"]["message"] == (
        "the model's scores are not numbers: its input range is another, or its weights are damaged; "
        "give the right range with input_range, or take another model"
    )
    assert other["predictions"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v1/classify", {"top": "0"}, 400),
        ("/v1/classify", {"top": "x"}, 400),
        ("/v1/classify", {"min_score": "nan"}, 400),
        ("/v1/classify", {"unknown": "1"}, 400),
        ("/v1/classify", {"model": "../../etc/passwd"}, 400),
        ("/v1/classify", {"model": "nobody"}, 404),
        ("/v1/classify", {"model": "mtcnn"}, 404),
        ("/v1/faces", {"thresholds": "0.6,0.7"}, 400),
        ("/v1/faces", {"thresholds": "0.6,0.7,1.1"}, 400),
        ("/v1/faces", {"factor": "1"}, 400),
        ("/v1/faces", {"min_box": "50", "max_box": "40"}, 400),
        ("/v1/nothing", {}, 404),
        ("/static/../settings.py", {}, 404),
    ],
)
def test_wrong_requests(server: Server, photo: bytes, path: str, query: dict[str, Any], status: int) -> None:
    reply = server.ask("POST", path, photo, **query)
    assert reply.status == status
    assert reply.json["error"]["message"]


def test_wrong_photos(server: Server, photo: bytes) -> None:
    assert server.ask("POST", "/v1/classify", b"").code == "empty"
    assert server.ask("POST", "/v1/classify", b"no photo at all").code == "image"
    assert server.ask("POST", "/v1/classify", photo[:3000]).status == 422


def test_too_many_pixels(server: Server) -> None:
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    reply = server.ask("POST", "/v1/faces", bomb.getvalue())
    assert (reply.status, reply.code) == (413, "image_too_large")


def test_body_limit_is_answered_before_the_body_arrives(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert client.recv(4000).startswith(b"HTTP/1.1 413 ")


def test_body_limit_of_a_body_without_length(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        try:
            for _ in range(40):
                client.sendall(chunk)
        except OSError:
            pass
        assert client.recv(4000).startswith(b"HTTP/1.1 413 ")


def test_too_many_parts_and_damaged_forms(server: Server, photo: bytes) -> None:
    body, headers = form(*[("photo", "a.jpg", b"x")] * 17)
    assert server.ask("POST", "/v1/classify", body, headers).code == "too_many_parts"
    body, headers = form(("photo", "a.jpg", photo))
    assert server.ask("POST", "/v1/classify", body[:-6], headers).code == "multipart"
    assert server.ask("POST", "/v1/classify", body, {"Content-Type": "multipart/form-data"}).code == "multipart"
    assert server.ask("POST", "/v1/classify", *form(("other", "a.jpg", photo))).code == "multipart"
    assert server.ask("POST", "/v1/classify", *form(("photo", "a" * 9000, photo))).status in (400, 431)


def test_methods(server: Server) -> None:
    reply = server.ask("GET", "/v1/classify")
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert reply.json["error"]["message"] == "this address takes POST, OPTIONS, not GET"
    assert server.ask("DELETE", "/").status == 405
    assert server.ask("HEAD", "/v1/classify").status == 405


def test_head_is_get_without_the_body(server: Server) -> None:
    for path in ("/", "/healthz", "/v1/models", "/openapi.json", "/nothing"):
        got, head = server.ask("GET", path), server.ask("HEAD", path)
        assert (head.status, head.body) == (got.status, b"")
        assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/v1/faces", "POST, OPTIONS"),
        ("/v1/models/x", "PUT, DELETE, OPTIONS"),
        ("/v1/functions", "GET, POST, HEAD, OPTIONS"),
    ],
)
def test_options_names_the_methods(server: Server, path: str, allowed: str) -> None:
    reply = server.ask("OPTIONS", path)
    assert (reply.status, reply.headers["allow"], reply.body) == (204, allowed, b"")
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("name", ["photo", "photos", "image", "images", "file", "files"])
def test_photos_by_the_names_that_people_give(server: Server, photo: bytes, name: str) -> None:
    (record,) = server.ask("POST", "/v1/classify", *form((name, "a.jpg", photo)), top=1).json["results"]
    assert record["predictions"][0]["label"] == "military uniform"


def test_what_to_send_instead_of_a_wrapped_photo(server: Server, photo: bytes) -> None:
    text = base64.b64encode(photo)
    wrapped = {
        "Base64 text": text,
        "a data: URI": b"data:image/jpeg;base64," + text,
        "is JSON": b'{"image": "' + text + b'"}',
        "URL-encoded form": b"photo=" + text[:1000],
    }
    for kind, body in wrapped.items():
        for reply in (
            server.ask("POST", "/v1/classify", body),
            server.ask("POST", "/v1/faces", *form(("photo", "", body))),
        ):
            assert (reply.status, reply.code) == (422, "image")
            assert kind in reply.json["error"]["message"]
            assert "curl" in reply.json["error"]["message"]
    stripped = photo.translate(None, b"\r\n\0")  # what curl -d makes of it
    message = server.ask("POST", "/v1/classify", stripped).json["error"]["message"]
    assert message.startswith("the photo has lost its line ends, which curl -d takes out")
    late = bytes(4096) + bytes(set(range(1, 256)) - {10, 13})  # what tells it comes after many bytes of one kind
    assert server.ask("POST", "/v1/classify", late).json["error"]["message"] == message
    white = io.BytesIO()
    Image.new("RGB", (100, 100), "white").save(white, "BMP")
    assert not {10, 13} & set(white.getvalue())
    assert server.ask("POST", "/v1/classify", white.getvalue()).status == 200
    message = server.ask("POST", "/v1/classify", *form(("foto", "a.jpg", photo))).json["error"]["message"]
    assert "'foto'" in message and "-F photo=@photo.jpg" in message


def test_other_hosts_are_not_answered(server: Server) -> None:
    assert server.ask("GET", "/", headers={"Host": "evil.example"}).status == 421
    assert server.ask("GET", "/", headers={"Host": "LOCALHOST:1234"}).status == 200
    assert server.ask("GET", "/", headers={"Host": "[::1]:80"}).status == 200
    with server.connect() as plain:
        plain.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"does not answer requests that name no Host" in plain.makefile("rb").read()


def test_security_headers_on_every_answer(server: Server) -> None:
    for path in ("/", "/v1/models", "/nothing", "/openapi.json"):
        headers = server.ask("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "'unsafe-" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_name_no_other_host(server: Server) -> None:
    for path in ("/", "/docs", "/static/app.js", "/static/app.css", "/static/draw.js", "/static/docs.js"):
        text = server.ask("GET", path).body.decode()
        assert not re.search(r"(src|href|url|import|fetch)\W{1,3}(https?:)?//", text)


def test_files_of_the_page_are_sent_once(server: Server) -> None:
    first = server.ask("GET", "/static/app.js")
    assert (first.headers["cache-control"], first.headers["content-type"]) == (
        "no-cache",
        "text/javascript; charset=utf-8",
    )
    again = server.ask("GET", "/static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    packed = server.ask("GET", "/static/app.js", headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == first.body
    named = server.ask("GET", f"/static/app.js?{hashlib.sha256(first.body).hexdigest()}")
    assert "immutable" in named.headers["cache-control"]


def test_request_id_and_access_log(server: Server, photo: bytes) -> None:
    reply = server.ask("POST", "/v1/classify", photo, {"X-Request-ID": "my-id.1"})
    assert reply.headers["x-request-id"] == "my-id.1"
    wait_for(lambda: any(event["id"] == "my-id.1" for event in server.events("request")))
    (line,) = [event for event in server.events("request") if event["id"] == "my-id.1"]
    assert (line["status"], line["path"], line["received"]) == (200, "/v1/classify", len(photo))
    assert line["work_ms"] > 0
    forged = server.ask("GET", "/healthz", headers={"X-Request-ID": 'a" b'}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{16}", forged)


def test_metrics(server: Server, photo: bytes) -> None:
    series = 'aicli_requests_total{route="/v1/classify",method="POST",status="200"}'
    before = server.metric(series)
    server.ask("POST", "/v1/classify", photo)
    wait_for(lambda: server.metric(series) == before + 1)
    assert server.metric('aicli_workers{pool="tasks"}') == 2
    text = server.ask("GET", "/metrics").body.decode()
    labels = r'(\{(\w+="[^"]*",?)+\})?'
    count, seconds = rf"\w+_(total|bucket|count|bytes){labels} \d+", rf"\w+_seconds_sum{labels} \d+(\.\d+)?(e-\d+)?"
    line = re.compile(rf"# (HELP|TYPE) \w+ .+|{count}|{seconds}|aicli_(workers|workers_busy|queue_waiting){labels} \d+")
    assert [found for found in text.splitlines() if not line.fullmatch(found)] == []


def test_health_and_description(server: Server) -> None:
    assert server.ask("GET", "/healthz").body == b"ok\n"
    assert server.ask("GET", "/readyz").body == b"ready\n"
    document = server.ask("GET", "/openapi.json").json
    assert document["openapi"] == "3.1.0"
    assert "/v1/functions/{id}/run" in document["paths"]


def test_client_that_leaves_disturbs_nobody(server: Server, photo: bytes) -> None:
    head = f"POST /v1/faces?min_size=12 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(head.encode() + photo)
    client.close()
    assert server.ask("POST", "/v1/faces", photo).status == 200


def test_nothing_is_written_for_a_photo(server: Server, photo: bytes) -> None:
    def files() -> set[Path]:
        return {path for path in server.data.rglob("*") if path.is_file()}

    before = files()
    server.ask("POST", "/v1/classify", photo)
    server.ask("POST", "/v1/faces", *form(("photo", "/etc/cron.d/x", photo)))
    assert files() == before


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("how", [{"blur": "true"}, {"pixelate": "true"}, {"cover": "solid", "shape": "ellipse"}])
def test_faces_are_hidden(server: Server, photo: bytes, kind: str, how: dict[str, Any]) -> None:
    reply = server.ask("POST", "/v1/faces", photo, {"Accept": f"image/{kind}"}, **how)
    assert (reply.status, reply.headers["content-type"]) == (200, f"image/{kind}")
    assert Image.open(io.BytesIO(reply.body)).format == kind.upper()
    assert server.ask("POST", "/v1/faces", reply.body).json["faces"] == []
    assert b"Exif" not in reply.body


def test_hidden_faces_by_number_place_and_size(server: Server, photo: bytes) -> None:
    png = {"Accept": "image/png"}
    plain = server.ask("POST", "/v1/faces", photo, png, blur="true", keep=1).body
    spared = server.ask("POST", "/v1/faces", photo, png, blur="true", spare="260,220;1,1").body
    small = server.ask("POST", "/v1/faces", photo, png, blur="true", max_box=50).body
    wide = server.ask("POST", "/v1/faces", photo, png, blur="true", margin=1).body
    assert plain == spared == small != wide
    assert len(server.ask("POST", "/v1/faces", plain).json["faces"]) == 1
    assert server.ask("POST", "/v1/faces", photo, {"Accept": "*/*"}, blur="true").headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"landmarks": "true"}, "Accept: image/png"),
        ({"blur": "true"}, "Accept: image/png"),
        ({"blur": "yes"}, "true or false"),
        ({"blur": "true", "pixelate": "true"}, "another of its kind"),
        ({"blur": "true", "cover": "solid"}, "choose one"),
        ({"cover": "/etc/passwd"}, "the part cover of a form: -F cover=@"),
        ({"keep": "1"}, "blur=true"),
        ({"quality": "50"}, "quality: of no effect on PNG"),
        ({"blur": "true", "keep": "x"}, "1,3"),
        ({"blur": "true", "spare": "x"}, "120,80"),
    ],
)
def test_pictures_that_cannot_be_made(server: Server, photo: bytes, query: dict[str, Any], words: str) -> None:
    accept = "application/json" if words.startswith("Accept") else "image/png"
    reply = server.ask("POST", "/v1/faces", photo, {"Accept": accept}, **query)
    assert reply.status == 400 and words in reply.json["error"]["message"]


def test_a_picture_lies_on_the_faces(server: Server, photo: bytes) -> None:
    colour, clear = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (30, 40), (255, 0, 255)).save(colour, "PNG")
    Image.new("RGBA", (30, 40), (0, 0, 0, 0)).save(clear, "WEBP", lossless=True)
    box = server.ask("POST", "/v1/faces", photo).json["faces"][0]["box"]
    middle = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
    parts = ("photo", "a.jpg", photo), ("cover", "c.png", colour.getvalue())
    body, headers = form(*parts)
    for accept in ("image/png", "*/*"):
        reply = server.ask("POST", "/v1/faces", body, headers | {"Accept": accept}, shape="ellipse")
        assert (reply.headers["content-type"], reply.headers["x-faces"]) == ("image/png", "1")
        with Image.open(io.BytesIO(reply.body)) as picture:
            assert picture.getpixel(middle) == (255, 0, 255)
    body, headers = form(parts[0], ("cover", "c.webp", clear.getvalue()))
    blurred = server.ask("POST", "/v1/faces", body, headers | {"Accept": "image/png"}).body
    assert server.ask("POST", "/v1/faces", blurred).json["faces"] == [], "what is clear in the picture shows the blur"
    many, headers = form(("photo", "a.gif", moving(photo, "GIF")), parts[1])
    every = server.ask("POST", "/v1/faces", many, headers | {"Accept": "image/png"}, all_frames="true")
    assert every.headers["x-faces"] == "3" and "x-note" not in every.headers
    found = server.ask("POST", "/v1/faces", every.body, all_frames="true").json["results"]
    assert [record["faces"] for record in found] == [[], [], []]


def test_a_face_to_be_spared_that_is_not_there_is_named(server: Server, photo: bytes) -> None:
    """As on the command line, of one photo and of every frame of another."""
    for body, more in ((photo, {}), (moving(photo, "GIF"), {"all_frames": "true"})):
        first = server.ask("POST", "/v1/faces", body).json["faces"][0]
        x, y = first["landmarks"]["nose"]
        asked: list[tuple[dict[str, Any], str | None]] = [
            ({"keep": "1", "spare": f"{x},{y}"}, None),
            ({"keep": "1,9"}, "there is no face number 9 to be left as it is"),
            ({"keep": "9", "spare": f"{x},{y};1.50, 2e0\r\n"}, "number 9, at 1.5,2 to be left as it is"),
            ({"keep": ",".join(map(str, range(11, 110)))}, "number 20, and 89 more to be left as it is"),
        ]
        for query, note in asked:
            query |= {"blur": "true", **more}
            reply = server.ask("POST", "/v1/faces", body, {"Accept": "image/png"}, **query)
            said = reply.headers.get("x-note")
            assert reply.status == 200 and (said is None if note is None else said and said.endswith(note)), said


@pytest.mark.parametrize(
    ("path", "cover", "query", "status", "words"),
    [
        ("/v1/faces", b"no picture", {}, 422, "cover: "),
        ("/v1/faces", b"", {}, 422, "cover: "),
        ("/v1/faces", b"x", {"blur": "true"}, 400, "blur and the part cover both"),
        ("/v1/faces", b"x", {"cover": "solid"}, 400, "choose one"),
        ("/v1/classify", b"x", {}, 400, "/v1/faces"),
        ("/v1/faces", b"x", {"landmarks": "true", "accept": "application/json"}, 400, "cover, landmarks: of no effect"),
        ("/v1/faces", None, {"keep": "1", "accept": "image/png"}, 400, "a form with a part cover"),
    ],
)
def test_covers_that_cannot_be_laid(
    server: Server, photo: bytes, path: str, cover: bytes | None, query: dict[str, Any], status: int, words: str
) -> None:
    body, headers = form(("photo", "a.jpg", photo), *([] if cover is None else [("cover", "c.png", cover)]))
    accept = query.pop("accept", "*/*")
    reply = server.ask("POST", path, body, headers | {"Accept": accept}, **query)
    assert reply.status == status and words in reply.json["error"]["message"]


def moving(photo: bytes, kind: str) -> bytes:
    """The photo in three frames."""
    with Image.open(io.BytesIO(photo)) as image:
        small = image.convert("RGB").resize((128, 150))
    first, *others = (small.rotate(angle) for angle in (0, 3, 6))
    stream = io.BytesIO()
    first.save(stream, kind, save_all=True, append_images=others, duration=80)
    return stream.getvalue()


@pytest.mark.parametrize(("path", "answer"), [("/v1/faces", "faces"), ("/v1/classify", "predictions")])
def test_all_frames(server: Server, photo: bytes, path: str, answer: str) -> None:
    gif = moving(photo, "GIF")
    one = server.ask("POST", path, gif).json
    assert (one["frames"], one["frame"]) == (3, 0)
    every = server.ask("POST", path, gif, all_frames="true").json["results"]
    assert [(record["frames"], record["frame"]) for record in every] == [(3, 0), (3, 1), (3, 2)]
    assert every[0] == one and all(record[answer] for record in every)
    (single,) = server.ask("POST", path, photo, all_frames="true").json["results"]
    assert (single["frames"], single["frame"]) == (1, 0)
    body, headers = form(("photo", "a.gif", gif), ("photo", "b.jpg", photo))
    names = [r["image"] for r in server.ask("POST", path, body, headers, all_frames="true").json["results"]]
    assert names == ["a.gif"] * 3 + ["b.jpg"]
    broken = server.ask("POST", path, gif[: gif.rindex(b"\x21\xf9\x04") + 60], all_frames="true")
    assert broken.status == 200 and "frame 2 of 3" in broken.json["results"][2]["error"]["message"]
    assert server.ask("POST", path, b"GIF89a", all_frames="true").status == 422


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_the_picture_of_all_frames(server: Server, photo: bytes, kind: str) -> None:
    accept = {"Accept": f"image/{kind}"}
    reply = server.ask("POST", "/v1/faces", moving(photo, "GIF"), accept, all_frames="true", blur="true")
    assert reply.headers["content-type"] == f"image/{kind}"
    with Image.open(io.BytesIO(reply.body)) as image:
        assert getattr(image, "n_frames", 1) == 3
    found = server.ask("POST", "/v1/faces", reply.body, all_frames="true").json["results"]
    assert [len(record["faces"]) for record in found] == [0, 0, 0]
    refused = server.ask("POST", "/v1/faces", photo, {"Accept": "image/jpeg"}, all_frames="true")
    assert refused.status == 400 and "no JPEG" in refused.json["error"]["message"]
