"""``aicli train``."""

from __future__ import annotations

from pathlib import Path

import click

from aicli.cli.options import option_command
from aicli.options import TrainFiles, TrainOptions

__all__ = ["command"]


@option_command("train")
def command(files: TrainFiles, options: TrainOptions) -> int:
    """Train a classifier on your own photos.

    \b
        aicli train photos/ -o birds.tflite            (photos/wren/*.jpg, photos/robin/*.jpg, ...)
        aicli train photos.csv -o birds.tflite --report birds.html
        aicli train photos/ -o birds.tflite --augment --negative others/ --base dog_breeds
        aicli classify -m birds.tflite new.jpg

    A new last layer is fitted to what the base says of each photo, so that seconds and a few dozen photos of each class
    are enough. The file needs no label file. Photos are a folder with a folder for each class, or a .csv or .jsonl list
    of path and label. A photo that cannot be read is named and left out, and the exit code is 1.
    """
    from aicli.cli.console import complain
    from aicli.cli.outcome import one_source, read_share, report_writer, show_outcome, shown_progress
    from aicli.errors import AicliError
    from aicli.training.train import train

    source = one_source(files.photos, "aicli train photos/ -o model.tflite")
    if files.output is None:
        raise click.UsageError("say where to write the model: -o model.tflite")
    write = report_writer(files.report)
    chosen = options.replace(validation=read_share(options.validation))
    with shown_progress(files.quiet) as progress:
        reports = [] if files.report is None else [files.report]
        trained = train(source, Path(files.output), progress=progress, also_written=reports, **chosen.keywords())
    show_outcome(trained, files.format, quiet=files.quiet)
    try:
        write(trained)
    except AicliError as error:
        complain(f"the model is written, its report is not: {error}")
        return 1
    return 1 if trained.failures else 0
