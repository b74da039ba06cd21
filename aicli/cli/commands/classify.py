"""``aicli classify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aicli.cli.options import given, option_command
from aicli.options import ClassifyFiles, ClassifyOptions, InputOptions, RunOptions

if TYPE_CHECKING:
    from aicli.cli.batch.sources import Sources
    from aicli.cli.batch.work import Done, Job, Render

__all__ = ["command"]


@option_command("classify")
def command(inputs: InputOptions, options: ClassifyOptions, files: ClassifyFiles, run: RunOptions) -> int:
    """Say what is in photos.

    \b
        aicli classify photo.jpg
        aicli classify -m my_model.tflite -l labels.txt photos/
        aicli classify photos/ -O photos.jsonl --resume
        aicli classify photos/ --group sorted --link --dry-run
        find . -name "*.jpg" -print0 | aicli classify -0 --files-from - -f jsonl

    Text output is PATH, LABEL and SCORE between tabs: the best label only, or as many as -k says.
    """
    from aicli.cli.batch.run import Batch
    from aicli.cli.batch.sources import Sources
    from aicli.cli.batch.work import ClassifyRecipe
    from aicli.cli.pulling import pull_if_absent

    sources = Sources(inputs, "aicli classify")
    extras = Extras(sources, files, run)
    pull_if_absent(str(options.model), run.pull)
    if str(options.model).endswith((".tflite", ".lite")) and not options.isolate:
        from aicli.cli.last_words import name_when_killed

        name_when_killed(str(options.model))

    def recipe(threads: int | None) -> ClassifyRecipe:
        return ClassifyRecipe(options.replace(threads=threads), thumbnail=extras.sheet is not None)

    return Batch(
        "classify",
        sources,
        run,
        recipe,
        extras.outputs,
        threads=options.threads,
        top_given=given("top_k"),
        after=extras.after,
        finish=extras.finish,
        plans=extras.shows_plan,
    ).run()


class Extras:
    """What classify does beside answering: labelled photos, groups, a contact sheet."""

    def __init__(self, sources: Sources, files: ClassifyFiles, run: RunOptions) -> None:
        from aicli.cli.batch.pictures import Outputs

        self.shows_plan = bool(files.group and files.dry_run)
        self.grouping = self.sheet = None
        if files.group is None and (files.dry_run or files.how not in (None, "copy")):
            raise click.UsageError("--move, --link and --dry-run belong to --group FOLDER")
        spelled = (files.sheet, run.output_file)
        self.outputs = Outputs(
            sources, output=files.output, group=files.group, overwrite=run.overwrite, spelled=spelled
        )
        if files.group is not None:
            from aicli.cli.batch.grouping import Grouping

            self.grouping = Grouping(files.group, files.how or "copy", sources, self.outputs, dry_run=files.dry_run)
        if files.sheet is not None:
            from aicli.cli.batch.sheets import SheetFile

            sources.refuse_as_output(files.sheet, "--sheet")
            self.sheet = SheetFile(files.sheet)

    def after(self, job: Job, done: Done, render: Render) -> dict[str, Any]:
        from aicli.results import Classification

        assert isinstance(done.result, Classification)
        best = done.result.best
        if self.sheet is not None and done.thumbnail is not None:
            self.sheet.add(job.name, done.thumbnail, f"{best.label} {best.score * 100:.0f}%" if best else "no label")
        if self.grouping is None:
            return {}
        source = None if isinstance(job.source, bytes) else job.source
        return {"group": self.grouping.place(job.name, source, best.label if best else None, render)}

    def finish(self) -> None:
        if self.sheet is not None:
            self.sheet.save()
