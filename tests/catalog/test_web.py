"""The one GET: what it sends, where it follows, and how it says that something failed."""

from __future__ import annotations

import ssl
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from loopback_server import Server

from aicli.catalog.web import Interrupted, get
from aicli.errors import FetchError


def fetched(address: str, **headers: str) -> tuple[int, bytes]:
    with get(address, headers, 2.0) as answer:
        return answer.status, b"".join(answer.blocks())


def redirecting(to: str) -> object:
    def behave(handler: BaseHTTPRequestHandler, count: int) -> bool:
        if count > 1:
            return False
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()
        return True

    return behave


def test_the_range_survives_a_redirect(server: Server) -> None:
    server.files = {"/a": b"", "/b": b"0123456789"}
    server.behave = redirecting("/b")  # type: ignore[assignment]
    assert fetched(f"{server.url}/a", Range="bytes=4-") == (206, b"456789")
    assert server.requests == [("/a", "bytes=4-"), ("/b", "bytes=4-")]


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/a", "file:///etc/hostname"])
def test_only_web_addresses_are_followed(server: Server, target: str) -> None:
    server.behave = redirecting(target)  # type: ignore[assignment]
    with pytest.raises(FetchError, match="redirect"):
        fetched(f"{server.url}/a")


def test_credentials_of_the_address_go_to_its_own_server_alone(server: Server) -> None:
    seen: list[str | None] = []

    def behave(handler: BaseHTTPRequestHandler, count: int) -> bool:
        seen.append(handler.headers.get("Authorization"))
        return redirecting("/b")(handler, count)  # type: ignore[operator, no-any-return]

    server.files = {"/b": b"content"}
    server.behave = behave
    assert fetched(server.url.replace("http://", "http://me:p%40ss@") + "/a") == (200, b"content")
    assert seen == ["Basic bWU6cEBzcw==", None]


def test_spaces_and_letters_beyond_ascii_are_quoted(server: Server) -> None:
    server.files = {"/m%C3%B6del%20%231.tflite": b"content"}
    assert fetched(f"{server.url}/mödel %231.tflite#part") == (200, b"content")


@pytest.mark.parametrize("address", ["http://", "http://host:port/", "http://[::1", "http:///path"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(FetchError, match="not a web address"):
        fetched(address)


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(Interrupted, match="connection failed"):
        fetched("http://nobody.invalid/")


def test_a_certificate_that_is_not_trusted(server: Server, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    try:
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    with pytest.raises(FetchError, match="SSL_CERT_FILE"):
        fetched(server.url.replace("http:", "https:") + "/a")
