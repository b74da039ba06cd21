"""What holds of engine processes on other systems than Linux, tried here as if this were one of them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from aicli.errors import UnavailableError
from aicli.nn.engines import load_engine
from aicli.nn.isolation.engine import IsolatedEngine, can_isolate
from aicli.nn.session import Session
from aicli.nn.values import Errno, NnError
from tests import made_models as made

BIG = 1 << 30


def test_without_a_way_to_hand_over_files_a_guests_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: sockets carry no open files. Nothing runs a stranger's model in this process instead."""
    monkeypatch.delattr(socket, "send_fds")
    assert not can_isolate()
    engine = load_engine()
    with pytest.raises(UnavailableError, match="a process of its own, which this system lacks"):
        IsolatedEngine(engine, BIG).start()
    session = Session(
        engine, {"uploaded": made.identity(), "mine": made.identity()}, 1, foreign=frozenset({"uploaded"})
    )
    with pytest.raises((UnavailableError, NnError)) as caught:
        session.load(made.identity(), 4)
    assert not isinstance(caught.value, NnError) or caught.value.errno is Errno.RUNTIME_ERROR
    with pytest.raises((UnavailableError, NnError)):
        session.init_execution_context(session.load_by_name("uploaded"))


def confined_as(platform: str) -> dict[str, object]:
    """Confines a fresh process that believes to be on ``platform``; what it says of itself afterwards."""
    code = """
import json, resource, sys
from aicli.nn.isolation import confine
sys.platform = sys.argv[1]
if sys.platform == "darwin":  # there is no /proc
    import builtins
    was = builtins.open
    builtins.open = lambda path, *rest: was("/nowhere" if str(path).startswith("/proc") else path, *rest)
# Behind the doors of Linux nobody may ask for limits any more.
layers = confine.confine(1 << 30) if sys.platform == "darwin" else confine.limit_resources(1 << 30)
names = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
print(json.dumps({"layers": layers, **{name: resource.getrlimit(getattr(resource, name))[0] for name in names}}))
"""
    done = subprocess.run([sys.executable, "-c", code, platform], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="compares another system with this one")
def test_macos_has_the_limits_of_posix_and_none_on_memory() -> None:
    here, there = confined_as("linux"), confined_as("darwin")
    for name, most in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", 64)):
        assert here[name] == there[name] == most
    assert isinstance(here["RLIMIT_AS"], int) and 0 < here["RLIMIT_AS"] < 1 << 40
    assert there["RLIMIT_AS"] != here["RLIMIT_AS"] and there["layers"] == []
