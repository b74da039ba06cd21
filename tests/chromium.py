"""A real headless Chromium for the tests: Debian's, driven by Selenium."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
SHOTS = os.environ.get("AICLI_SCREENSHOTS")
"""Where screenshots are kept for somebody to look at; nowhere without it."""

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER) and os.environ.get("AICLI_REQUIRE_BROWSER") != "1",
    reason="needs chromium and chromedriver",
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
DROP = """
const [data, name] = arguments;
const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, {type: "image/jpeg"}));
document.getElementById("drop").dispatchEvent(new DragEvent("drop",
  {dataTransfer: transfer, bubbles: true, cancelable: true}));
"""


def start_chromium(profile: Path, *flags: str) -> Any:
    """A driver whose browser keeps what it keeps in the folder ``profile``."""
    if not (CHROMIUM and DRIVER):
        pytest.fail("AICLI_REQUIRE_BROWSER=1, but there is no chromium with its chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.set_script_timeout(60)
    return driver


class Page:
    """The web page as a test sees it."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        browser.get(url)
        self.wait(lambda: self.run("return document.getElementById('model').options.length") > 1)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any], seconds: float = 30) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, seconds, poll_frequency=0.05).until(lambda _: condition())

    def text(self, identifier: str) -> str:
        return str(self.browser.find_element("id", identifier).text)

    def click(self, selector: str) -> None:
        self.browser.find_element("css selector", selector).click()

    def put(self, script: str, content: bytes, name: str) -> None:
        self.run(script, base64.b64encode(content).decode(), name)

    def choose(self, identifier: str, value: str) -> None:
        """Gives a control a value, as a hand would."""
        script = (
            "const found = document.getElementById(arguments[0]); found.value = arguments[1];"
            "found.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        self.run(script, identifier, value)

    def record(self) -> Any:
        """The JSON that the page shows."""
        return self.run("return JSON.parse(document.getElementById('json').textContent)")

    def picture(self) -> bytes:
        """What the canvas shows, as PNG."""
        shown = self.run("return document.getElementById('canvas').toDataURL('image/png')")
        return base64.b64decode(shown.partition(",")[2])

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def shoot(self, name: str) -> None:
        if SHOTS:
            options = {"format": "png", "captureBeyondViewport": True}
            found = self.browser.execute_cdp_cmd("Page.captureScreenshot", options)
            (Path(SHOTS) / f"{name}.png").write_bytes(base64.b64decode(found["data"]))

    def complaints(self) -> list[str]:
        """What the browser has written to its console as an error since it was asked last."""
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
