"""The module of the browser: Python's answers, Python's pixels, its errors; nothing but the own origin is asked."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms
from wasmtime import wat2wasm

from aicli.image.decode import open_image
from tests.chromium import needs_chromium
from tests.conftest import PROJECT, SHARED, require_shared
from tests.page.conftest import StaticServer

pytestmark = [pytest.mark.slow, needs_chromium]

CASES = json.loads((PROJECT / "tests" / "data" / "golden.json").read_text())
CALL = """
const done = arguments[arguments.length - 1];
const {task, options, calls} = arguments[0];
import("/aicli/index.js").then(async ({FaceDetector, Classifier}) => {
  const loaded = await (task === "classify" ? Classifier : FaceDetector).load(options);
  const answers = [];
  for (const {image, ...call} of calls) {
    const asked = task === "classify" ? loaded.classify(image, call) : loaded.detect(image, call);
    answers.push(await asked.catch((error) => ({error: error.name, message: error.message})));
  }
  await loaded.close();
  return {model: loaded.model, engine: loaded.engine, answers};
}).then(done, (error) => done({error: error.name, message: error.message}));
"""


@pytest.fixture
def page(browser: Any, server: StaticServer) -> Iterator[Any]:
    """An empty page of the site's origin."""
    server.extra["empty.html"] = b"<!doctype html><title>empty</title>"
    browser.get(f"{server.url}_/empty.html")
    browser.get_log("browser")
    yield browser
    assert [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]] == []


def call(page: Any, task: str, options: dict[str, Any], *calls: Any) -> Any:
    items = [item if isinstance(item, dict) else {"image": item} for item in calls]
    return page.execute_async_script(CALL, {"task": task, "options": options, "calls": items})


def address(path: str) -> str:
    return f"/_/{path.removeprefix('../')}"


def options_of(case: dict[str, Any]) -> dict[str, Any]:
    def value(key: str, given: Any) -> Any:
        return address(given) if key in ("model", "labels") and "/" in given else given

    def camel(name: str) -> str:
        return re.sub("_(.)", lambda match: match[1].upper(), name)

    return {camel(key): value(key, given) for key, given in case["options"].items()}


def close(found: Any, expected: Any, key: str = "") -> bool:
    """Scores within 0.001, coordinates within a fiftieth of a pixel, anything else equal."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[name], expected[name], name) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(close(a, b, key) for a, b in zip(found, expected, strict=True))
    if isinstance(expected, float):
        return abs(found - expected) <= (1e-3 if key == "score" else 0.02)
    return bool(found == expected)


def usable() -> list[dict[str, Any]]:
    if not SHARED.is_dir():
        return [case for case in CASES if "shared/" not in json.dumps(case)]
    return CASES


def group(case: dict[str, Any]) -> str:
    return f"{case['task']} {json.dumps(case['options'])}"


def test_answers_are_the_golden_ones(page: Any, server: StaticServer) -> None:
    if "shared/" in json.dumps(CASES):
        require_shared()
    wrong, engines = [], set()
    for name, cases in groupby(sorted(usable(), key=group), key=group):
        expected = [case["answer"] for case in cases]
        first = next(case for case in usable() if group(case) == name)
        images = [{"image": address(answer["image"]), "name": answer["image"]} for answer in expected]
        found = call(page, first["task"], options_of(first), *images)
        assert "answers" in found, f"{name}: {found}"
        engines.add(found["engine"])
        pairs = zip(found["answers"], expected, strict=True)
        wrong += [f"{name}: {mine} not {right}" for mine, right in pairs if not close(mine, right)]
    assert wrong == []
    assert engines == {"LiteRT.js, relaxed SIMD"}


HOST = """(module {imports}
  (memory (export "memory") 120) (global $next (mut i32) (i32.const 1024))
  (func (export "aicli_abi_version") (result i32) i32.const {version})
  (func (export "aicli_alloc") (param i32) (result i32)
    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 0))))
  (func (export "aicli_dealloc") (param i32 i32))
  (func (export "aicli_detect_faces") (param $request i32) (result i32) {body}))"""


def guest(body: str, version: int = 1, imports: str = "") -> bytes:
    """A guest whose task runs ``body``."""
    return bytes(wat2wasm(HOST.format(body=body, version=version, imports=imports)))


def word(place: int, value: str) -> str:
    return f"(i32.store (i32.const {place}) {value if value.startswith('(') else f'(i32.const {value})'})"


def record(place: int, value: str) -> str:
    return f"(f32.store (i32.const {place}) {value})"


# One face, whose box says what the pixels are: two halves of their FNV-1a hash, width and height.
HASH = f"""(local $at i32) (local $end i32) (local $hash i32)
  (local.set $at (i32.load offset=4 (local.get $request)))
  (local.set $end (i32.add (local.get $at) (i32.mul (i32.const 3)
    (i32.mul (i32.load offset=8 (local.get $request)) (i32.load offset=12 (local.get $request))))))
  (local.set $hash (i32.const 0x811c9dc5))
  (loop
    (local.set $hash (i32.mul (i32.const 16777619) (i32.xor (local.get $hash) (i32.load8_u (local.get $at)))))
    (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (local.get $end))))
  {record(128, "(f32.convert_i32_u (i32.shr_u (local.get $hash) (i32.const 16)))")}
  {record(132, "(f32.convert_i32_u (i32.and (local.get $hash) (i32.const 0xffff)))")}
  {record(136, "(f32.convert_i32_u (i32.load offset=8 (local.get $request)))")}
  {record(140, "(f32.convert_i32_u (i32.load offset=12 (local.get $request)))")}
  {record(144, "(f32.const 1)")}
  {word(68, "1")} {word(72, "128")}
  i32.const 64"""


def fnv(pixels: bytes) -> int:
    value = 0x811C9DC5
    for byte in pixels:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def swapped_profile() -> bytes:
    """A profile that a decoder which obeys it shows: red and blue change places."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def pictures() -> dict[str, bytes]:
    """Photos of the kinds that Chromium reads, by their names."""
    with Image.open(PROJECT / "examples" / "astronaut.png") as image:
        rgb = image.convert("RGB").resize((100, 90))
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.jpg": (rgb, {}),
        "444.jpg": (rgb, {"subsampling": 0, "progressive": True}),
        "profile.jpg": (rgb, {"icc_profile": swapped_profile()}),
        "profile.png": (rgb, {"icc_profile": swapped_profile()}),
        "grey.jpg": (rgb.convert("L"), {}),
        "cmyk.jpg": (rgb.convert("CMYK"), {}),
        "rgb.png": (rgb, {}),
        "rgba.png": (alpha, {}),
        "palette.png": (rgb.quantize(64), {"transparency": 3}),
        "bits.png": (rgb.convert("1"), {}),
        "lossy.webp": (rgb, {}),
        "alpha.webp": (alpha, {"lossless": True}),
        "moving.gif": (rgb, {"save_all": True, "append_images": [rgb.rotate(90)]}),
        "moving.webp": (rgb, {"save_all": True, "append_images": [rgb.rotate(90)], "lossless": True}),
        "strips.jpg": (rgb.resize((2100, 1100)), {}),
    }
    for orientation in (3, 6, 7):
        exif = Image.Exif()
        exif[0x0112] = orientation
        kinds[f"turn{orientation}.jpg"] = (rgb, {"exif": exif})
    found = {}
    for name, (picture, options) in kinds.items():
        stream = io.BytesIO()
        picture.save(stream, Path(name).suffix[1:].replace("jpg", "jpeg"), **options)
        found[name] = stream.getvalue()
    return found


