"""The report of a training or an evaluation, as a page of its own, Markdown or JSON; written for people new to it."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from aicli._files import write_file
from aicli._text import counted
from aicli.errors import AicliError, UsageError
from aicli.image.decode import DEFAULT_MAX_PIXELS, open_image
from aicli.training.evaluation import Evaluation
from aicli.training.fitting import Training
from aicli.training.scoring import Scores

__all__ = ["FORMATS", "data_address", "page", "small_jpeg", "write_report"]

FORMATS = (".html", ".md", ".json")
MOST_CLASSES = 40
"""Classes beyond which the picture of the confusion matrix would not be readable; the table has the worst pairs."""
PAIRS = 20
WIDE = 0.1
"""An interval wider than this is worth a word."""
THUMBNAIL = 160

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #8884; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0 1rem 1rem 0; width: 11rem; vertical-align: top; font-size: .85rem; }
figure img { max-width: 100%; max-height: 160px; }
.big { font-size: 2.5rem; font-weight: 600; margin: 0; }
.big small { font-size: 1rem; font-weight: 400; }
svg text { font-size: 11px; fill: currentColor; }
.scroll { overflow-x: auto; }
"""

EXPLAINED = (
    "Recall: of the photos of a class, how many were named so. Precision: of the photos named so, how many are of the "
    "class."
)
CALIBRATION = (
    "Whether scores can be believed: photos in groups by the score of their answer, and how many of each were right. "
    "Of answers with 0.9 nine in ten should be; where more are, scores are too modest, where fewer, too sure."
)

Outcome = Training | Evaluation


