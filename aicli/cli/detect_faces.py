"""``aicli detect-faces``."""

from __future__ import annotations

from typing import Any

import click

from aicli.cli.options import input_options, output_options, sandbox_keywords, sandbox_options

__all__ = ["command"]


@click.command("detect-faces")
@input_options
@click.option(
    "-o", "--output", metavar="FILE|FOLDER", help="Write the photo with boxes here; a folder keeps the names."
)
@click.option("--landmarks", is_flag=True, help="Draw eyes, nose and mouth corners too.")
@click.option("--scores", is_flag=True, help="Draw each face's score too.")
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
@click.option("-m", "--model", default="mtcnn", show_default=True, metavar="NAME", help="A face model of the catalog.")
@output_options
@sandbox_options
def command(
    output: str | None, landmarks: bool, scores: bool, model: str, format_: str | None, **options: Any
) -> int:
    """Find faces in photos.

    \b
        aicli detect-faces group.jpg -o out.png
        aicli detect-faces photos/ -o boxed/ --landmarks
        aicli detect-faces *.jpg -f jsonl

    Coordinates are pixels of the upright image; left and right are as seen in it. An image without a face is an
    answer: an empty list, exit code 0. Text output is PATH, X1, Y1, X2, Y2 and SCORE between tabs, a line per face.
    """
    from aicli.cli import batch
    from aicli.cli.pictures import PictureTarget
    from aicli.tasks.faces import FaceDetector

    count = len(options["images"])
    inputs = batch.read_inputs(options)
    target = PictureTarget(output, several=count != 1) if output else None
    writer = batch.open_writer(format_, "detect-faces")
    detector = FaceDetector(model, **sandbox_keywords(options), **options)

    def answer(item: Any) -> tuple[Any, dict[str, Any]]:
        image = detector.open(item.source(), name=item.name)
        detection = detector.detect(image)
        if target is None:
            return detection, {}
        from aicli.output.drawing import draw_faces

        picture = draw_faces(image.to_pil(), detection.faces, landmarks=landmarks, scores=scores)
        return detection, {"output": target.save(item.path, item.name, image, picture)}

    return batch.run(inputs, answer, writer)
