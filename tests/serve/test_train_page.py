"""The page that trains, in a real headless Chromium."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import Page
from tests.serve.conftest import PHOTO, TOKEN, Server
from tests.serve.test_page import browser, pytestmark
from tests.training.conftest import make_photos

__all__ = ["browser", "pytestmark"]

pytest.importorskip("sklearn", reason="needs scikit-learn")
DROP = """
const [photos, box] = arguments, transfer = new DataTransfer();
for (const [name, data] of photos) {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  transfer.items.add(new File([bytes], name, {type: "image/png", lastModified: 1}));
}
const event = new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
document.querySelector(box).dispatchEvent(event);
"""
BOX = "#boxes .box:nth-child({})"


class TrainPage(Page):
    """The page as a test sees it."""

    def __init__(self, browser: Any, server: Server) -> None:
        self.browser = browser
        browser.get(f"{server.url}/train")
        self.wait(lambda: browser.execute_script("return document.getElementById('base').options.length") > 1)

    def drop(self, selector: str, *photos: Path) -> None:
        given = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in photos]
        self.browser.execute_script(DROP, given, selector)

    def write(self, selector: str, text: str) -> None:
        element = self.browser.find_element("css selector", selector)
        element.clear()
        element.send_keys(text)

    def wait_long(self, words: str) -> None:
        for _ in range(6):
            try:
                self.wait(lambda: words in self.text("status") or self.text("problem"))
                break
            except Exception as error:
                last = error
        else:
            raise last
        assert words in self.text("status"), self.text("problem")


@pytest.fixture
def page(browser: Any, trainer: Server) -> TrainPage:
    browser.get_log("browser")
    page = TrainPage(browser, trainer)
    page.resize(1280, 900)
    return page


def test_from_boxes_to_a_model_that_is_used(page: TrainPage, trainer: Server, photos: Path, tmp_path: Path) -> None:
    for place, name in enumerate(("cat", "officer"), 1):
        page.write(f"{BOX.format(place)} > input", name)
        page.drop(BOX.format(place), *sorted((photos / name).iterdir()))
    assert not page.browser.find_element("id", "train").get_property("disabled")
    page.click("#add")
    page.write(f"{BOX.format(3)} > input", "astronaut")
    page.drop(BOX.format(3), photos / "astronaut" / "0.png")
    assert '"astronaut" has one photo' in page.text("status")
    assert page.browser.find_element("id", "train").get_property("disabled")
    page.drop(BOX.format(3), *sorted((photos / "astronaut").iterdir()))  # the one that is there is not taken twice
    assert "5 photos" in page.browser.find_element("css selector", BOX.format(3)).text
    page.shoot("train-boxes")
    page.click("#train")
    page.wait_long("Trained.")
    assert page.text("accuracy") == "100.0 % right" and "15 of 15 photos" in page.text("explained")
    page.drop("#outcome", make_photos(tmp_path, 1, first=9, names=("cat",)) / "cat" / "9.png")
    page.wait(lambda: page.text("tried") == "9.png: cat")
    page.click("#token-box summary")
    page.write("#token", TOKEN)
    page.write("#name", "animals")
    page.click("#keep")
    page.wait(lambda: "Kept as animals" in page.text("kept"))
    page.shoot("train-outcome")
    kept = trainer.ask("POST", "/v1/classify", (photos / "officer" / "0.png").read_bytes(), model="animals").json
    assert kept["predictions"][0]["label"] == "officer"
    report = page.browser.find_element("id", "report").get_attribute("href")
    page.browser.get(report)
    assert "100.0%" in page.browser.find_element("tag name", "body").text
    size = "return getComputedStyle(document.querySelector('.big')).fontSize"
    assert page.browser.execute_script(size) == "40px"  # its own style is let in
    page.shoot("train-report")
    assert not [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_stopped_and_begun_again(page: TrainPage, photos: Path) -> None:
    for place, name in enumerate(("cat", "officer"), 1):
        page.write(f"{BOX.format(place)} > input", name)
        page.drop(BOX.format(place), *sorted((photos / name).iterdir()))
    page.click("#train")
    page.wait(lambda: "photo" in page.text("status"))
    page.click("#stop")
    page.wait(lambda: page.text("status") == "Stopped.")
    page.click("#augment")
    assert "augment" not in page.browser.execute_script("return curl.textContent")
    page.click("#train")
    page.wait_long("Trained.")


def test_large_photos_are_made_smaller_and_errors_are_shown(page: TrainPage, photos: Path, tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(PHOTO) as opened:
        opened.resize((2400, 3000)).save(tmp_path / "large.jpg", quality=95)
    large = (tmp_path / "large.jpg").stat().st_size
    page.browser.execute_script(
        "const send = window.fetch; window.sizes = [];"
        "window.fetch = (path, options) => { if (options?.body instanceof FormData)"
        " window.sizes = [...options.body.values()].map((file) => file.size); return send(path, options); };"
    )
    page.write(f"{BOX.format(1)} > input", "one")
    page.drop(BOX.format(1), tmp_path / "large.jpg", photos / "cat" / "0.png")
    page.write(f"{BOX.format(2)} > input", "two")
    (tmp_path / "bad.png").write_bytes(b"no photo" * 10)
    (tmp_path / "worse.png").write_bytes(b"no photo either" * 10)
    page.drop(BOX.format(2), tmp_path / "bad.png", tmp_path / "worse.png")
    page.click("#train")
    page.wait(lambda: page.text("problem"))
    assert "no photo is left to train the class 'two' on" in page.text("problem")
    sizes = page.browser.execute_script("return window.sizes")
    assert len(sizes) == 4 and sizes[0] < large / 4, (sizes, large)
    page.shoot("train-problem")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(page: TrainPage, photos: Path, scheme: str) -> None:
    page.resize(375, 740, scheme)
    page.drop(BOX.format(1), *sorted((photos / "cat").iterdir()))
    assert "has no name" in page.text("status")
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 375
    page.shoot(f"train-phone-{scheme}")
    page.resize(1280, 900, "light")