def small_jpeg(photo: str | bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """A small JPEG of a photo, named or in memory; empty for one that has gone."""
    try:
        image: Any = open_image(photo, min_size=THUMBNAIL, max_pixels=max_pixels).to_pil()
    except AicliError:
        return b""
    image.thumbnail((2 * THUMBNAIL, THUMBNAIL))
    image.info.clear()
    target = io.BytesIO()
    image.save(target, "JPEG", quality=80)
    return target.getvalue()


def data_address(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode() if jpeg else ""


def thumbnail_of(path: str) -> str:
    return data_address(small_jpeg(path))


def write_report(outcome: Outcome, path: Path) -> None:
    """Writes the report in the format that the suffix names. Raises :class:`UsageError` for another suffix."""
    kind = path.suffix.lower()
    if kind == ".json":
        text = json.dumps(outcome.to_dict(), indent=2, ensure_ascii=False) + "\n"
    elif kind == ".md":
        text = "\n".join(markdown(outcome)) + "\n"
    elif kind == ".html":
        text = "\n".join(page(outcome)) + "\n"
    else:
        raise UsageError(f"{path}: a report is one of {', '.join(FORMATS)}, by its suffix")
    write_file(path, text.encode("utf-8", "backslashreplace"))


def title(outcome: Outcome) -> str:
    name = outcome.output if isinstance(outcome, Training) else outcome.model
    return f"{Path(name).name}: {'training' if isinstance(outcome, Training) else 'evaluation'}"


def summary(outcome: Outcome) -> list[str]:
    """What the numbers mean, in sentences."""
    scores = outcome.scores
    accuracy = scores.accuracy
    where = f" ({outcome.measured_on})" if isinstance(outcome, Training) else ""
    were = "was" if scores.photos == 1 else "were"
    lines = [
        f"{scores.right} of {counted(scores.photos, 'photo')} {were} named rightly{where}. Another set of photos "
        f"of the same kind would, with 95 % confidence, give between {accuracy.low:.1%} and {accuracy.high:.1%}.",
    ]
    if len(scores.labels) > 5:
        lines.append(f"For {scores.top_5.value:.1%} the right class is among the five best.")
    if scores.photos:
        lines.append(
            f"The mean of the recalls of all classes, where rare ones count as much, is {scores.mean_recall:.1%}."
        )
        lines.append(
            f"A score is off by {scores.calibration_error:.1%} on average from how often such answers are right; "
            "0 would be perfect."
        )
    if isinstance(outcome, Training):
        lines.append(f"The base is {outcome.base}; what its features cannot tell apart, no training of this kind can.")
    return lines


def advice(outcome: Outcome) -> list[str]:
    """What to do next, where the numbers say it."""
    scores, found = outcome.scores, []
    if isinstance(outcome, Training) and outcome.suspects:
        found.append(
            "Look at the photos that may be mislabelled. Move those that lie in the wrong folder, then train again."
        )
    weak = min((item for item in scores.classes() if item.photos), key=lambda item: item.recall, default=None)
    if weak is not None and weak.recall < 1:
        taken = max(
            ((count, best) for (label, best), count in scores.confusion.items() if label == weak.label != best),
            default=(0, ""),
        )[1]
        found.append(
            f"The class {weak.label} is found least often: {weak.right} of its {counted(weak.photos, 'photo')}. The "
            f"others are most often taken for {taken}; more photos of both, such as those below, help most."
        )
    if scores.photos and scores.accuracy.high - scores.accuracy.low > WIDE:
        few = counted(scores.photos, "photo")
        found.append(f"The interval is wide, since it comes from {few} only; with more it is narrower.")
    return found


def pairs(scores: Scores) -> list[tuple[str, str, int]]:
    """The confusions, the most frequent first."""
    wrong = [(label, best, count) for (label, best), count in scores.confusion.items() if label != best]
    return sorted(wrong, key=lambda item: (-item[2], item[0], item[1]))[:PAIRS]


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def markdown(outcome: Outcome) -> Iterator[str]:
    def row(*cells: object) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    scores = outcome.scores
    yield f"# {title(outcome)}"
    yield ""
    yield f"**Accuracy {scores.accuracy}**"
    for line in summary(outcome):
        yield from ("", line)
    if steps := advice(outcome):
        yield from ("", "## What to do next", "", *(f"- {step}" for step in steps))
    yield from ("", "## Classes", "", EXPLAINED, "", row("class", "photos", "recall", "precision"), row(*["---"] * 4))
    for item in scores.classes():
        yield row(item.label, item.photos, percent(item.recall), percent(item.precision))
    if confusions := pairs(scores):
        yield from ("", "## Confusions", "", row("photo of", "named", "photos"), row(*["---"] * 3))
        yield from (row(*confusion) for confusion in confusions)
    yield from ("", "## Calibration", "", CALIBRATION, "", row("score", "photos", "right"), row(*["---"] * 3))
    for count, total, right in scores.bins:
        if count:
            yield row(f"{total / count:.2f}", int(count), percent(right / count))
    for heading, doubts in lists(outcome):
        yield from ("", f"## {heading}", "", row("photo", "label", "answer", "score"), row(*["---"] * 4))
        yield from (row(*doubt) for doubt in doubts)
    if remarks := notes(outcome):
        yield from ("", "## Notes", "", *(f"- {note}" for note in remarks))


def lists(outcome: Outcome) -> Iterator[tuple[str, Sequence[tuple[str, str, str, float]]]]:
    if outcome.mistakes:
        yield "The worst mistakes", outcome.mistakes
    if isinstance(outcome, Training) and outcome.suspects:
        yield "Photos that may be mislabelled", outcome.suspects


def notes(outcome: Outcome) -> list[str]:
    return [*outcome.notes, *(f"left out: {failure.bare}" for failure in outcome.failures[:50])]


def page(outcome: Outcome, thumbnail: Callable[[str], str] = thumbnail_of) -> Iterator[str]:
    """The lines of the page; ``thumbnail`` gives the address of a small picture of a photo."""
    scores = outcome.scores
    yield "<!doctype html>"
    yield f'<html lang="en"><meta charset="utf-8"><title>{escape(title(outcome))}</title><style>{STYLE}</style>'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<h1>{escape(title(outcome))}</h1>"
    yield f'<p class="big">{scores.accuracy.value:.1%} <small>of the photos were named rightly</small></p>'
    yield from (f"<p>{escape(line)}</p>" for line in summary(outcome))
    if steps := advice(outcome):
        yield "<h2>What to do next</h2><ul>" + "".join(f"<li>{escape(step)}" for step in steps) + "</ul>"
    yield f"<h2>Classes</h2><p>{EXPLAINED}</p><table><tr><th>class<th class=n>photos<th class=n>recall"
    yield "<th class=n>precision"
    for item in scores.classes():
        yield f"<tr><td>{escape(item.label)}<td class=n>{item.photos}<td class=n>{percent(item.recall)}"
        yield f"<td class=n>{percent(item.precision)}"
    yield "</table>"
    classes = [item.label for item in scores.classes()]
    if len(classes) <= MOST_CLASSES:
        yield "<h2>Confusion matrix</h2><p>A row for each class that photos have, a column for each answer: "
        yield "what is green was right, what is red was taken for something else.</p>"
        yield f'<div class="scroll">{matrix(scores, classes)}</div>'
    elif confusions := pairs(scores):
        yield "<h2>Confusions</h2><table><tr><th>photo of<th>named<th class=n>photos"
        for label, best, count in confusions:
            yield f"<tr><td>{escape(label)}<td>{escape(best)}<td class=n>{count}"
        yield "</table>"
    yield f"<h2>Calibration</h2><p>{CALIBRATION}</p>"
    yield calibration(scores)
    for heading, doubts in lists(outcome):
        yield f"<h2>{heading}</h2>"
        for path, label, best, score in doubts:
            caption = f"{escape(label)}, named {escape(best)} ({score:.2f})<br>{escape(path)}"
            yield f'<figure><img src="{thumbnail(path)}" alt=""><figcaption>{caption}</figcaption></figure>'
    if remarks := notes(outcome):
        yield "<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}" for note in remarks) + "</ul>"


def matrix(scores: Scores, classes: Sequence[str]) -> str:
    """The confusion matrix as SVG: the darker a cell, the more of the row's photos it has."""
    cell, left, top = 34, 150, 110
    size = cell * len(classes)
    parts = [f'<svg width="{left + size + 80}" height="{top + size + 10}" role="img" aria-label="confusion matrix">']
    photos = {item.label: item.photos for item in scores.classes()}
    parts.append(f'<text x="{left - 6}" y="{top - 6}" text-anchor="end" opacity=".7">photo of ↓ named →</text>')
    for row, label in enumerate(classes):
        y = top + row * cell
        name = escape(label if len(label) <= 22 else label[:21] + "…")
        parts.append(f'<text x="{left - 6}" y="{y + 21}" text-anchor="end">{name}</text>')
        x = left + row * cell + 20
        parts.append(f'<text x="{x}" y="{top - 6}" transform="rotate(-45 {x} {top - 6})">{name}</text>')
        for column, best in enumerate(classes):
            count = scores.confusion[label, best]
            share = count / photos[label] if photos[label] else 0.0
            colour = "34, 139, 84" if row == column else "200, 60, 40"
            x = left + column * cell
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}" fill="rgba({colour}, {share:.3f})" '
                f'stroke="#8886"><title>{escape(label)} named {escape(best)}: {count}</title></rect>'
            )
            if count:
                parts.append(f'<text x="{x + cell / 2}" y="{y + 21}" text-anchor="middle">{count}</text>')
    return "".join(parts) + "</svg>"


