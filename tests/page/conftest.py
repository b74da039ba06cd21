"""A site that `aicli page` wrote, on a static web server that notes what it is asked, in a real browser."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aicli.page.files import content_type, is_built
from aicli.page.site import write_site
from tests.chromium import start_chromium
from tests.conftest import PROJECT

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:"
)


@cache
def packed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 1)


class StaticServer:
    """Serves the site's folder, and files of the project and the folder beside it below /_/; with a strict policy."""

    def __init__(self, site: Path) -> None:
        self.requests: list[tuple[str, str]] = []
        """Method and address of everything that was asked."""
        self.closed = False
        self.extra: dict[str, bytes] = {}
        """Files by their addresses below /_/."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if outer.closed:  # on a connection that is still open
                    self.close_connection = True
                    return
                outer.requests.append((self.command, self.path))
                content = outer.find(site, self.path.partition("?")[0])
                self.send_response(404 if content is None else 200)
                kind = "text/html" if self.path == "/" else content_type(self.path.partition("?")[0])
                self.send_header("Content-Type", kind)
                self.send_header("Content-Security-Policy", POLICY)
                body = content or b""
                if isinstance(body, Path):
                    body = packed(body)
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the browser wants no more of it
                    self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the name that http.server asks for

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def find(self, site: Path, address: str) -> bytes | Path | None:
        if address.startswith("/_/"):
            name = address.removeprefix("/_/")
            if name in self.extra:
                return self.extra[name]
            path = located(name)
        else:
            path = site / (address.lstrip("/") or "index.html")
        if path.suffix in (".wasm", ".js", ".html", ".css"):
            return path if path.is_file() else None
        return path.read_bytes() if path.is_file() else None

    def asked(self) -> list[str]:
        """The addresses that were asked for since this was called last."""
        found = [address for _, address in self.requests]
        self.requests.clear()
        return found

    def close(self) -> None:
        self.closed = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def located(name: str) -> Path:
    """A file of the project, or of the folder beside it."""
    return PROJECT.parent / name if name.startswith("shared/") else PROJECT / name


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not is_built() and os.environ.get("AICLI_REQUIRE_BROWSER") != "1":
        pytest.skip("the browser's half is not built; run: make browser")
    return write_site(tmp_path_factory.mktemp("page") / "site").folder


@pytest.fixture
def server(site: Path) -> Iterator[StaticServer]:
    with contextlib.closing(StaticServer(site)) as server:
        yield server


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose camera shows a photo of one face."""
    folder = tmp_path_factory.mktemp("chromium")
    video = folder / "camera.mjpeg"
    frame = Image.open(PROJECT / "examples" / "grace_hopper.jpg").convert("RGB").resize((480, 560))
    picture = Image.new("RGB", (640, 480))
    picture.paste(frame, (80, -40))
    frame.close()
    stream = io.BytesIO()
    picture.save(stream, "jpeg", quality=92)
    video.write_bytes(stream.getvalue() * 2)
    log = folder / "net.json"
    driver = start_chromium(folder / "profile", f"--use-file-for-fake-video-capture={video}", f"--log-net-log={log}")
    yield driver
    driver.quit()
    asked = requests_of_pages(log)
    assert asked
    assert [address for address in asked if not address.startswith("http://127.0.0.1:")] == []


def requests_of_pages(log: Path) -> list[str]:
    """The addresses that pages and their workers asked for, as Chromium's network log has them.

    What Chromium asks by itself, for its updates, was started by no origin.
    """
    lines = log.read_text().splitlines()
    started = [line.rstrip(",") for line in lines if '"initiator":"http' in line and '"url":' in line]
    return [str(json.loads(line)["params"]["url"]) for line in started]
