"""Addresses in buckets of every kind, on file systems in memory: the way to each package, and its absence."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from aicli.cluster.storage import Storage
from aicli.errors import AicliError, ImageError, UnavailableError
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
        (OSError("Unable to load libjvm"), "hdfs:// needs Java, whose libjvm is not found; set JAVA_HOME"),
        (
            OSError("Unable to load libhdfs: ./libhdfs.so: no such file"),
            "hdfs:// needs Hadoop's library libhdfs, which is not found; set ARROW_LIBHDFS_DIR to its folder, or",
        ),
        (OSError("connection refused"), "cannot be read (connection refused); check the address and the credentials"),
        (ValueError("Must provide\nan account"), "cannot be read (Must provide an account); check the address and"),
    ],
)
def test_what_a_package_says_at_once_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    """For want of credentials, or of what it needs itself."""
    monkeypatch.setenv("CLASSPATH", "/opt/hadoop/conf")

    def refuse(url: str) -> Any:
        raise error

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises((ImageError, UnavailableError)) as caught:
        list_bucket("hdfs://host/photos/")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_hdfs_without_hadoop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As Arrow itself says it, where neither Hadoop nor its classes are there."""
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("ARROW_LIBHDFS_DIR", str(tmp_path))
    for name in ("HADOOP_HOME", "JAVA_HOME", "CLASSPATH"):
        monkeypatch.delenv(name, raising=False)
    for ask in (list_bucket, lambda url: InBucket(url).read()):
        with pytest.raises(UnavailableError) as caught:
            ask("hdfs://127.0.0.1:1/photos/1.jpg")
        assert str(caught.value).startswith("hdfs://127.0.0.1:1/photos/1.jpg: hdfs:// needs ")
        assert re.search(
            r"; set (ARROW_LIBHDFS_DIR to its folder, or HADOOP_HOME|JAVA_HOME|CLASSPATH to .*)$", str(caught.value)
        )
        assert "\n" not in str(caught.value)

    def refuse(url: str) -> Any:
        raise OSError("HDFS connection failed")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(
        UnavailableError, match="needs Hadoop's classes; set CLASSPATH to what this says: hadoop classpath"
    ):
        InBucket("hdfs://127.0.0.1:1/photos/1.jpg").read()


class FakeHdfs:
    """As fsspec gives HDFS: a stream has no start to go to, what is not there has no error of its own, and nobody who
    listens is the same to it as nothing there."""

    protocol = "hdfs"

    def __init__(self, up: bool = True) -> None:
        self.files = {"/in/1.jpg": b"photo"}
        self.up = up

    def invalidate_cache(self) -> None: ...

    def _strip_protocol(self, path: str) -> str:
        return path.removeprefix("hdfs://host")

    def isdir(self, path: str) -> bool:
        return False

    def exists(self, path: str) -> bool:
        return self.up and path in self.files

    def info(self, path: str) -> dict[str, Any]:
        if path not in self.files:
            raise FileNotFoundError(path)
        return {"size": len(self.files[path])}

    def ls(self, path: str, detail: bool = True) -> list[Any]:
        if not self.up:
            raise OSError(255, "HDFS list directory failed")
        return []

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, seekable: bool = False) -> bytes:
        if start is not None and not seekable:
            raise OSError("only valid on seekable files")
        return self.files[path][start:end]

    def rm_file(self, path: str) -> None:
        if not self.up or self.files.pop(path, None) is None:
            raise OSError(5, "HDFS delete failed")


def test_the_ways_of_hdfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them was seen on a NameNode and a DataNode of Hadoop 2.7."""
    system = FakeHdfs()
    for module in ("aicli.image.buckets", "aicli.cluster.storage"):
        monkeypatch.setattr(f"{module}.opened", lambda url: (system, system._strip_protocol(url)))
    assert InBucket("hdfs://host/in/1.jpg").read() == b"photo"
    storage = Storage("hdfs://host/in/")
    storage.remove("1.jpg")
    storage.remove("1.jpg")
    with pytest.raises(ImageError, match=r"hdfs://host/in/1\.jpg: nothing with this address"):
        list_bucket("hdfs://host/in/1.jpg")
    system.files["/in/1.jpg"], system.up = b"photo", False
    with pytest.raises(ImageError, match=r"hdfs://host/in/1\.jpg: cannot be read \(\[Errno 255\] HDFS list directory"):
        list_bucket("hdfs://host/in/1.jpg")
    with pytest.raises(AicliError, match="HDFS delete failed"):
        Storage("hdfs://host/in/").remove("1.jpg")


def test_what_a_package_warns_of_is_not_printed(buckets: Any, capfd: pytest.CaptureFixture[str]) -> None:
    InBucket("gs://photos/in/2.jpg").read()
    for name in ("gcsfs", "azure.identity._internal", "adlfs", "s3fs"):
        assert any(logger.handlers for logger in (logging.getLogger(name), logging.getLogger(name.partition(".")[0])))
    assert capfd.readouterr().err == ""
