"""The page in a real headless Chromium: Debian's, driven by Selenium."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aicli.page.files import is_built
from tests.chromium import DROP, Page, needs_chromium, start_chromium
from tests.serve.conftest import PHOTO, PROJECT, Server, running

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
]
PASTE = DROP.replace(
    'document.getElementById("drop").dispatchEvent(new DragEvent("drop",\n  {dataTransfer: transfer,',
    'document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer,',
)
PIXELS = """
const [points] = arguments, canvas = document.getElementById("canvas"), context = canvas.getContext("2d");
return points.map(([x, y]) => {
  const square = context.getImageData(Math.round(x) - 2, Math.round(y) - 2, 5, 5).data;
  for (let at = 0; at < square.length; at += 4)
    if (square[at] < 60 && square[at + 1] > 200 && square[at + 2] < 140) return true;
  return false;
});
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, server: Server) -> Page:
    browser.get_log("browser")
    page = Page(browser, server.url)
    page.resize(1280, 900)
    return page


def test_dropped_photo_gets_its_label(page: Page, photo: bytes) -> None:
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "military uniform" in page.text("status"))
    assert "military uniform" in page.text("labels")
    assert page.record()["image"] == "hopper.jpg"
    assert len(page.browser.find_elements("css selector", "#labels li")) == 5
    page.shoot("desktop-labels-light")


def test_boxes_are_at_the_right_pixels(page: Page, server: Server, photo: bytes) -> None:
    page.click("input[value=faces]")
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "found" in page.text("status"))
    expected = server.ask("POST", "/v1/faces", photo).json
    size = page.browser.execute_script("const c = document.getElementById('canvas'); return [c.width, c.height]")
    assert size == [expected["width"], expected["height"]]
    assert len(page.record()["faces"]) == len(expected["faces"]) >= 1
    for face in expected["faces"]:
        x1, y1, x2, y2 = face["box"]
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
        edges = [(x1, middle[1]), (x2, middle[1]), (middle[0], y1), (middle[0], y2)]
        points = [*edges, *face["landmarks"].values()]
        assert all(page.browser.execute_script(PIXELS, points))
        outside = [(x1 - 8, y1 - 8), (x2 + 8, y2 + 8)]
        assert not any(page.browser.execute_script(PIXELS, outside))
    page.shoot("desktop-faces-light")


def test_faces_are_hidden_on_the_page(page: Page, server: Server, photo: bytes) -> None:
    page.click("input[value=faces]")
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "found" in page.text("status"))
    page.choose("hide", "blur=true")
    page.wait(lambda: "blur=true" in page.browser.execute_script("return curl.textContent"))
    label = "return document.getElementById('canvas').getAttribute('aria-label')"
    page.wait(lambda: "hidden" in page.browser.execute_script(label))
    reply = server.ask("POST", "/v1/faces", page.picture())
    assert reply.json["faces"] == []
    page.shoot("desktop-hidden-light")


SET = """
const [id, value] = arguments, control = document.getElementById(id);
if (control.type === "checkbox") control.checked = value; else control.value = value;
control.dispatchEvent(new Event("input", {bubbles: true}));
"""
HIDDEN = "return document.getElementById('canvas').getAttribute('aria-label').includes('hidden')"
CURL = "return curl.textContent"


