"""``aicli detect-faces``."""

from __future__ import annotations

import click

from aicli.cli.options import option_command
from aicli.options import DetectFiles, DetectOptions, FrameOptions, InputOptions, PictureOptions, RunOptions

__all__ = ["command"]


@option_command("detect-faces")
def command(
    inputs: InputOptions,
    frames: FrameOptions,
    options: DetectOptions,
    files: DetectFiles,
    pictures: PictureOptions,
    run: RunOptions,
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
    from aicli.cli.batch.effects import check_effects
    from aicli.cli.batch.extras import Extras
    from aicli.cli.batch.run import Batch
    from aicli.cli.batch.sources import Sources
    from aicli.cli.batch.work import DetectRecipe, open_cover
    from aicli.cli.pulling import pull_if_absent
    from aicli.results import Detection

    needs = what_pictures_need(files, pictures)
    check_effects(inputs, frames, options, files, pictures.picture_format, run, needs)

    def folder(result: Detection) -> str:
        return "with faces" if result.faces else "without faces"

    def caption(result: Detection) -> str:
        return f"{len(result.faces)} face{'' if len(result.faces) == 1 else 's'}"

    def recipe(threads: int | None) -> DetectRecipe:
        return DetectRecipe(
            options.replace(threads=threads),
            pictures,
            thumbnail=files.sheet is not None,
            frames=frames,
            writes_pictures=files.output is not None,
        )

    sources = Sources(inputs, "aicli detect-faces", unpacks=run.cluster is None)
    if run.cluster is not None:
        from aicli.cli.batch.cluster import ClusterBatch
        from aicli.cli.batch.cluster_pictures import NodePictures

        places = NodePictures.of(run.output_file, files.output, files.crop, pictures.picture_format, frames.all_frames)
        open_cover(pictures.cover)
        pull_if_absent(options.model, run.pull)
        return ClusterBatch("detect-faces", sources, inputs, run, recipe, places, options.threads).run()
    extras = Extras(
        sources, files, run, pictures, crop=files.crop, folder=folder, caption=caption, all_frames=frames.all_frames
    )
    open_cover(pictures.cover)
    pull_if_absent(options.model, run.pull)

    return Batch(
        "detect-faces", sources, run, recipe, extras, threads=options.threads, all_frames=frames.all_frames
    ).run()


def what_pictures_need(files: DetectFiles, pictures: PictureOptions) -> dict[str, tuple[str, bool]]:
    """For each option of pictures what it needs, and whether that is there.

    Raises a usage error for options that do not go together.
    """
    hides: list[str] = [pictures.anonymize] if pictures.anonymize is not None else []
    hides += ["cover"] if pictures.cover is not None else []
    if len(hides) > 1:
        raise click.UsageError(f"--{hides[0]} and --cover both hide faces; choose one")
    if hides and files.output is None:
        raise click.UsageError(f"--{hides[0]} writes pictures; say where with -o")
    boxes = files.output is not None and (not hides or pictures.landmarks or pictures.scores)
    if pictures != PictureOptions():  # the defaults are right, and what draws takes time to import
        from aicli.output.pictures.compose import check_picture_options

        check_picture_options(pictures)
    drawn = f"--landmarks or --scores beside --{hides[0]}" if hides else "-o"
    return {
        "landmarks": ("-o", files.output is not None),
        "scores": ("-o", files.output is not None),
        "color": (drawn if hides else "-o or --sheet", boxes or (files.sheet is not None and not hides)),
        "line_width": (drawn, boxes),
        "shape": ("--blur, --pixelate or --cover", bool(hides)),
        "keep": ("--blur, --pixelate or --cover", bool(hides)),
        "spare": ("--blur, --pixelate or --cover", bool(hides)),
        "keep_metadata": ("--blur, --pixelate or --cover", bool(hides)),
        "margin": ("--crop, --blur, --pixelate or --cover", files.crop is not None or bool(hides)),
        "align": ("--crop", files.crop is not None),
        "size": ("--crop", files.crop is not None),
    }
