"""``aicli classify``."""

from __future__ import annotations

from typing import Any

import click

from aicli.cli.options import input_options, output_options, sandbox_keywords, sandbox_options

__all__ = ["command"]


@click.command("classify")
@input_options
@click.option(
    "-m",
    "--model",
    default="efficientnet_lite0",
    show_default=True,
    metavar="NAME|FILE",
    help="A model of the catalog (aicli models list) or a .tflite file.",
)
@click.option("-l", "--labels", metavar="FILE", help="Class names, one a line, for a model that brings none.")
@click.option("-k", "--top", type=click.IntRange(1), metavar="N", help="How many labels to answer.  [default: 5]")
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SCORE",
    help="Leave out labels below this score (0 to 1).",
)
@click.option(
    "--input-range", type=click.Choice(["0,1", "-1,1", "0,255"]), help="The range that the model takes pixels in."
)
@click.option("--resize", type=click.Choice(["squash", "crop", "pad"]), help="How a photo is fitted to the input.")
@click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="The model's channel order.")
@click.option("--output-tensor", type=click.IntRange(0), metavar="N", help="Which output holds the scores.")
@output_options
@sandbox_options
def command(model: str, labels: str | None, top: int | None, format_: str | None, **options: Any) -> int:
    """Say what is in photos.

    \b
        aicli classify photo.jpg
        aicli classify -m my_model.tflite -l labels.txt photos/
        find . -name "*.jpg" -print0 | aicli classify -0 --files-from - -f jsonl

    Text output is PATH, LABEL and SCORE between tabs: the best label only, or as many as -k says.
    """
    from aicli.cli import batch
    from aicli.tasks.classify import Classifier

    inputs = batch.read_inputs(options)
    writer = batch.open_writer(format_, "classify", top_given=top is not None)
    classifier = Classifier(model, labels, top_k=top or 5, **sandbox_keywords(options), **options)
    for note in classifier.model.notes:
        click.echo(f"aicli: note: {note}", err=True)

    def answer(item: Any) -> tuple[Any, dict[str, Any]]:
        return classifier.classify(classifier.open(item.source(), name=item.name)), {}

    return batch.run(inputs, answer, writer)