def test_faces_are_left_as_they_are_by_tick_and_by_click(page: Page, server: Server, photo: bytes) -> None:
    page.click("input[value=faces]")
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "found" in page.text("status"))
    page.browser.execute_script(SET, "hide", "pixelate=true")
    page.wait(lambda: page.browser.execute_script(HIDDEN))
    page.click("#faces tbody tr:first-child input[type=checkbox]")
    page.wait(lambda: "spare=" in page.browser.execute_script(CURL))
    page.wait(lambda: len(server.ask("POST", "/v1/faces", page.picture()).json["faces"]) == 1)
    box = page.record()["faces"][0]["box"]
    page.shoot("desktop-spared-light")
    script = """
    const [x, y] = arguments, canvas = document.getElementById("canvas"), place = canvas.getBoundingClientRect();
    const scale = place.width / canvas.width, where = {clientX: place.left + x * scale, clientY: place.top + y * scale};
    canvas.dispatchEvent(new MouseEvent("click", {bubbles: true, ...where}));
    """
    page.browser.execute_script(script, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    page.wait(lambda: "spare=" not in page.browser.execute_script(CURL))
    page.wait(lambda: server.ask("POST", "/v1/faces", page.picture()).json["faces"] == [])


def test_a_picture_of_ones_own_lies_on_the_faces(page: Page, server: Server, photo: bytes, tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    Image.new("RGB", (40, 40), (255, 0, 255)).save(cover)
    page.click("input[value=faces]")
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "found" in page.text("status"))
    page.browser.execute_script(SET, "hide", "cover")
    page.browser.find_element("id", "cover").send_keys(str(cover))
    page.wait(lambda: page.browser.execute_script(HIDDEN))
    assert "-F 'photo=@hopper.jpg' -F 'cover=@cover.png'" in page.browser.execute_script(CURL)
    x1, y1, x2, y2 = page.record()["faces"][0]["box"]
    with Image.open(io.BytesIO(page.picture())) as picture:
        assert picture.convert("RGB").getpixel((int((x1 + x2) / 2), int((y1 + y2) / 2))) == (255, 0, 255)
    assert server.ask("POST", "/v1/faces", page.picture()).json["faces"] == []


def test_a_photo_on_its_side_and_every_frame(page: Page, photo: bytes) -> None:
    with Image.open(io.BytesIO(photo)) as image:
        upright = image.convert("RGB").resize((205, 242))
    side, moving = io.BytesIO(), io.BytesIO()
    upright.rotate(90, expand=True).save(side, "JPEG")
    upright.save(moving, "GIF", save_all=True, append_images=[upright.rotate(4), upright.rotate(8)], duration=80)
    page.click("input[value=faces]")
    page.put(DROP, side.getvalue(), "side.jpg")
    page.wait(lambda: page.text("status") == "No faces found")
    page.click("#turns")
    page.wait(lambda: page.text("status") == "1 face found")
    assert page.record()["faces"][0]["turn"] == 90
    page.click("#turns")
    page.click("#all_frames")
    page.put(DROP, moving.getvalue(), "moving.gif")
    page.wait(lambda: page.browser.find_element("id", "frame-row").is_displayed())
    assert [len(record["faces"]) for record in page.record()["results"]] == [1, 1, 1]
    width = "return document.getElementById('moving').naturalWidth"
    page.wait(lambda: page.browser.execute_script(width) == 205)
    page.click("#frame option[value='2']")
    third = [str(round(value)) for value in page.record()["results"][2]["faces"][0]["box"]]
    page.wait(lambda: ", ".join(third) in page.text("faces"))
    page.shoot("desktop-frames-light")
    page.browser.execute_script(SET, "hide", "blur=true")
    page.wait(lambda: "blur=true&all_frames=true" in page.browser.execute_script(CURL))
    page.click("input[value=classify]")
    page.wait(lambda: len(page.record().get("results", [{}])[0].get("predictions", [])) == 5)
    page.wait(lambda: page.browser.execute_script(width) == 205)


def test_slider_asks_again_with_its_value(page: Page, photo: bytes) -> None:
    page.click("input[value=faces]")
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "found" in page.text("status"))
    page.choose("onet", "1")
    page.wait(lambda: "thresholds=0.6,0.7,1" in page.browser.execute_script("return curl.textContent"))
    page.wait(lambda: page.text("status") == "No faces found")


def test_pasted_photo_and_several_photos(page: Page, photo: bytes) -> None:
    page.put(PASTE, photo, "first.jpg")
    page.wait(lambda: "military uniform" in page.text("status"))
    page.put(DROP, (PROJECT / "examples" / "chelsea.png").read_bytes(), "chelsea.png")
    page.wait(lambda: "cat" in page.text("status").lower())
    assert len(page.browser.find_elements("css selector", "#strip button")) == 2
    page.click("#strip li:first-child button")
    page.wait(lambda: "military uniform" in page.text("status"))