def test_decoding_is_pythons(page: Any, server: StaticServer) -> None:
    server.extra |= {"hash.wasm": guest(HASH), **pictures()}
    names = list(pictures())
    answers = call(page, "detect-faces", {"guest": "/_/hash.wasm"}, *(f"/_/{name}" for name in names))["answers"]
    wrong = []
    for name, answer in zip(names, answers, strict=True):
        right = open_image(server.extra[name])
        assert "faces" in answer, f"{name}: {answer}"
        high, low, width, height = answer["faces"][0]["box"]
        assert (width, height) == (answer["width"], answer["height"]) == (right.width, right.height), name
        assert answer.get("frames", 1) == right.frames, name
        if int(high) << 16 | int(low) != fnv(right.pixels.tobytes()):
            wrong.append(name)
    assert wrong == []


def test_what_breaks_the_rules_is_refused(page: Any, server: StaticServer) -> None:
    """The checks are those of js/test/hostile.test.mjs: here, that they hold in a worker, and what it says."""
    result = f"{word(68, '1')} {word(72, '128')} i32.const 64"
    server.extra |= {
        "outside.wasm": guest("i32.const -8"),
        "many.wasm": guest(f"{word(68, '1073741824')} i32.const 64"),
        "nan.wasm": guest(f"{record(128, '(f32.const nan)')} {result}"),
        "trap.wasm": guest("unreachable"),
        "later.wasm": guest(result, version=2),
        "asks.wasm": guest(result, imports='(import "env" "fetch" (func (param i32)))'),
        "text.wasm": b"no module",
        "broken.jpg": pictures()["plain.jpg"][:900],
        "text.jpg": b"no photo",
        "empty.jpg": b"",
        "photo.jpg": pictures()["plain.jpg"],
    }

    def said(guest: str) -> tuple[str, str]:
        found = call(page, "detect-faces", {"guest": f"/_/{guest}.wasm"}, "/_/photo.jpg", "/_/photo.jpg")
        failures = found.get("answers", [found])
        assert len({failure["message"] for failure in failures}) == 1, "the next image meets a fresh guest"
        return failures[0]["error"], failures[0]["message"]

    expected = {
        "outside": ("GuestFault", "outside its memory"),
        "many": ("GuestFault", "1073741824 records where 131072 are the most"),
        "nan": ("GuestFault", "an impossible box or score"),
        "trap": ("GuestTrap", "unreachable"),
        "later": ("GuestError", "speaks ABI version 2"),
        "asks": ("GuestError", "imports env.fetch; a guest may import wasi_ephemeral_nn only"),
        "text": ("GuestError", "text.wasm: "),
        "absent": ("ModelError", "status 404"),
    }
    for name, (error, message) in expected.items():
        found = said(name)
        assert found[0] == error and message in found[1], (name, found)
    photos = ["/_/text.jpg", "/_/empty.jpg", "/_/absent.jpg", {"image": "/_/photo.jpg", "minSize": 0}, "/_/photo.jpg"]
    answers = call(page, "detect-faces", {"maxPixels": 9000}, *photos)["answers"]
    assert [answer.get("error") for answer in answers] == ["ImageError"] * 3 + ["UsageError", None]
    assert "/_/text.jpg: not an image" in answers[0]["message"]
    assert (
        call(page, "detect-faces", {"maxPixels": 8999}, "/_/photo.jpg")["answers"][0]["error"] == "ImageTooLargeError"
    )
    assert call(page, "classify", {"model": "nosuch"})["error"] == "ModelError"
    assert call(page, "classify", {"model": "mtcnn"})["message"] == "the model mtcnn is for the task detect-faces"
    assert call(page, "detect-faces", {"thresholds": [0.5]})["error"] == "UsageError"


