"""Addresses in buckets of every kind, on file systems in memory: the way to each package, and its absence."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from aicli.cluster.storage import Storage
from aicli.errors import ImageError, UnavailableError
from aicli.image.buckets import PACKAGES, InBucket, is_in_bucket, list_bucket

registry: dict[str, Any] = pytest.importorskip("fsspec.registry")._registry
memory: Any = pytest.importorskip("fsspec.implementations.memory")


class Bucket(memory.MemoryFileSystem):  # type: ignore[misc]
    """As the packages do it: no range of an empty object, whose error is one of their own."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        name: str = super()._strip_protocol("memory://" + path.partition("://")[2] if "://" in path else path)
        return name

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        data: bytes = super().cat_file(path, start, end, **more)
        if not data and end is not None:
            raise Refused("The range specified is invalid\nfor the current size")
        return data


class Refused(Exception):
    """The error of some package, which is no OSError."""


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Every kind of bucket is the same place in memory; gives its file system."""
    for scheme in PACKAGES:
        kind = type(f"{scheme}Bucket", (Bucket,), {"protocol": scheme})
        monkeypatch.setitem(registry, scheme, kind)
    made = Bucket()
    made.pipe_file("photos/in/2.jpg", b"two")
    made.pipe_file("photos/in/deep/1 50%#?.png", b"one")
    made.pipe_file("photos/in/.hidden/3.jpg", b"three")
    made.pipe_file("photos/in/empty.png", b"")
    yield made
    Bucket.store.clear()


@pytest.mark.parametrize("scheme", PACKAGES)
def test_every_kind_is_listed_and_read(buckets: Any, scheme: str) -> None:
    root = f"{scheme}://photos/in"
    assert is_in_bucket(f"{root}/") and is_in_bucket(root.replace(scheme, scheme.upper()))
    found = {address: in_folder for address, in_folder, _ in list_bucket(f"{root}/")}
    assert found == {f"{root}/2.jpg": True, f"{root}/deep/1 50%#?.png": True, f"{root}/empty.png": True}
    assert [address for address, _, _ in list_bucket(f"{root}/*.jpg")] == [f"{root}/2.jpg"]
    assert InBucket(f"{root}/deep/1 50%#?.png").read() == b"one"
    assert InBucket(f"{root}/empty.png").read() == b""
    with pytest.raises(ImageError, match=f"{root}/3.jpg: nothing with this address; check the bucket and the path"):
        InBucket(f"{root}/3.jpg").read()
    with pytest.raises(ImageError, match="nothing with this address"):
        list_bucket(f"{root}/none/")


@pytest.mark.parametrize("scheme", PACKAGES)
def test_files_of_a_run_in_every_kind(buckets: Any, scheme: str) -> None:
    storage = Storage(f"{scheme}://photos/out/")
    assert storage.names() == []
    storage.make("_aicli")
    storage.write("_aicli/a.json", b"1")
    storage.write("b", b"2")
    storage.write("b", b"3")
    assert (storage.names(), storage.names("_aicli"), storage.read("b")) == (["_aicli", "b"], ["a.json"], b"3")
    assert (storage.has("b"), storage.has("c")) == (True, False)
    storage.remove("b")
    storage.remove("b")
    assert storage.names() == ["_aicli"]


@pytest.mark.parametrize(
    ("scheme", "missing", "said"),
    [
        ("gs", "gcsfs", "gs:// needs the package gcsfs; run: pip install gcsfs"),
        ("az", "adlfs", "az:// needs the package adlfs; run: pip install adlfs"),
        ("abfs", "adlfs", "abfs:// needs the package adlfs; run: pip install adlfs"),
        ("s3", "s3fs", "s3:// needs the package s3fs; run: pip install s3fs"),
    ],
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, scheme: str, missing: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in registry if name in PACKAGES]:
        monkeypatch.delitem(registry, name)
    with pytest.raises(UnavailableError) as caught:
        InBucket(f"{scheme}://photos/in/1.jpg").read()
    assert str(caught.value) == f"{scheme}://photos/in/1.jpg: {said}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("Unable to load libjvm"), "needs Java and Hadoop's library libhdfs; set JAVA_HOME, HADOOP_HOME and"),
        (OSError("connection refused"), "cannot be read (connection refused); check the address and the credentials"),
        (ValueError("Must provide\nan account"), "cannot be read (Must provide an account); check the address and"),
    ],
)
def test_what_a_package_says_at_once_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    """For want of credentials, or of what it needs itself."""

    def refuse(url: str) -> Any:
        raise error

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises((ImageError, UnavailableError)) as caught:
        list_bucket("hdfs://host/photos/")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_package_warns_of_is_not_printed(buckets: Any, capfd: pytest.CaptureFixture[str]) -> None:
    InBucket("gs://photos/in/2.jpg").read()
    for name in ("gcsfs", "azure.identity._internal", "adlfs", "s3fs"):
        assert any(logger.handlers for logger in (logging.getLogger(name), logging.getLogger(name.partition(".")[0])))
    assert capfd.readouterr().err == ""
