"""Requests made from the OpenAPI document by schemathesis: none may break the service."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.serve.conftest import TOKEN, Server

EXAMPLES = os.environ.get("AICLI_FUZZ_EXAMPLES", "8")
SEED = os.environ.get("AICLI_FUZZ_SEED", "1")
"""The same requests in every run, so that a failure is the change's; other numbers search on."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("schemathesis") is None, reason="needs schemathesis")
def test_fuzzed_requests(server: Server, photo: bytes) -> None:
    arguments = [
        f"{server.url}/openapi.json",
        "--checks",
        CHECKS,
        "-n",
        EXAMPLES,
        "--phases",
        "coverage,fuzzing",
        "--seed",
        SEED,
    ]
    arguments += ["-H", f"Authorization: Bearer {TOKEN}", "--max-failures", "5", "--no-color", "--workers", "2"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "schemathesis.cli", "run", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    assert server.events("unhandled") == []
    assert server.ask("POST", "/v1/classify", photo).status == 200