HANG = """
const done = arguments[arguments.length - 1];
import("/aicli/index.js").then(async ({FaceDetector, GuestTimeout}) => {
  const failure = (error) => [error instanceof GuestTimeout, error.message];
  const say = (promise) => promise.then(({faces}) => faces.length, failure);
  const packaged = await FaceDetector.load();
  const hanging = await FaceDetector.load({guest: "/_/hangs.wasm", guestTimeout: 2});
  const photo = "/_/examples/grace_hopper.jpg";
  const canvas = new OffscreenCanvas(30, 30);
  canvas.getContext("2d").fillRect(0, 0, 30, 30);
  // The second one hangs; what is behind it is answered by the next worker.
  const asked = [hanging.detect(canvas), hanging.detect(photo), hanging.detect(canvas), packaged.detect(photo)];
  const answers = await Promise.all(asked.map(say));
  const after = [await say(packaged.detect(photo)), await say(hanging.detect(canvas))];
  const never = await say(FaceDetector.load({guest: "/_/never.wasm", guestTimeout: 2}));
  const wrong = await FaceDetector.load({guestTimeout: 0}).catch((error) => error.message);
  await Promise.all([packaged.close(), hanging.close()]);
  return [answers, after, never, wrong, await packaged.detect(photo).catch((error) => error.message)];
}).then(done, (error) => done(String(error)));
"""


def test_a_guest_that_hangs_is_ended_and_the_page_goes_on(page: Any, server: StaticServer) -> None:
    wide = "(i32.gt_u (i32.load offset=8 (local.get $request)) (i32.const 30))"
    never = HOST.replace("{imports}", "(func $hang (loop (br 0))) (start $hang)")
    server.extra |= {
        "hangs.wasm": guest(f"(if {wide} (then (loop (br 0)))) i32.const 64"),
        "never.wasm": bytes(wat2wasm(never.format(body="i32.const 64", version=1))),
    }
    late = [True, "the guest used up its 2 seconds; guestTimeout (--guest-timeout) gives more"]
    answers, after, timed_out, wrong, closed = page.execute_async_script(HANG)
    assert answers == [0, late, 0, 1]
    assert after == [1, 0]
    assert timed_out == late
    assert "guestTimeout is a number of seconds above 0" in wrong
    assert closed == "this object was closed"


def test_the_build_without_relaxed_simd_answers_the_same(browser: Any, site: Path, tmp_path: Path) -> None:
    """As a browser meets it that lacks the instructions: the probe for them is made to fail."""
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    worker = folder / "aicli" / "worker.js"
    patched = re.sub(r"(WebAssembly\.validate\()RELAXED_SIMD\)", r"\1new Uint8Array(1))", worker.read_text())
    assert patched != worker.read_text()
    worker.write_text(patched)
    cases = [case for case in CASES if case["options"] == {} and "examples/" in case["answer"]["image"]]
    assert {case["task"] for case in cases} == {"classify", "detect-faces"}
    with contextlib.closing(StaticServer(folder)) as server:
        server.extra["empty.html"] = b"<!doctype html><title>empty</title>"
        browser.get(f"{server.url}_/empty.html")
        for case in cases:
            image = case["answer"]["image"]
            found = call(browser, case["task"], {}, {"image": address(image), "name": image})
            assert found["engine"] == "LiteRT.js, without relaxed SIMD"
            assert close(found["answers"][0], case["answer"]), found
        assert any("litert_wasm_compat_internal.wasm" in asked for asked in server.asked())
