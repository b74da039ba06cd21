"""Photos in buckets (``s3://``, ``gs://``, ``az://``, ``hdfs://``) through fsspec, of the extra ``data``.

Credentials are those of the packages behind fsspec: environment, profiles, the machine's own role.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from aicli._text import shown
from aicli.errors import ImageError, ImageTooLargeError, UnavailableError
from aicli.image.reading import MAX_STREAM_BYTES, one_line

__all__ = ["InBucket", "is_in_bucket", "list_bucket", "open_in_bucket"]

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hdfs": "pyarrow",
}
"""What fsspec needs for each kind of address."""

LOGGERS = ("s3fs", "gcsfs", "adlfs", "azure")
"""Of those packages: what they warn of comes back as an error, in one line."""

VERSIONS = ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime")
"""Where the packages behind fsspec put an object's version or time."""


class InBucket(NamedTuple):
    """A photo in a bucket, fetched where it is decoded: in the worker process."""

    url: str

    def read(self) -> bytes:
        """The object in one request. Raises :class:`ImageError`, :class:`ImageTooLargeError` above a GiB."""
        with reading(self.url):
            system, path = opened(self.url)
            try:
                how = {"seekable": True} if is_hdfs(self.url) else {}  # else there is no start to go to
                data: bytes = system.cat_file(path, start=0, end=MAX_STREAM_BYTES + 1, **how)
            except FileNotFoundError:
                raise
            except Exception:
                if system.info(path)["size"]:
                    raise
                data = b""  # S3 and Azure refuse a range of an empty object
        if len(data) > MAX_STREAM_BYTES:
            raise ImageTooLargeError(f"more than {MAX_STREAM_BYTES:,} bytes; save it as a file first").of(
                shown(self.url)
            )
        return data


def is_in_bucket(name: str) -> bool:
    scheme, separator, _ = name.partition("://")
    return bool(separator) and scheme.lower() in PACKAGES


def is_hdfs(url: str) -> bool:
    return url.lower().startswith("hdfs:")


def list_bucket(url: str) -> list[tuple[str, bool, str]]:
    """The addresses that an object's address, a folder's or a pattern stands for; of each whether it lies in a folder,
    and its size and time.

    Hidden names are left out. Raises :class:`ImageError`.
    """
    pattern = re.search(r"[*?\[]", url)
    root = url[: url.rfind("/", 0, pattern.start()) + 1] if pattern else url.rstrip("/")
    with reading(url):
        system, path = opened(url)
        system.invalidate_cache()
        start = system._strip_protocol(root)
        if pattern:
            found = system.glob(path, detail=True)
        elif system.isdir(path):
            listed = system.find(path, detail=True).items()
            found = {key: about for key, about in listed if "/." not in f"/{key[len(start) :]}"}
        elif system.exists(path):
            return [(url, False, stamp_of(system.info(path)))]
        else:
            if is_hdfs(url):
                system.ls("/")  # raises what is wrong where nobody answers: the others take that for a no
            raise ImageError("nothing with this address; check the bucket and the path")
    if not found and pattern:
        raise ImageError("nothing matches this pattern; check the bucket and the path").of(shown(url))
    return [
        (f"{root.rstrip('/')}/{key[len(start) :].lstrip('/')}", not pattern, stamp_of(about))
        for key, about in found.items()
    ]


def stamp_of(about: dict[str, Any]) -> str:
    """Size and time of an object, or what its kind of bucket tells versions apart by."""
    version = next((about[key] for key in VERSIONS if about.get(key)), "")
    return f"{about.get('size')} {version}"


@contextmanager
def open_in_bucket(url: str) -> Iterator[IO[bytes]]:
    """An object as a file that can be read from any place, for archives and Parquet. Raises :class:`ImageError`."""
    with reading(url):
        system, path = opened(url)
        file = system.open(path, "rb")
    with file:
        yield file


def opened(url: str) -> tuple[Any, str]:
    """The file system of an address and the path in it. Raises :class:`UnavailableError`."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        from aicli._extras import install_command

        raise UnavailableError(
            f"{shown(url)}: buckets need the package fsspec; run: {install_command('data')}"
        ) from None
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())  # else Python writes its warnings to standard error
    scheme = url.partition("://")[0]
    package = PACKAGES[scheme.lower()]
    try:
        system, path = url_to_fs(url)
    except ImportError:
        raise UnavailableError(
            f"{shown(url)}: {scheme}:// needs the package {package}; run: pip install {package}"
        ) from None
    except OSError as error:
        missing = hadoop_missing(error) if is_hdfs(url) else None
        if missing is None:
            raise
        raise UnavailableError(f"{shown(url)}: {scheme}:// needs {missing}") from None
    return system, path


def hadoop_missing(error: OSError) -> str | None:
    """What of a client's Hadoop is not there, and what would name it, by the way in which Arrow found no HDFS."""
    if "libjvm" in str(error):
        return "Java, whose libjvm is not found; set JAVA_HOME"
    if "libhdfs" in str(error):
        return "Hadoop's library libhdfs, which is not found; set ARROW_LIBHDFS_DIR to its folder, or HADOOP_HOME"
    if not os.environ.get("CLASSPATH"):
        return "Hadoop's classes; set CLASSPATH to what this says: hadoop classpath --glob"
    return None


@contextmanager
def reading(url: str) -> Iterator[None]:
    """What a bucket's own package raises, as :class:`ImageError` with one line."""
    try:
        yield
    except UnavailableError:
        raise
    except ImageError as error:
        error.of(shown(url))
        raise
    except FileNotFoundError:
        raise ImageError("nothing with this address; check the bucket and the path").of(shown(url)) from None
    except PermissionError as error:
        reason = f"no permission ({one_line(error)}); check the credentials and the bucket's rights"
        raise ImageError(reason).of(shown(url)) from None
    except Exception as error:  # each package has errors of its own: botocore's, Google's, Azure's, Arrow's
        reason = f"cannot be read ({one_line(error)}); check the address and the credentials"
        raise ImageError(reason).of(shown(url)) from None
