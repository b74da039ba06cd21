"""What ``train`` and ``evaluate`` share: one source of labelled photos, progress, and how the outcome is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aicli.cli.console import complain, told

if TYPE_CHECKING:
    from aicli.training.evaluation import Evaluation
    from aicli.training.fitting import Training
    from aicli.training.scoring import Scores

__all__ = ["one_source", "read_share", "report_writer", "show_outcome", "shown_progress"]

MOST_COLUMNS = 12
"""Classes beyond which the confusion matrix is too wide for a terminal; the report has it."""


def one_source(photos: Sequence[str], example: str) -> str:
    if len(photos) != 1:
        raise click.UsageError(f"name one folder with a folder of photos for each class, or one list: {example}")
    return photos[0]


def read_share(text: object) -> float | str | Path | None:
    """``0.2`` as a number; anything else is the name of a folder or list."""
    if not isinstance(text, str):
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        return text


def report_writer(name: str | None) -> Callable[[Training | Evaluation], None]:
    """What writes the report, checked before the work begins."""
    if name is None:
        return lambda _: None
    from aicli.training.report import FORMATS, write_report
    from aicli.training.train import require_folder

    path = Path(name)
    if path.suffix.lower() not in FORMATS:
        raise click.UsageError(f"{name}: a report is one of {', '.join(FORMATS)}, by its suffix")
    require_folder(path)
    return lambda outcome: write_report(outcome, path)


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Callable[[int, int, int], None]]:
    """A function to call with the photos done, failed and in all, for the line on a terminal."""
    from aicli.cli.batch.progress import Progress

    line = Progress(not quiet)

    def show(done: int, failed: int, total: int) -> None:
        line.total = total
        line.show(done, failed)

    try:
        yield show
    finally:
        line.hide()


def show_outcome(outcome: Training | Evaluation, format: str, *, quiet: bool) -> None:
    """The outcome on standard output; failures, and without ``quiet`` notes, on standard error."""
    from aicli.training.fitting import Training

    for failure in outcome.failures:  # train has none of the options that help a classifier with a photo
        complain(failure.bare if isinstance(outcome, Training) else told(failure.error))
    if not quiet:
        for note in outcome.notes:
            complain(f"note: {told(note)}")
    if format == "json":
        click.echo(json.dumps(outcome.to_dict(), ensure_ascii=False))
    else:
        click.echo(str(outcome))
        click.echo(averages(outcome.scores))
        for line in table(outcome.scores):
            click.echo(line)


def averages(scores: Scores) -> str:
    """The measures of the whole set in one line."""
    from aicli.training.report import percent

    top_5 = f"top-5 {percent(scores.top_5.value)}, " if len(scores.labels) > 5 else ""
    return f"{top_5}mean recall {percent(scores.mean_recall)}, calibration error {percent(scores.calibration_error)}"


def table(scores: Scores) -> Iterator[str]:
    """Precision and recall of each class, and for a few classes the confusion matrix."""
    from aicli.cli.model_tables import aligned
    from aicli.training.report import percent

    classes = scores.classes()
    rows = [["CLASS", "PHOTOS", "RECALL", "PRECISION"]]
    rows += [[item.label, str(item.photos), percent(item.recall), percent(item.precision)] for item in classes]
    if len(classes) <= MOST_COLUMNS:
        rows[0] += ["NAMED AS:", *(item.label[:12] for item in classes)]
        for row, item in zip(rows[1:], classes, strict=True):
            row += ["", *(str(scores.confusion[item.label, other.label] or ".") for other in classes)]
    yield from ("", aligned(rows))
