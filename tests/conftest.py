"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aicli.nn.engines import installed_engines
from aicli.wasm import installed_runtimes

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"
EXAMPLES = PROJECT / "examples"


def require_shared() -> Path:
    """The folder of large test data beside the project; skips where it is absent, fails where CI demands it."""
    if SHARED.is_dir():
        return SHARED
    if os.environ.get("AICLI_REQUIRE_SHARED") == "1":
        pytest.fail(f"AICLI_REQUIRE_SHARED=1, but there is no folder {SHARED.name} beside the project")
    pytest.skip("needs the folder of test data beside the project")


@pytest.fixture(scope="session")
def shared() -> Path:
    return require_shared()


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES


@pytest.fixture(scope="session", params=installed_runtimes())
def runtime(request: pytest.FixtureRequest) -> str:
    """Each installed WebAssembly runtime in turn."""
    return str(request.param)


@pytest.fixture(scope="session", params=installed_engines())
def engine(request: pytest.FixtureRequest) -> str:
    """Each installed TFLite engine in turn."""
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def isolated_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the models and the cache of whoever runs it, nor is swayed by their settings."""
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("AICLI_") and not name.startswith("AICLI_REQUIRE")]:
        if name != "AICLI_NETWORK_TESTS":
            patch.delenv(name)
    patch.setenv("AICLI_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("AICLI_MODELS_DIR", str(tmp_path_factory.mktemp("models")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A client of S3 with an empty bucket ``photos``, on a server of its own on loopback, which the environment names.

    A cluster is asked for after it: the cluster's processes get the address from the environment.
    """
    try:
        import boto3
        import moto.server as server_module
        import s3fs  # noqa: F401
    except ImportError as error:
        if os.environ.get("AICLI_REQUIRE_S3") == "1":
            pytest.fail(f"AICLI_REQUIRE_S3=1, but {error}")
        pytest.skip(f"needs the extra test-s3 ({error})")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    yield client
    patch.undo()
    server.stop()
