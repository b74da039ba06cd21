"""Frozen graphs and saved models, where the extra is installed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aicli.nn.dialects.graphs_process import GraphProcess
from aicli.nn.engines import EngineDied

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.filterwarnings("ignore")

ANSWER = "[1.5, 2.5, 3.5, 4.5] 4\n"


def make_graph() -> Any:
    graph = tf.Graph()
    with graph.as_default():
        a = tf.compat.v1.placeholder(tf.float32, [None, None], name="a")
        b = tf.compat.v1.placeholder(tf.float32, [], name="b")
        tf.add(a, b, name="sum")
        tf.size(a, out_type=tf.int64, name="count")
    return graph


@pytest.mark.parametrize("cfg", [(), ("legacy",)], ids=["current", "legacy"])
def test_a_frozen_graph(build, aicli_run, tmp_path: Path, cfg: tuple[str, ...]) -> None:
    (tmp_path / "graph.pb").write_bytes(make_graph().as_graph_def().SerializeToString())
    done = aicli_run(build("graph", *cfg), "--dir", f"{tmp_path}:.", "graph.pb")
    assert (done.stdout, done.returncode) == (ANSWER, 0), done.stderr
    assert done.stderr == ""


def test_tensorflow_prints_nothing_of_its_own(build, aicli_run, tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(make_graph().as_graph_def().SerializeToString())
    talkative = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_ENABLE_ONEDNN_OPTS": "1"}
    done = aicli_run(build("graph"), "--dir", f"{tmp_path}:.", "graph.pb", **talkative)
    assert (done.stdout, done.stderr) == (ANSWER, "")


def test_a_saved_model(build, aicli_run, tmp_path: Path) -> None:
    graph = make_graph()
    with tf.compat.v1.Session(graph=graph) as session:
        tensors = {name: graph.get_tensor_by_name(f"{name}:0") for name in ("a", "b", "sum")}
        inputs = {"a": tensors["a"], "b": tensors["b"]}
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "saved"), inputs, {"sum": tensors["sum"]})
    done = aicli_run(build("graph"), "--dir", f"{tmp_path}:/models", "--saved", "/models/saved", text="")
    assert done.returncode == 2  # --saved is the guest's own option
    done = aicli_run(build("graph"), "--dir", f"{tmp_path}:/models", "--", "--saved", "/models/saved")
    assert (done.stdout, done.stderr, done.returncode) == (ANSWER, "", 0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to("../saved")
    for path in ("/models/../saved", "/models/link", str(tmp_path / "saved")):
        outside = aicli_run(build("graph"), "--dir", f"{tmp_path / 'other'}:/models", "--", "--saved", path)
        assert outside.stdout == "failed 8\n"


def test_a_graph_cannot_read_files(build, aicli_run, tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        a = tf.compat.v1.placeholder(tf.float32, [None, None], name="a")
        b = tf.compat.v1.placeholder(tf.float32, [], name="b")
        length = tf.strings.length(tf.io.read_file("/etc/passwd"))
        tf.add(a + b, tf.cast(length, tf.float32), name="sum")
        tf.size(a, out_type=tf.int64, name="count")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    done = aicli_run(build("graph"), "--dir", f"{tmp_path}:.", "graph.pb")
    assert done.returncode == 1
    assert "ReadFile" in done.stderr.splitlines()[-1]


def test_a_refused_operation_stays_refused() -> None:
    from aicli.nn.dialects.tensorflow_graphs import TensorflowGraph
    from aicli.nn.session import NnError

    source = tf.Graph()
    with source.as_default():
        tf.strings.length(tf.io.read_file("/etc/passwd"), name="length")
    graph = TensorflowGraph.frozen(source.as_graph_def().SerializeToString())
    for _ in range(2):
        with pytest.raises(NnError, match="ReadFile"):
            graph.run({}, ["length:0"])
    graph.close()


def test_operations_that_never_run_do_no_harm(build, aicli_run, tmp_path: Path) -> None:
    graph = make_graph()
    with graph.as_default():
        tf.io.write_file(str(tmp_path / "evil"), "text")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    assert aicli_run(build("graph"), "--dir", f"{tmp_path}:.", "graph.pb").stdout == ANSWER
    assert not (tmp_path / "evil").exists()


def in_process(folder: Path, seconds: float = 120) -> GraphProcess:
    until = time.monotonic() + seconds
    return GraphProcess([folder], 256 << 20, 2, lambda: until)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_every_thread_of_the_process_is_confined(tmp_path: Path) -> None:
    graphs = in_process(tmp_path)
    graph = graphs.frozen(make_graph().as_graph_def().SerializeToString())
    answers = graph.run({"a:0": np.ones((2, 3), np.float32), "b:0": np.array(1, np.float32)}, ["sum:0", "count:0"])
    assert answers[0].tolist() == [[2.0] * 3] * 2 and answers[1] == 6 and answers[1].shape == ()
    process = graphs._process
    assert process is not None
    for task in Path(f"/proc/{process._process.pid}/task").iterdir():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1"
        assert ("seccomp" in process.layers) == (status["Seccomp"] == "2")


def test_a_graph_without_end_is_ended_at_the_deadline(tmp_path: Path) -> None:
    source = tf.Graph()
    with source.as_default():
        start = tf.compat.v1.placeholder(tf.float32, [], name="start")
        tf.identity(tf.while_loop(lambda x: x < 2.0, lambda x: x * 1.0, [start]), name="end")
    graphs = in_process(tmp_path)
    graph = graphs.frozen(source.as_graph_def().SerializeToString())
    until = time.monotonic() + 1
    assert graphs._process is not None
    graphs._process._deadline = lambda: until
    with pytest.raises(EngineDied, match="within the guest's time"):
        graph.run({"start:0": np.array(1, np.float32)}, ["end:0"])
    assert time.monotonic() < until + 20
    with pytest.raises(EngineDied):
        graph.check_tensor("end:0")


def test_what_does_not_consist_of_numbers_stays_there(tmp_path: Path) -> None:
    source = tf.Graph()
    with source.as_default():
        tf.constant(["text"], name="text")
    (answer,) = in_process(tmp_path).frozen(source.as_graph_def().SerializeToString()).run({}, ["text:0"])
    assert answer.dtype == object and answer.shape == () and answer[()] is None


def test_no_graph(build, aicli_run, tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(b"\xff" * 100)
    assert aicli_run(build("graph"), "--dir", f"{tmp_path}:.", "graph.pb").stdout == "failed 1\n"
