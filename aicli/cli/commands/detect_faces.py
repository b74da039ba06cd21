"""``aicli detect-faces``."""

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


@click.command("detect-faces")
@input_options
@click.option(
    "-o", "--output", metavar="FILE|FOLDER", help="Write the photo with boxes here; a folder keeps the names."
)
@click.option("--landmarks", is_flag=True, help="Draw eyes, nose and mouth corners too.")
@click.option("--scores", is_flag=True, help="Draw each face's score too.")
@click.option("--color", default="lime", show_default=True, metavar="NAME|#RRGGBB", help="Colour of boxes and dots.")
@click.option("--line-width", type=click.IntRange(1, 500), metavar="PIXELS", help="[default: by the photo's size]")
@click.option("--blur", "anonymize", flag_value="blur", help="With -o: blur the faces beyond recognition, drop EXIF.")
@click.option("--pixelate", "anonymize", flag_value="pixelate", help="With -o: the same with squares.")
@click.option("--crop", metavar="FOLDER", help="Write each face as a JPEG of its own.")
@click.option(
    "--margin",
    type=click.FloatRange(0, 10),
    default=0.2,
    show_default=True,
    help="With --crop: what to add on each side, in parts of the face.",
)
@click.option("--align", is_flag=True, help="With --crop: turn each face so that its eyes lie level.")
@click.option("--sheet", metavar="FILE", help="Write a contact sheet: thumbnails with the number of faces.")
@click.option("--min-score", type=click.FloatRange(0, 1), default=0.0, metavar="SCORE", help="Leave out faces below.")
@click.option("--max-faces", type=click.IntRange(1), metavar="N", help="The N best faces of an image only.")
@click.option(
    "--min-size",
    type=click.FloatRange(1),
    default=20,
    show_default=True,
    metavar="PIXELS",
    help="Side of the smallest face.",
)
@click.option(
    "--thresholds",
    type=click.FloatRange(0, 1),
    nargs=3,
    default=(0.6, 0.7, 0.7),
    show_default=True,
    metavar="A B C",
    help="Lowest scores of P-Net, R-Net and O-Net.",
)
@click.option(
    "--factor",
    type=click.FloatRange(0.1, 0.95),
    default=0.709,
    show_default=True,
    help="Ratio from one pyramid level to the next.",
)
@click.option(
    "-m",
    "--model",
    default="mtcnn",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_models("detect-faces"),
    help="A face model of the catalog.",
)
@pull_option
@output_options
@sandbox_options
def command(output: str | None, crop: str | None, sheet: str | None, max_faces: int | None, **options: Any) -> int:
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
    from aicli.cli.batch.pictures import CropTarget, PictureTarget
    from aicli.cli.batch.run import Batch, RunOptions
    from aicli.cli.batch.sources import Sources
    from aicli.cli.batch.work import DetectRecipe
    from aicli.cli.pulling import pull_if_absent

    sources = Sources(options)
    drawing = take_drawing(options, output, thumbnail=sheet is not None)
    target = PictureTarget(output, sources) if output is not None else None
    crops = CropTarget(crop, sources) if crop is not None else None
    if sheet is not None:
        sources.refuse_as_output(sheet)
    sheet_file = open_sheet(sheet)
    sandbox = sandbox_keywords(options)
    run = RunOptions(threads=sandbox["threads"], **run_keywords(options))
    pull_if_absent(options["model"], options.pop("pull"))
    keywords = {**options, **sandbox, "max_faces": max_faces or 0}

    def recipe(threads: int | None) -> DetectRecipe:
        return DetectRecipe({**keywords, "threads": threads}, drawing)

    def places(name: str, path: Any) -> dict[str, str]:
        pictures = {} if target is None else {"picture": target(name, path)}
        return pictures if crops is None else {**pictures, "crops": crops(name)}

    def after(job: Any, done: Any) -> dict[str, Any]:
        if sheet_file is not None and done.thumbnail is not None:
            count = len(done.result.faces)
            sheet_file.add(job.name, done.thumbnail, f"{count} face{'' if count == 1 else 's'}")
        return {}

    finish = sheet_file.save if sheet_file is not None else None
    return Batch("detect-faces", sources, run, recipe, places=places, after=after, finish=finish).run()


def open_sheet(path: str | None) -> Any:
    if path is None:
        return None
    from aicli.cli.batch.sheets import SheetFile

    return SheetFile(path)


def take_drawing(options: dict[str, Any], output: str | None, *, thumbnail: bool) -> Any:
    """Takes what concerns pictures out of the options."""
    from aicli.cli.batch.work import Pictures

    names = ("color", "line_width", "landmarks", "scores", "anonymize", "margin", "align", "min_score")
    drawing = Pictures(thumbnail=thumbnail, **{name: options.pop(name) for name in names})
    if drawing.anonymize is not None and output is None:
        raise click.UsageError(f"--{drawing.anonymize} writes pictures; say where with -o")
    if output is not None:
        from aicli.output.pictures.drawing import parse_color

        parse_color(drawing.color)
    return drawing
