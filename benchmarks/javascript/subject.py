"""Python as ``subject.cjs``: python subject.py THREADS."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from aicli import Classifier, FaceDetector, __version__

PHOTOS = json.loads(os.environ["PHOTOS"])


def rss() -> int:
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    threads = int(sys.argv[1])
    classifier, detector = Classifier(threads=threads), FaceDetector(threads=threads)

    def faces(path: str) -> Any:
        return [list(face.box) for face in detector(path).faces]

    calls = {"labels": lambda path: classifier(path).predictions[0].label, "face": faces, "group": faces}
    print(json.dumps({"said": __version__, "answers": {kind: calls[kind](PHOTOS[kind]) for kind in calls}}), flush=True)
    for line in sys.stdin:
        kind, count = line.split()
        times = []
        for _ in range(int(count)):
            begun = time.perf_counter()
            calls[kind](PHOTOS[kind])
            times.append(1000 * (time.perf_counter() - begun))
        print(json.dumps({"times": times, "rss": rss()}), flush=True)


main()
