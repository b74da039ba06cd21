"""Counters and histograms in Prometheus' text format (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

__all__ = ["Metrics"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
HELP = {
    "aicli_requests_total": ("counter", "Requests answered, by route, method and status."),
    "aicli_request_seconds": ("histogram", "Time from the request's headers to the end of the answer."),
    "aicli_received_bytes_total": ("counter", "Bytes of request bodies."),
    "aicli_rejected_total": ("counter", "Requests refused, by reason."),
    "aicli_worker_restarts_total": ("counter", "Worker processes replaced."),
    "aicli_workers": ("gauge", "Worker processes that are ready."),
    "aicli_workers_busy": ("gauge", "Worker processes at work."),
    "aicli_queue_waiting": ("gauge", "Requests that wait for a worker."),
    "aicli_buffered_bytes": ("gauge", "Bytes of bodies and answers in memory."),
    "process_resident_memory_bytes": ("gauge", "Resident memory of the front process."),
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What the front process counts. Label values come from fixed sets, never from a request."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, list[float]]] = {}

    def add(self, name: str, labels: Mapping[str, str] | None = None, value: float = 1) -> None:
        series = self._values.setdefault(name, {})
        key = tuple((labels or {}).items())
        series[key] = series.get(key, 0) + value

    def set(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self._values.setdefault(name, {})[tuple((labels or {}).items())] = value

    def observe(self, name: str, seconds: float, labels: Mapping[str, str]) -> None:
        series = self._histograms.setdefault(name, {})
        counts = series.setdefault(tuple(labels.items()), [0.0] * (len(BUCKETS) + 2))
        counts[bisect_left(BUCKETS, seconds)] += 1
        counts[-1] += seconds

    def render(self) -> str:
        lines = []
        for name, (kind, text) in HELP.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{braces(labels)} {exact(value)}" for labels, value in self._values.get(name, {}).items()]
            for labels, counts in self._histograms.get(name, {}).items():
                total = 0.0
                for bound, count in zip((*BUCKETS, float("inf")), counts, strict=False):
                    total += count
                    edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                    lines.append(f"{name}_bucket{braces((*labels, ('le', edge)))} {exact(total)}")
                lines += [
                    f"{name}_sum{braces(labels)} {exact(counts[-1])}",
                    f"{name}_count{braces(labels)} {exact(total)}",
                ]
        return "\n".join(lines) + "\n"


def exact(value: float) -> str:
    """All of a number: the shortest text that reads back as the same value, counts without a point."""
    return str(int(value)) if value == int(value) else repr(value)


def braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels) + "}" if labels else ""


def escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