def test_error_is_shown_kindly_and_goes_away(page: Page, photo: bytes) -> None:
    page.put(DROP, b"this is no photo", "notes.jpg")
    page.wait(lambda: "not a photo" in page.text("problem"))
    page.shoot("desktop-error-light")
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "military uniform" in page.text("status"))
    assert page.text("problem") == ""


def test_model_choice_and_curl_command(page: Page, photo: bytes) -> None:
    page.put(DROP, photo, "it's me.jpg")
    page.wait(lambda: "military uniform" in page.text("status"))
    page.click("#model option[value=dog_breeds]")
    page.wait(lambda: page.record()["model"] == "dog_breeds")
    command = page.browser.execute_script("return curl.textContent")
    assert "@it'\\''s me.jpg" in command
    assert "model=dog_breeds" in command


def test_keyboard_alone_is_enough(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.browser.find_element("id", "files").send_keys(str(PHOTO))
    page.wait(lambda: "military uniform" in page.text("status"))
    page.browser.find_element("css selector", "input[value=classify]").send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: "face" in page.text("status"))
    page.browser.find_element("id", "min_size").send_keys(Keys.END)
    page.wait(lambda: "min_size=200" in page.browser.execute_script("return curl.textContent"))


def test_camera(page: Page) -> None:
    page.click("#camera")
    page.wait(lambda: page.browser.execute_script("return document.getElementById('video').videoWidth") > 0)
    page.click("#shoot")
    page.wait(lambda: "camera.jpg" in page.text("caption"))
    page.wait(lambda: "predictions" in page.record())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(page: Page, photo: bytes, scheme: str) -> None:
    page.resize(375, 740, scheme)
    page.click("input[value=faces]")
    page.put(DROP, photo, "hopper.jpg")
    page.wait(lambda: "found" in page.text("status"))
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 375
    page.shoot(f"phone-faces-{scheme}")
    page.click("input[value=classify]")
    page.wait(lambda: "military uniform" in page.text("status"))
    page.shoot(f"phone-labels-{scheme}")
    page.resize(1280, 900, scheme)
    page.shoot(f"desktop-labels-2-{scheme}")


def test_docs_page_and_nothing_from_third_parties(page: Page, server: Server) -> None:
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    addresses = page.browser.execute_script(script)
    page.browser.get(f"{server.url}/docs")
    page.wait(lambda: "/v1/faces" in page.text("docs"))
    page.shoot("docs")
    addresses += page.browser.execute_script(script)
    assert len(addresses) > 4
    assert all(address.startswith(server.url) for address in addresses)
    assert page.complaints() == []


def test_on_this_device_nothing_is_uploaded(browser: Any, tmp_path: Path, photo: bytes) -> None:
    if not is_built() and os.environ.get("AICLI_REQUIRE_BROWSER") != "1":
        pytest.skip("the browser's half is not built; run: make browser")
    with running(tmp_path, "--workers", "1") as server:
        page = Page(browser, server.url)
        page.resize(1280, 900)
        assert "this service" in page.text("promise")
        page.click("#device")
        page.click("input[value=faces]")
        page.put(DROP, photo, "hopper.jpg")
        page.wait(lambda: "1 face found, on this device" in page.text("status"))
        assert "nothing is uploaded" in page.text("promise")
        assert not page.browser.find_element("id", "curl").is_displayed()
        here = page.record()
        page.shoot("service-on-this-device")
        asked = server.events("request")
        assert {line["method"] for line in asked} == {"GET"}
        assert not [line["path"] for line in asked if "efficientnet" in line["path"]]
        page.click("#device")
        page.wait(lambda: page.text("status") == "1 face found")
        there = page.record()["faces"][0]["box"]
        assert here["faces"][0]["box"] == pytest.approx(there, abs=0.02)
        page.click("#device")
        page.wait(lambda: "on this device" in page.text("status"))
        server.stop()
        page.browser.refresh()  # the switch and the page are kept
        page.wait(lambda: "Ready" in page.text("status"))
        page.put(DROP, photo, "hopper.jpg")
        page.wait(lambda: "1 face found, on this device" in page.text("status"))
        page.click("#device")
        page.wait(lambda: "The service cannot be reached." in page.text("problem"))
        assert "on this device without it" in page.text("problem")
