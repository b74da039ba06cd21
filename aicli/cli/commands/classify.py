"""``aicli classify``."""

from __future__ import annotations

from aicli.cli.options import given, option_command
from aicli.options import ClassifyFiles, ClassifyOptions, FrameOptions, InputOptions, RunOptions, SavingOptions

__all__ = ["command"]


@option_command("classify")
def command(
    inputs: InputOptions,
    frames: FrameOptions,
    options: ClassifyOptions,
    files: ClassifyFiles,
    saving: SavingOptions,
    run: RunOptions,
) -> int:
    """Say what is in photos.

    \b
        aicli classify photo.jpg
        aicli classify -m my_model.tflite -l labels.txt photos/
        aicli classify photos/ -O photos.jsonl --resume
        aicli classify photos/ --group sorted --link --dry-run
        find . -name "*.jpg" -print0 | aicli classify -0 --files-from - -f jsonl

    Text output is PATH, LABEL and SCORE between tabs: the best label only, or as many as -k says.
    """
    from aicli.cli.batch.effects import check_effects
    from aicli.cli.batch.extras import Extras
    from aicli.cli.batch.run import Batch
    from aicli.cli.batch.sources import Sources
    from aicli.cli.batch.work import ClassifyRecipe
    from aicli.cli.pulling import pull_if_absent
    from aicli.results import Classification

    def folder(result: Classification) -> str | None:
        return result.best.label if result.best else None

    def caption(result: Classification) -> str:
        return f"{result.best.label} {result.best.score * 100:.0f}%" if result.best else "no label"

    check_effects(inputs, frames, options, files, saving.picture_format, run, {})

    def recipe(threads: int | None) -> ClassifyRecipe:
        return ClassifyRecipe(
            options.replace(threads=threads), saving, thumbnail=files.sheet is not None, frames=frames
        )

    sources = Sources(inputs, "aicli classify", unpacks=run.cluster is None)
    if run.cluster is not None:
        from aicli.cli.batch.cluster import ClusterBatch
        from aicli.cli.batch.cluster_pictures import NodePictures

        pictures = NodePictures.of(run.output_file, files.output, None, saving.picture_format, frames.all_frames)
        pull_if_absent(str(options.model), run.pull)
        return ClusterBatch("classify", sources, inputs, run, recipe, pictures, options.threads).run()
    extras = Extras(sources, files, run, saving, folder=folder, caption=caption, all_frames=frames.all_frames)
    pull_if_absent(str(options.model), run.pull)
    suspect = str(options.model) if given("model") and not options.isolate else None
    if suspect is not None:
        from aicli.cli.last_words import name_when_killed

        name_when_killed(suspect)

    return Batch(
        "classify",
        sources,
        run,
        recipe,
        extras,
        threads=options.threads,
        top_given=given("top_k"),
        all_frames=frames.all_frames,
        suspect=suspect,
    ).run()
