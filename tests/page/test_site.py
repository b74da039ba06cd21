"""The page that `aicli page` writes, in a browser: nothing is uploaded, and it works without a network."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aicli import FaceDetector
from aicli.page.site import write_site
from tests.chromium import DROP, Page, needs_chromium
from tests.conftest import PROJECT
from tests.page.conftest import StaticServer

pytestmark = [pytest.mark.slow, needs_chromium]

PHOTO = PROJECT / "examples" / "grace_hopper.jpg"
HOPPER = PHOTO.read_bytes()
BOXED = "return document.getElementById('canvas').getAttribute('aria-label')"


@pytest.fixture
def page(browser: Any, server: StaticServer) -> Page:
    """The page at the first visit: every test has a server of its own, and with it an origin."""
    browser.get_log("browser")
    page = Page(browser, server.url)
    page.resize(1280, 900)
    return page


def drop(page: Page, content: bytes = HOPPER, name: str = "hopper.jpg", answer: str = "found") -> str:
    page.put(DROP, content, name)
    page.wait(lambda: answer in page.text("status"))
    return page.text("status")


def names(addresses: list[str]) -> set[str]:
    return {address.partition("?")[0].rpartition("/")[2] for address in addresses}


def test_first_visit(page: Page, server: StaticServer) -> None:
    page.wait(lambda: "Ready" in page.text("status"))
    assert "nothing is uploaded" in page.text("promise")
    assert "on this device in" in drop(page)
    expected = FaceDetector()(str(PHOTO)).to_dict() | {"image": "hopper.jpg"}
    found = page.record()
    assert found["faces"][0]["box"] == pytest.approx(expected["faces"][0]["box"], abs=0.02)
    assert len(found["faces"]) == len(expected["faces"])
    page.shoot("site-faces")
    assert {method for method, _ in server.requests} == {"GET"}
    asked = server.asked()
    assert not names(asked) & {"efficientnet_lite0.tflite", "dog_breeds.tflite", "litert_wasm_compat_internal.wasm"}
    assert len([name for name in asked if ".wasm" in name or ".tflite" in name]) == 5, "each file is fetched once"
    origin = "return performance.getEntriesByType('resource').every(({name}) => name.startsWith(location.origin))"
    assert page.run(origin)
    page.click("input[value=classify]")
    page.wait(lambda: "military uniform" in page.text("status"))
    assert names(server.asked()) >= {"efficientnet_lite0.tflite", "imagenet_1000.txt"}
    page.shoot("site-labels")
    assert page.complaints() == []


def test_faces_are_hidden_here(page: Page) -> None:
    drop(page)
    for how in ("blur=true", "pixelate=true", "cover=solid"):
        page.choose("hide", how)
        page.wait(lambda: "hidden" in page.run(BOXED))
        with Image.open(io.BytesIO(page.picture())) as shown:
            assert FaceDetector()(shown.convert("RGB")).faces == ()
        page.shoot(f"site-{how.partition('=')[0]}")


def test_faces_are_spared_and_covered_here(page: Page, tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    Image.new("RGB", (40, 40), (255, 0, 255)).save(cover)
    drop(page)
    page.choose("hide", "cover")
    page.browser.find_element("id", "cover").send_keys(str(cover))
    page.wait(lambda: "hidden" in page.run(BOXED))
    x1, y1, x2, y2 = page.record()["faces"][0]["box"]

    def middle() -> tuple[int, ...]:
        with Image.open(io.BytesIO(page.picture())) as picture:
            pixel = picture.convert("RGB").getpixel((int((x1 + x2) / 2), int((y1 + y2) / 2)))
        assert isinstance(pixel, tuple)
        return pixel

    page.wait(lambda: middle() == (255, 0, 255))
    page.click("#faces tbody tr:first-child input[type=checkbox]")
    page.wait(lambda: middle() != (255, 0, 255))
    with Image.open(io.BytesIO(page.picture())) as picture:
        assert len(FaceDetector()(picture.convert("RGB")).faces) == 1
    page.click("#faces tbody tr:first-child input[type=checkbox]")
    page.wait(lambda: middle() == (255, 0, 255))
    assert not page.browser.find_element("id", "all_frames").is_displayed(), "the service's alone"


@pytest.mark.parametrize(("name", "ticked", "turn"), [("on_its_side", "turns", 90), ("cut", "border", None)])
def test_faces_that_are_looked_for_further_here(page: Page, name: str, ticked: str, turn: int | None) -> None:
    photo = PROJECT / "tests" / "data" / "faces" / f"{name}.jpg"
    drop(page, photo.read_bytes(), photo.name)
    page.click(f"#{ticked}")
    looking = FaceDetector(turns=ticked == "turns", border=ticked == "border")
    expected = looking(str(photo)).to_dict()["faces"]
    page.wait(lambda: len(page.record().get("faces", [])) == len(expected) and "1 face found" in page.text("status"))
    face = page.record()["faces"][0]
    assert face["box"] == pytest.approx(expected[0]["box"], abs=0.02)
    assert face.get("turn") == turn
    page.shoot(f"site-{name}")


def test_the_saved_picture_has_the_photos_size(page: Page, tmp_path: Path) -> None:
    page.browser.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    large = io.BytesIO()
    with Image.open(PHOTO) as photo:
        photo.resize((2048, 2400)).save(large, "jpeg")
    drop(page, large.getvalue(), "large.jpg")
    page.choose("hide", "blur=true")
    page.click("#save")
    saved = tmp_path / "large-hidden.png"
    page.wait(lambda: saved.is_file())
    with Image.open(saved) as picture:
        assert picture.size == (2048, 2400)
        assert FaceDetector()(picture.convert("RGB")).faces == ()


def test_without_a_network_after_the_first_visit(page: Page, server: StaticServer) -> None:
    drop(page)
    server.close()
    page.browser.refresh()
    page.wait(lambda: "Ready" in page.text("status"))
    drop(page, (PROJECT / "examples" / "astronaut.png").read_bytes(), "astronaut.png")
    assert page.record()["faces"]
    page.shoot("site-no-network")
    page.resize(390, 844)
    assert page.run("return document.documentElement.scrollWidth") <= 390
    page.shoot("site-no-network-phone")
    page.click("input[value=classify]")  # never asked for while there was a network
    page.wait(lambda: "is not kept on this device; connect once" in page.text("problem"))
    page.click("input[value=faces]")
    page.wait(lambda: "found" in page.text("status"))


def test_a_new_version_takes_over_and_fetches_what_has_changed(browser: Any, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    server = StaticServer(folder)
    try:
        page = Page(browser, server.url)
        drop(page)
        server.asked()
        # A later version: another set of models, another page.
        write_site(folder, ["dog_breeds"])
        page.browser.refresh()
        page.wait(
            lambda: (
                page.run("return [...document.getElementById('model').options].map((o) => o.value)") == ["dog_breeds"]
            )
        )
        drop(page)
        fetched = names(server.asked())
        assert "catalog.json" in fetched
        assert not fetched & {"onet_pixels.tflite", "litert_wasm_internal.wasm", "aicli_guest.wasm"}
        caches = "const done = arguments[0]; caches.keys().then((names) => done(names.length))"
        page.wait(lambda: browser.execute_async_script(caches) == 1)
    finally:
        server.close()


def test_the_camera_shows_faces_as_they_are(page: Page) -> None:
    page.wait(lambda: "Ready" in page.text("status"))
    page.click("#camera")
    page.wait(lambda: "1 face, " in page.text("live-words"))
    page.wait(lambda: float(page.text("live-words").split()[2]) > 0)
    green = """
        const canvas = document.getElementById("live"), context = canvas.getContext("2d");
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) count += data[at + 1] > 200 && data[at] < 60 && data[at + 3] > 200;
        return count;
    """
    assert page.wait(lambda: page.run(green) > 100)
    page.shoot("site-camera")
    page.click("#shoot")
    page.wait(lambda: "camera.jpg" in page.text("caption"))
    page.wait(lambda: "1 face found" in page.text("status"), 30)


def test_keyboard_and_phone(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.resize(390, 844)
    page.browser.find_element("id", "files").send_keys(str(PHOTO))
    page.wait(lambda: "1 face found" in page.text("status"))
    assert page.run("return document.documentElement.scrollWidth") <= 390
    page.shoot("site-phone")
    page.browser.find_element("id", "onet").send_keys(Keys.END)
    page.wait(lambda: "No faces found" in page.text("status"))
    page.browser.find_element("css selector", "input[value=faces]").send_keys(Keys.ARROW_LEFT)
    page.wait(lambda: "military uniform" in page.text("status"))
    page.resize(390, 844, "dark")
    page.shoot("site-phone-labels")


def test_what_goes_wrong_is_said(page: Page, server: StaticServer) -> None:
    page.put(DROP, b"no photo", "notes.txt")
    page.wait(lambda: "notes.txt: not an image" in page.text("problem"))
    drop(page)
    assert page.text("problem") == ""


def test_a_damaged_model_is_refused(browser: Any, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    model = folder / "aicli" / "data" / "models" / "pnet_pixels.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    server = StaticServer(folder)
    try:
        page = Page(browser, server.url)
        page.wait(lambda: "pnet_pixels.tflite: not the file that was put there (SHA-256)" in page.text("problem"))
    finally:
        server.close()
