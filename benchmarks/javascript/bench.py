"""The JavaScript package beside Python and what npm has, in one run; memory over 1,000 photos; a browser's start.

python benchmarks/javascript/bench.py speed memory browser report    (needs: make js, and npm for the peers)

Each part takes some minutes and leaves its numbers in build/javascript; `report` writes report.md of those there.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from benchmarks.javascript.report import write

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
BUILD = PROJECT / "build" / "javascript"
SHARED = PROJECT.parent / "shared"
HOPPER = PROJECT / "examples" / "grace_hopper.jpg"
SOLVAY = SHARED / "images" / "solvay.jpg"
PEOPLE = SHARED / "expected" / "solvay.mtcnn_pb.json"
PHOTOS = {"labels": str(HOPPER), "face": str(HOPPER), "group": str(SOLVAY)}
SUBJECTS = {
    "Python, 1 thread": ("python", 1),
    "Python, 2 threads": ("python", 2),
    "Node.js, native, 1 thread": ("native", 1),
    "Node.js, native, 2 threads": ("native", 2),
    "Node.js, LiteRT.js": ("wasm", 1),
    "@vladmandic/face-api, SSD": ("face-api-ssd", 1),
    "@vladmandic/face-api, tiny": ("face-api-tiny", 1),
    "@vladmandic/human, BlazeFace": ("human", 1),
    "nsfwjs, MobileNetV2, WebAssembly": ("nsfwjs-wasm", 1),
    "nsfwjs, MobileNetV2, plain JavaScript": ("nsfwjs-cpu", 1),
}
ROUNDS = 12
SLOW = 500  # ms: one call a round is enough


class Subject:
    """A package in its process."""

    def __init__(self, name: str) -> None:
        kind, threads = SUBJECTS[name]
        command = ["node", str(HERE / "subject.cjs"), kind, str(threads), str(BUILD)]
        if kind == "python":
            command = [sys.executable, str(HERE / "subject.py"), str(threads)]
        environment = {**os.environ, "PHOTOS": json.dumps(PHOTOS)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        self.first = self._read()
        self.times: dict[str, list[float]] = {case: [] for case in self.first["answers"]}
        self.rss = 0

    def _read(self) -> Any:
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        found = json.loads(line) if line else {"failed": self.process.stderr.read()[-300:]}
        if "failed" in found:
            raise RuntimeError(found["failed"])
        return found

    def run(self, case: str, count: int) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{case} {count}\n")
        self.process.stdin.flush()
        found = self._read()
        self.times[case] += found["times"]
        self.rss = max(self.rss, found["rss"])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def same(one: list[float], other: list[float]) -> bool:
    """Whether two boxes are around one face: intersection over union above 0.2, as packages cut faces differently."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return False
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height) > 0.2


def checked(answers: dict[str, Any]) -> dict[str, Any]:
    """What the answers are worth: the label, the faces of the one and the 29 people, boxes around nobody."""
    people = [person["box"] for person in json.loads(PEOPLE.read_text())]
    found: dict[str, Any] = {"labels": answers.get("labels")}
    if "group" in answers:
        boxes = answers["group"]
        found["face"] = len(answers["face"])
        found["people"] = sum(any(same(person, box) for box in boxes) for person in people)
        found["others"] = sum(not any(same(person, box) for person in people) for box in boxes)
    return found


def speed() -> dict[str, Any]:
    install()
    subjects: dict[str, Subject] = {}
    failed = {}
    with ExitStack() as stack:
        for name in SUBJECTS:
            try:
                subjects[name] = Subject(name)
                stack.callback(subjects[name].close)
            except RuntimeError as error:
                failed[name] = str(error)
        for round_number in range(ROUNDS + 1):
            for case in PHOTOS:
                for subject in subjects.values():
                    if case in subject.times:
                        slow = subject.times[case] and statistics.median(subject.times[case]) > SLOW
                        subject.run(case, 1 if slow else 4)
            if round_number == 0:  # the first round warms up
                for subject in subjects.values():
                    subject.times = {case: [] for case in subject.times}
    rows = {
        name: {
            "said": subject.first["said"],
            "check": checked(subject.first["answers"]),
            "median": {case: statistics.median(times) for case, times in subject.times.items()},
            "rss": subject.rss,
        }
        for name, subject in subjects.items()
    }
    return {"rows": rows, "failed": failed, "node": output("node", "--version"), "rounds": ROUNDS}


