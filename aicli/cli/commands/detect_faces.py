"""``aicli detect-faces``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aicli.cli.options import option_command
from aicli.options import DetectFiles, DetectOptions, InputOptions, PictureOptions, RunOptions

if TYPE_CHECKING:
    from aicli.cli.batch.sheets import SheetFile
    from aicli.cli.batch.work import Done, Job, Render

__all__ = ["command"]


@option_command("detect-faces")
def command(
    inputs: InputOptions, options: DetectOptions, files: DetectFiles, pictures: PictureOptions, run: RunOptions
) -> int:
    """Find faces in photos.

    \b
        aicli detect-faces group.jpg -o out.png
        aicli detect-faces photos/ -o boxed/ --landmarks
        aicli detect-faces photos/ -o anonymous/ --blur
        aicli detect-faces photos/ --crop faces/ --align
        aicli detect-faces *.jpg -f jsonl

    Coordinates are pixels of the upright image; left and right are as seen in it. An image without a face is an
    answer: an empty list, exit code 0. Text output is PATH, X1, Y1, X2, Y2 and SCORE between tabs, a line per face.
    """
    from aicli.cli.batch.pictures import Outputs
    from aicli.cli.batch.run import Batch
    from aicli.cli.batch.sources import Sources
    from aicli.cli.batch.work import DetectRecipe
    from aicli.cli.pulling import pull_if_absent
    from aicli.results import Detection

    sources = Sources(inputs, "aicli detect-faces")
    check_pictures(files, pictures)
    spelled = (files.sheet, run.output_file)
    outputs = Outputs(sources, output=files.output, crop=files.crop, overwrite=run.overwrite, spelled=spelled)
    if files.sheet is not None:
        sources.refuse_as_output(files.sheet, "--sheet")
    sheet = open_sheet(files.sheet)
    pull_if_absent(options.model, run.pull)

    def recipe(threads: int | None) -> DetectRecipe:
        return DetectRecipe(options.replace(threads=threads), pictures, thumbnail=sheet is not None)

    def after(job: Job, done: Done, render: Render) -> dict[str, Any]:
        if sheet is not None and done.thumbnail is not None:
            assert isinstance(done.result, Detection)
            count = len(done.result.faces)
            sheet.add(job.name, done.thumbnail, f"{count} face{'' if count == 1 else 's'}")
        return {}

    finish = sheet.save if sheet is not None else None
    return Batch(
        "detect-faces", sources, run, recipe, outputs, threads=options.threads, after=after, finish=finish
    ).run()


def open_sheet(path: str | None) -> SheetFile | None:
    if path is None:
        return None
    from aicli.cli.batch.sheets import SheetFile

    return SheetFile(path)


def check_pictures(files: DetectFiles, pictures: PictureOptions) -> None:
    """Raises a usage error for options of pictures that do not go together, before anything is loaded."""
    if pictures.anonymize is not None and files.output is None:
        raise click.UsageError(f"--{pictures.anonymize} writes pictures; say where with -o")
    if files.output is not None:
        from aicli.output.pictures.drawing import parse_color

        parse_color(pictures.color)
