"""One GET over HTTP with the standard library: the part of a file that is still missing.

The operating system's certificates are trusted and the proxies of the environment (``https_proxy`` and so on) used.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from aicli.errors import FetchError

__all__ = ["Answer", "Interrupted", "get"]

BLOCK = 256 << 10
MAX_REDIRECTS = 5
CERTIFICATES = (
    "the server's certificate is not trusted here; set SSL_CERT_FILE to a file with the certificates that you trust"
)


class Interrupted(Exception):
    """The transfer broke off; it may be taken up again."""


class Answer:
    """What the server sent: ``status``, ``reason``, ``headers`` and the body in blocks as they arrive."""

    def __init__(self, response: http.client.HTTPResponse | urllib.error.HTTPError) -> None:
        self.status: int = response.status or 0
        self.reason: str = response.reason
        self.headers: Message = response.headers
        self._response: Any = response

    def blocks(self) -> Iterator[bytes]:
        """The body. Raises :class:`Interrupted` where the connection ends before its time."""
        while True:
            with _told():
                block: bytes = self._response.read1(BLOCK)
            if not block:
                return
            yield block


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to web addresses alone, and from https: not back to http:."""

    max_redirections = MAX_REDIRECTS
    max_repeats = MAX_REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before == "https" and after == "http"):
            raise FetchError(f"{req.full_url}: the server redirects from {before}: to {after}:, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def get(address: str, headers: dict[str, str], timeout: float) -> Iterator[Answer]:
    """The answer to a GET, whatever its status. ``timeout`` is in seconds without a byte.

    Raises :class:`Interrupted` for a connection that fails and :class:`FetchError` for one that would fail again.
    """
    url, credentials = _split(address)
    request = urllib.request.Request(url, headers=headers)
    if credentials:
        request.add_unredirected_header("Authorization", "Basic " + b64encode(credentials.encode()).decode())
    opener = urllib.request.build_opener(_Redirects)
    with _told(address):
        try:
            response: Any = opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            if 300 <= error.code < 400:
                raise FetchError(f"{address}: the server redirects without end or to nowhere") from None
            response = error
    with response:
        yield Answer(response)


def _split(address: str) -> tuple[str, str]:
    """The address as it goes over the wire, and ``user:password`` where it names them."""
    try:
        parts = urlsplit(address)
        port, name = parts.port, parts.hostname or ""
        name = name if ":" in name else name.encode("idna").decode()
    except ValueError:  # a port that is not a number, a name that cannot be one
        name = ""
    if not name:
        raise FetchError(f"{address}: this is not a web address")
    user = parts.netloc.rpartition("@")[0]
    host = (f"[{name}]" if ":" in name else name) + (f":{port}" if port is not None else "")
    path, query = (quote(part, safe="%/:=&?~#+!$,;'@()*[]") for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, path, query, "")), unquote(user)


@contextmanager
def _told(address: str = "") -> Iterator[None]:
    """What the standard library raises, as the two errors of this module."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise FetchError(f"{address}: {CERTIFICATES} ({error.verify_message})") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise FetchError(f"{address}: {CERTIFICATES} ({error.reason.verify_message})") from None
        raise Interrupted(f"the connection failed ({_words(error.reason)})") from None
    except http.client.InvalidURL as error:
        raise FetchError(f"{address}: {_words(error)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f"the connection failed ({_words(error)})") from None


def _words(error: BaseException | str) -> str:
    return " ".join(str(error).split()) or type(error).__name__