def install() -> None:
    """Installs the peers from npm, without their install scripts."""
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (BUILD / "node_modules" / "nsfwjs").is_dir():
        shutil.copy(HERE / "package.json", BUILD)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=BUILD, check=True)


def output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


MEMORY = """
const { FaceDetector, Classifier } = require(process.argv[1]);
const photos = process.argv.slice(3);
(async () => {
  const options = { engine: process.argv[2], threads: 1 };
  const [detector, classifier] = [await FaceDetector.load({ ...options, minSize: 40 }), await Classifier.load(options)];
  const found = {};
  for (let index = 1; index <= 1000; index++) {
    const photo = photos[index % photos.length];
    await detector.detect(photo);
    await classifier.classify(photo);
    if ([50, 100, 250, 500, 750, 1000].includes(index)) found[index] = process.memoryUsage().rss;
  }
  console.log(JSON.stringify(found));
})();
"""


def memory() -> dict[str, Any]:
    """Resident bytes of a process after so many photos, each looked at for faces and labels."""
    photos = [str(PROJECT / "examples" / name) for name in ("grace_hopper.jpg", "chelsea.png", "astronaut.png")]
    return {
        engine: json.loads(output("node", "-e", MEMORY, str(PROJECT / "js"), engine, *photos))
        for engine in ("native", "wasm")
    }


FIRST = """
const done = arguments[arguments.length - 1], [task] = arguments;
const begun = performance.now();
import("/aicli/index.js").then(async ({ FaceDetector, Classifier }) => {
  const loaded = await (task === "faces" ? FaceDetector : Classifier).load();
  const ready = performance.now() - begun;
  const call = () => (task === "faces" ? loaded.detect("/photo.jpg") : loaded.classify("/photo.jpg"));
  const found = await call();
  const first = performance.now() - begun;
  const times = [];
  for (let index = 0; index < 12; index++) {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  }
  times.sort((one, other) => one - other);
  done({ ready, first, warm: times[6], found: found.faces?.length ?? found.predictions[0].label });
}).catch((error) => done({ error: String(error) }));
"""
PAGE = """
const done = arguments[arguments.length - 1], [data] = arguments;
const status = document.getElementById("status");
const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
document.getElementById("drop").dispatchEvent(event);
const look = () => /found/.test(status.textContent) && done({ first: performance.now(), found: status.textContent });
new MutationObserver(look).observe(status, { childList: true, characterData: true, subtree: true });
look();
"""


def browser() -> dict[str, Any]:
    """Milliseconds to the first answer in Chromium: with an empty profile, and in the same profile opened once more."""
    import base64

    from aicli.page.site import write_site
    from tests.chromium import start_chromium

    photo = base64.b64encode(HOPPER.read_bytes()).decode()
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        site = write_site(Path(folder) / "site").folder
        (site / "empty.html").write_text("<!doctype html><title>empty</title>")
        shutil.copy(HOPPER, site / "photo.jpg")
        with serving(site) as url:
            for number in range(4):
                for task in ("faces", "labels", "page"):
                    profile = Path(folder) / f"{task}{number}"
                    for state in ("cold", "warm"):
                        driver = start_chromium(profile)
                        try:
                            if task == "page":
                                driver.get(url)
                                answer = driver.execute_async_script(PAGE, photo)
                                version = driver.capabilities["browserVersion"]
                            else:
                                driver.get(f"{url}empty.html")
                                answer = driver.execute_async_script(FIRST, task)
                        finally:
                            driver.quit()
                        found.setdefault(f"{task} {state}", []).append(answer)
    return {"runs": found, "chromium": version}


@contextmanager
def serving(site: Path) -> Iterator[str]:
    """`python3 -m http.server`, which compresses nothing, on the loopback."""
    command = [sys.executable, "-u", "-m", "http.server", "--directory", str(site), "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().split("(")[1].split(")")[0]
        server.kill()


def main() -> None:
    parts = {"speed": speed, "memory": memory, "browser": browser}
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or [*parts, "report"]:
        if name == "report":
            write(BUILD, HERE / "report.md")
        else:
            (BUILD / f"{name}.json").write_text(json.dumps(parts[name](), indent=1))


if __name__ == "__main__":
    main()
