"""``aicli classify``."""

from __future__ import annotations

from typing import Any

import click

from aicli.cli.options import (
    complete_models,
    input_options,
    output_options,
    pull_option,
    run_keywords,
    sandbox_keywords,
    sandbox_options,
)

__all__ = ["command"]


@click.command("classify")
@input_options
@click.option(
    "-m",
    "--model",
    default="efficientnet_lite0",
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=complete_models("classify"),
    help="A model of the catalog (aicli models list) or a .tflite file.",
)
@pull_option
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
@click.option("-o", "--output", metavar="FILE|FOLDER", help="Write the photo with its label here.")
@click.option("--group", metavar="FOLDER", help="Put each photo into FOLDER/LABEL/.")
@click.option("--move", "how", flag_value="move", help="With --group: move the photos.")
@click.option("--copy", "how", flag_value="copy", default=True, help="With --group: copy them (the default).")
@click.option("--link", "how", flag_value="link", help="With --group: make symbolic links.")
@click.option("--dry-run", is_flag=True, help="With --group: show the plan and touch no file.")
@click.option("--sheet", metavar="FILE", help="Write a contact sheet: thumbnails with label and score.")
@output_options
@sandbox_options
def command(top: int | None, **options: Any) -> int:
    """Say what is in photos.

    \b
        aicli classify photo.jpg
        aicli classify -m my_model.tflite -l labels.txt photos/
        aicli classify photos/ -O photos.jsonl --resume
        aicli classify photos/ --group sorted --link --dry-run
        find . -name "*.jpg" -print0 | aicli classify -0 --files-from - -f jsonl

    Text output is PATH, LABEL and SCORE between tabs: the best label only, or as many as -k says.
    """
    from aicli.cli.batch.run import Batch, RunOptions
    from aicli.cli.batch.sources import Sources
    from aicli.cli.batch.work import ClassifyRecipe, Pictures
    from aicli.cli.pulling import pull_if_absent

    sources = Sources(options)
    extras = Extras(sources, options)
    sandbox = sandbox_keywords(options)
    run = RunOptions(threads=sandbox["threads"], **run_keywords(options))
    pull_if_absent(options["model"], options.pop("pull"))
    keywords = {**options, **sandbox, "top_k": top or 5}

    def recipe(threads: int | None) -> ClassifyRecipe:
        return ClassifyRecipe({**keywords, "threads": threads}, Pictures(thumbnail=extras.sheet is not None))

    return Batch(
        "classify",
        sources,
        run,
        recipe,
        top_given=top is not None,
        places=extras.places,
        after=extras.after,
        finish=extras.finish,
        plans=extras.shows_plan,
    ).run()


class Extras:
    """What classify does beside answering: labelled photos, groups, a contact sheet."""

    def __init__(self, sources: Any, options: dict[str, Any]) -> None:
        output, group = options.pop("output"), options.pop("group")
        how, dry_run, sheet = options.pop("how"), options.pop("dry_run"), options.pop("sheet")
        self.shows_plan = bool(group and dry_run)
        self.target = self.grouping = self.sheet = None
        if group is None and (dry_run or how not in (None, "copy", True)):
            raise click.UsageError("--move, --link and --dry-run belong to --group FOLDER")
        if output is not None:
            from aicli.cli.batch.pictures import PictureTarget

            self.target = PictureTarget(output, sources)
        if group is not None:
            from aicli.cli.batch.grouping import Grouping

            sources.exclude(group)
            self.grouping = Grouping(group, how if isinstance(how, str) else "copy", dry_run=dry_run)
        if sheet is not None:
            from aicli.cli.batch.sheets import SheetFile

            sources.refuse_as_output(sheet)
            self.sheet = SheetFile(sheet)

    def places(self, name: str, path: Any) -> dict[str, str]:
        return {} if self.target is None else {"picture": self.target(name, path)}

    def after(self, job: Any, done: Any) -> dict[str, Any]:
        best = done.result.best
        if self.sheet is not None and done.thumbnail is not None:
            self.sheet.add(job.name, done.thumbnail, f"{best.label} {best.score * 100:.0f}%" if best else "no label")
        if self.grouping is None:
            return {}
        source = None if isinstance(job.source, bytes) else job.source
        return {"group": self.grouping.place(source, best.label if best else None)}

    def finish(self) -> None:
        if self.sheet is not None:
            self.sheet.save()
