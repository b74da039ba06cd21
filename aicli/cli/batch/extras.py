"""What a run does beside answering: pictures, groups, a contact sheet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicli.cli.batch.pictures import STANDARD_OUTPUT, Outputs
from aicli.cli.console import complain
from aicli.errors import UsageError
from aicli.options import ClassifyFiles, DetectFiles, RunOptions, SavingOptions

if TYPE_CHECKING:
    from aicli.cli.batch.job import Done, Job, Render
    from aicli.cli.batch.sources import Sources

__all__ = ["Extras"]


class Extras:
    """``folder`` gives the name of the group that an answer belongs to, ``caption`` the line under its thumbnail."""

    def __init__(
        self,
        sources: Sources,
        files: ClassifyFiles | DetectFiles,
        run: RunOptions,
        saving: SavingOptions,
        *,
        crop: str | None = None,
        folder: Callable[[Any], str | None],
        caption: Callable[[Any], str],
        all_frames: bool = False,
    ) -> None:
        check_streams(files, run)
        self._folder, self._caption = folder, caption
        self.shows_plan = bool(files.group and files.dry_run)
        self.to_stdout = STANDARD_OUTPUT in (files.output, files.sheet)
        self.outputs = Outputs(
            sources,
            output=files.output,
            crop=crop,
            group=files.group,
            format=saving.picture_format,
            overwrite=run.overwrite,
            spelled=(files.sheet, run.output_file),
            all_frames=all_frames,
        )
        self.grouping = self.sheet = None
        if files.group is not None and all_frames:
            raise UsageError("--group puts a photo into one folder, and --all-frames gives several answers; choose one")
        if files.group is not None:
            from aicli.cli.batch.grouping import Grouping

            self.grouping = Grouping(files.group, files.how or "copy", sources, self.outputs, dry_run=files.dry_run)
        elif files.dry_run or files.how is not None:
            raise UsageError("--move, --copy, --link and --dry-run belong to --group FOLDER")
        if files.sheet is not None:
            from aicli.cli.batch.sheets import SheetFile

            if files.sheet != STANDARD_OUTPUT:
                sources.refuse_as_output(files.sheet, "--sheet")
            self.sheet = SheetFile(files.sheet, saving)

    def after(self, job: Job, done: Done, render: Render) -> dict[str, Any]:
        """Files a photo that is answered; gives what belongs into its record."""
        if self.sheet is not None and done.thumbnail is not None:
            self.sheet.add(job.name, done.thumbnail, self._caption(done.result))
        if done.picture is not None:
            sys.stdout.buffer.write(done.picture)
            sys.stdout.buffer.flush()
        if self.grouping is None:
            return {}
        source = job.source if isinstance(job.source, Path) else None
        return {"group": self.grouping.place(job.name, source, self._folder(done.result), render)}

    def show_former(self, job: Job, done: Done) -> None:
        """Puts a photo on the sheet that a former run answered."""
        if self.sheet is not None and done.thumbnail is not None:
            self.sheet.add(job.name, done.thumbnail, self._caption(done.result))

    def finish(self, unseen: int, quiet: bool) -> None:
        """When all photos are answered; ``unseen`` of a former run cannot be shown."""
        if self.sheet is not None:
            if unseen and not quiet:
                count = "a photo that was" if unseen == 1 else f"{unseen} photos that were"
                complain(f"note: {count} answered before cannot be read any more; the contact sheet is without")
            self.sheet.save()


def check_streams(files: ClassifyFiles | DetectFiles, run: RunOptions) -> None:
    """Raises :class:`UsageError` when standard output would get two things, or a terminal a picture."""
    given = [name for name, value in (("-o -", files.output), ("--sheet -", files.sheet)) if value == STANDARD_OUTPUT]
    if len(given) == 2:
        raise UsageError("-o - and --sheet -: standard output holds one picture; name a file for the other")
    if not given:
        return
    if run.format is not None and run.output_file is None:
        raise UsageError(f"{given[0]}: standard output holds the picture; say with -O where the records go")
    if sys.stdout.isatty():
        raise UsageError(f"{given[0]}: standard output is a terminal; send the picture on (> out.png), or name a file")