def calibration(scores: Scores) -> str:
    """The reliability diagram as SVG: a dot for each tenth of the score, as large as it has photos."""
    side, edge = 240, 40
    parts = [f'<svg width="{side + 2 * edge}" height="{side + 2 * edge}" role="img" aria-label="calibration">']
    parts.append(f'<rect x="{edge}" y="{edge}" width="{side}" height="{side}" fill="none" stroke="#8888"/>')
    parts.append(f'<line x1="{edge}" y1="{edge + side}" x2="{edge + side}" y2="{edge}" stroke="#8888"/>')
    for count, total, right in scores.bins:
        if count:
            x, y = edge + side * total / count, edge + side * (1 - right / count)
            radius = 3 + 12 * math.sqrt(count / scores.photos)
            text = f"{counted(int(count), 'photo')}, score {total / count:.2f}, right {right / count:.1%}"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="rgba(34, 139, 84, 0.5)">')
            parts.append(f"<title>{text}</title></circle>")
    for value in (0, 0.5, 1):
        parts.append(f'<text x="{edge + side * value}" y="{edge + side + 16}" text-anchor="middle">{value}</text>')
        parts.append(f'<text x="{edge - 8}" y="{edge + side * (1 - value) + 4}" text-anchor="end">{value:.0%}</text>')
    parts.append(f'<text x="{edge + side / 2}" y="{edge + side + 34}" text-anchor="middle">score</text>')
    parts.append(f'<text x="{edge}" y="{edge - 12}">answers that are right</text>')
    return "".join(parts) + "</svg>"
