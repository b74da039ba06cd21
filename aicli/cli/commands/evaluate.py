"""``aicli evaluate``."""

from __future__ import annotations

from aicli.cli.options import given, option_command
from aicli.options import ClassifierOptions, EvaluateOptions, OutcomeOptions

__all__ = ["command"]


@option_command("evaluate")
def command(files: OutcomeOptions, reading: EvaluateOptions, options: ClassifierOptions) -> int:
    """Measure a classifier on labelled photos.

    \b
        aicli evaluate -m birds.tflite test-photos/    (test-photos/wren/*.jpg, ...)
        aicli evaluate test.csv --report report.html
        aicli evaluate imagenet/ --wordnet-ids ids.txt (imagenet/n01440764_tench.jpg, ...)

    Says the accuracy with its 95 % interval, the mean recall of the classes, precision and recall of each, and what is
    taken for what. Photos are a folder with a folder for each class, or a .csv or .jsonl list of path and label.
    """
    from aicli.cli.outcome import one_source, report_writer, show_outcome, shown_progress
    from aicli.training.evaluation import evaluate

    source = one_source(files.photos, "aicli evaluate -m model.tflite photos/")
    write = report_writer(files.report)
    if given("model") and not options.isolate:
        from aicli.cli.last_words import name_when_killed

        name_when_killed(str(options.model))
    with shown_progress(files.quiet) as progress:
        reports = [] if files.report is None else [files.report]
        outcome = evaluate(
            photos=source, progress=progress, also_written=reports, **options.keywords(), **reading.keywords()
        )
    show_outcome(outcome, files.format, quiet=files.quiet)
    write(outcome)
    return 1 if outcome.failures else 0
