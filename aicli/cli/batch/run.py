"""The run over many images that classify and detect-faces share: inputs in, records out, failures counted."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from aicli._ahead import wait_until_loaded
from aicli._text import counted, shown
from aicli.cli.batch.job import Done, Job, with_timing
from aicli.cli.batch.progress import Progress, duration
from aicli.cli.console import EXIT_INTERRUPTED, complain, told
from aicli.errors import AicliError, UsageError, WorkerDied
from aicli.output.records import Task, Writer, make_writer

if TYPE_CHECKING:
    from aicli.cli.batch.extras import Extras
    from aicli.cli.batch.former import FormerAnswers
    from aicli.cli.batch.record_file import RecordFile
    from aicli.cli.batch.sources import Sources
    from aicli.options import RunOptions

__all__ = ["Batch", "line_on", "summary"]

MOST_KINDS = 4
"""So many kinds of files that were passed over are named in the summary."""

FEW = 4
"""Up to this many images are answered in this process: starting others would take longer than they save."""


class Stopped(Exception):
    """The run ends before its last image: --on-error stop."""


class Batch:
    """One run. ``recipe`` makes the work from the number of threads, which ``threads`` asks for; ``extras`` says where
    pictures go, sees each answer, in order, in this process, and gives what else belongs into its record. ``suspect``
    is a model that the user chose and that may crash a worker.
    """

    loaded: ClassVar[Any] = None
    """What the last run loaded into this process: to take it apart takes 1 ms, and the program ends anyway."""

    def __init__(
        self,
        task: Task,
        sources: Sources,
        options: RunOptions,
        recipe: Callable[[int | None], Any],
        extras: Extras,
        *,
        threads: int | None = None,
        top_given: bool = False,
        all_frames: bool = False,
        suspect: str | None = None,
    ) -> None:
        self.task, self.sources, self.options, self.recipe, self.extras = task, sources, options, recipe, extras
        self.threads, self.top_given, self.all_frames, self.suspect = threads, top_given, all_frames, suspect
        self.done = self.failed = self.skipped = 0
        self.file: RecordFile | None = None
        self.former: FormerAnswers | None = None
        """Where a contact sheet shows the photos of a former run too."""
        self._crashed = False
        self._said: set[str] = set()
        self._stack = ExitStack()
        self._writer: Writer | None = None

    def run(self) -> int:
        """Answers every image and writes it at once; returns the exit code."""
        try:
            return self._run()
        finally:
            if self.file is not None:
                self.file.close()

    def _run(self) -> int:
        options = self.options
        if options.resume and options.output_file is None:
            raise UsageError("--resume continues an --output-file; name it")
        if options.output_file is not None:
            from aicli.cli.batch.record_file import SUFFIXES, RecordFile, format_of

            self.sources.refuse_as_output(options.output_file, "--output-file")
            chosen = options.format or format_of(options.output_file)
            if chosen is None:
                written = f"the suffixes {', '.join(SUFFIXES)} and .txt choose one, and so does -f"
                raise UsageError(f"{options.output_file}: its suffix names no format of results; {written}")
            self.file = RecordFile(
                options.output_file,
                chosen,
                self.task,
                resume=options.resume,
                overwrite=options.overwrite,
                all_frames=self.all_frames,
                keeps_records=options.resume and self.extras.sheet is not None,
            )
        self.extras.outputs.begin(self.file, resume=options.resume)
        if self.file is not None and self.file.records:
            from aicli.cli.batch.former import FormerAnswers

            self.former = FormerAnswers(self.task, self.file.records, self.file.groups())
        self.progress = Progress(not options.quiet)
        self._begun = time.monotonic()
        if options.verbose:
            self.sources.passed_over.tell = self._say_passed_over
        if self.progress.enabled:
            self.sources.count_into(self.progress, self._is_answered)
        complete = False
        try:
            with self._stack:
                self._answer_all()
                self._open_writer()
            complete = True
        except KeyboardInterrupt:
            self.progress.hide()
            complain(f"interrupted after {self._so_far()}{self._how_to_go_on()}")
            return EXIT_INTERRUPTED
        except Stopped:
            complain(f"stopped after {self._so_far()} (--on-error stop){self._how_to_go_on()}")
            self._name_suspect()
            return 1
        finally:
            self.progress.hide()
            untouched = self.file is not None and self.file.is_untouched
            self.extras.outputs.end(complete=complete or untouched, tidy=not complete or self.failed > 0)
        self.extras.finish(self.former.unseen if self.former is not None else 0, options.quiet)
        total = self.done + self.skipped
        if (total > FEW or (self.failed and total > 1) or self.sources.passed_over.counts) and not options.quiet:
            complain(self._summary())
        self._name_suspect()
        return 1 if self.failed else 0

    def _name_suspect(self) -> None:
        """The last line, when workers crashed that ran a model of the user's."""
        if self._crashed and self.suspect is not None:
            from aicli.cli.last_words import words

            complain(words(self.suspect))

    def _say_passed_over(self, path: str, why: str) -> None:
        self.progress.hide()
        how = f"{why}; unpack it and name it" if why else "no image by its suffix; name it"
        complain(f"{path}: passed over, {how} to have it tried")

    def _is_answered(self, name: str) -> bool:
        return self.file is not None and self.file.answers(name)

    def _jobs(self, inputs: Iterable[Any]) -> Iterator[Job]:
        for item in inputs:
            if not hasattr(item, "name"):
                yield item  # PENDING
            elif self.file is not None and self.file.answers(item.name):
                self.extras.outputs.skipped(item.name, self.file)
                self.skipped += 1
                if self.former is not None:
                    yield from self.former.job(item)
            else:
                if self.former is not None:
                    yield from self.former.moved()
                yield self._job(item)
        if self.former is not None:
            yield from self.former.rest()

    def _job(self, item: Any) -> Job:
        try:
            source = item.source()
            outputs = self.extras.outputs(item.name)
            return Job(item.name, source, outputs.get("picture"), outputs.get("crops"))
        except UsageError:
            raise
        except AicliError as error:
            return Job(item.name, None, problem=error)

    def _answer_all(self) -> None:
        """In this process for a single job or a few images, else in worker processes."""
        from aicli.nn.engines import available_cores, share_cores

        wait_until_loaded()
        options = self.options
        jobs, inputs = options.jobs, self.sources.inputs()
        if jobs is None and not self.sources.is_slow:
            jobs, inputs = self._fewer_for_few(inputs)
        jobs, threads = share_cores(jobs, self.threads, available_cores())
        if jobs == 1 and options.timeout is None:
            self._answer_here(self.recipe(threads), inputs)
        else:
            self._answer_in_workers(self.recipe(threads), inputs, jobs)

    def _fewer_for_few(self, inputs: Iterator[Any]) -> tuple[int | None, Iterator[Any]]:
        from itertools import chain, islice

        first = [item.held() for item in islice(inputs, FEW + 1)]
        return (1 if len(first) <= FEW else None), chain(first, inputs)

    def _answer_here(self, recipe: Any, inputs: Iterable[Any]) -> None:
        work = recipe.start()
        if recipe.options.guest is None and not recipe.options.isolate:  # else processes have to be ended
            Batch.loaded = work
        self._note(work.notes)
        for job in self._jobs(inputs):
            self._take(job, partial(work, job))

    def _answer_in_workers(self, recipe: Any, inputs: Iterable[Any], jobs: int) -> None:
        from aicli.tasks.many import in_order
        from aicli.workers.pool import Refused, WorkerPool

        if self.sources.is_slow:
            from aicli.cli.batch.sources import in_background

            inputs = in_background(inputs)
        with WorkerPool(recipe, jobs, self.options.timeout) as pool:
            for job, future in in_order(pool, self._jobs(inputs), jobs):
                if self.done == 0:
                    self._note(pool.notes)
                try:
                    self._take(job, future.result)
                except Refused as refused:
                    raise refused.error from None

    def _take(self, job: Job, answer: Callable[[], Done]) -> None:
        """One image's outcome; wrong usage ends the run, any other error is the image's own."""
        try:
            done = answer()
        except UsageError:
            raise
        except AicliError as error:
            if job.former is None:
                self._failure(job, error)
            elif self.former is not None:
                self.former.unseen += 1
        else:
            if job.former is None:
                self._success(job, done)
            else:
                self.extras.show_former(job, done)

    def _note(self, notes: Iterable[str]) -> None:
        if not self.options.quiet:
            for note in notes:
                complain(f"note: {told(note)}")

    def _open_writer(self) -> Writer:
        """Not before there is something to write: a wrong model must not leave a header behind."""
        if self._writer is not None:
            return self._writer
        how = self._how()
        if self.file is not None:
            stream = self._stack.enter_context(self.file.open())
            writer = make_writer(self.file.format, stream, header=not self.file.has_header, **how)
        elif self.extras.to_stdout:  # which a picture has
            writer = make_writer("jsonl", StringIO(), **how)
        else:
            chosen = self.options.format or ("table" if sys.stdout.isatty() else "text")
            writer = make_writer(chosen, sys.stdout, **how)
        self._stack.callback(self._close_writer)
        self._writer = writer
        return writer

    def _how(self) -> dict[str, Any]:
        """What every writer of the run is told; the columns of csv are those of the rows that are there."""
        grouped = self.extras.grouping is not None
        if self.file is not None and self.file.columns:
            grouped = "group" in self.file.columns
        return {"task": self.task, "top_given": self.top_given, "frames": self.all_frames, "groups": grouped}

    @cached_property
    def _writes_to_terminal(self) -> bool:
        return self.file is None and sys.stdout.isatty()

    def _close_writer(self) -> None:
        if self._writer is not None:
            with suppress(BrokenPipeError):
                self._writer.close()

    def _success(self, job: Job, done: Done) -> None:
        if self.file is not None:
            for answer in done.answers():
                self.file.check_model(answer.result.model)
            if self.file.hides_model and "model" not in self._said:
                self._said.add("model")
                model = answer.result.model
                self.progress.hide()
                self._note(
                    [f"{self.file.path}: csv does not say its model; more records are of {model}, is it the same?"]
                )
        if self.options.verbose or self._writes_to_terminal:
            self.progress.hide()  # else the line stays: nothing is written over it
        if self.extras.shows_plan:
            self.progress.hide()
        try:
            extra = self.extras.after(job, done, lambda more: self._rendered(done, done.extra | more))
        except AicliError as error:
            self._failure(job, error)
            return
        for answer in done.answers():
            self._open_writer().result(answer.result, self._record_extra(answer.stages, answer.extra | extra))
        if done.problem is not None:
            self._failure(job, done.problem)
            return
        self.done += 1
        if self.options.verbose:
            stages = ", ".join(f"{stage} {seconds * 1000:.1f} ms" for stage, seconds in done.stages.items())
            complain(f"{job.name}: {stages}")
        self._notes_on(job, done)
        self.progress.show(self.done, self.failed)

    def _record_extra(self, stages: dict[str, float], extra: dict[str, Any]) -> dict[str, Any]:
        return with_timing(stages, extra) if self.options.timing else extra

    def _rendered(self, done: Done, extra: dict[str, Any]) -> str | None:
        """A record as the file will hold it, for csv with the header; ``None`` where no run can be resumed."""
        if self.file is None or self.file.part is None:
            return None
        text = StringIO()
        writer = make_writer(self.file.format, text, **self._how())
        writer.result(done.result, self._record_extra(done.stages, extra))
        return text.getvalue()

    def _notes_on(self, job: Job, done: Done) -> None:
        """A note of a kind once a run; one without a kind always, but only in -v."""
        for note in done.notes:
            if note.kind in self._said or self.options.quiet or (note.kind is None and not self.options.verbose):
                continue
            self.progress.hide()
            if note.kind is None:
                complain(f"{job.name}: {note.text}")
            else:
                self._said.add(note.kind)
                complain(f"note: {job.name}: {note.text}")

    def _failure(self, job: Job, error: AicliError) -> None:
        self.progress.hide()
        line = told(error)
        if isinstance(error, WorkerDied):
            from aicli.cli.last_words import is_crash

            self._crashed = self._crashed or is_crash(error.signal)
        self._open_writer().failure(job.name, line)
        self.done += 1
        self.failed += 1
        complain(line_on(job.name, error))
        if self.options.on_error == "stop":
            raise Stopped
        self.progress.show(self.done, self.failed)

    def _so_far(self) -> str:
        of = f" of {self.progress.total}" if self.progress.total else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done}{of} image{'' if self.done == 1 and not of else 's'}{failed}"

    def _how_to_go_on(self) -> str:
        if self.file is None or not self.file.is_begun:
            return ""
        return f"; the records are in {self.file.part}, continue with --resume"

    def _summary(self) -> str:
        return summary(
            self.done,
            self.failed,
            self.skipped,
            time.monotonic() - self._begun,
            self.sources.passed_over.counts,
            verbose=self.options.verbose,
        )


def summary(
    done: int, failed: int, skipped: int, seconds: float, passed: Counter[str], *, verbose: bool = False
) -> str:
    """What a run came to, in one line; ``passed`` counts the files that were no images, by their suffix."""
    parts = [f"{counted(done, 'image')} in {duration(seconds)} ({done / max(seconds, 1e-9):.1f}/s)"]
    parts.append(f"{failed} failed" if failed else "none failed")
    if skipped:
        parts.append(f"{skipped} answered before")
    if passed:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in passed.most_common(MOST_KINDS))
        more = "" if len(passed) <= MOST_KINDS else ", ..."
        hint = "" if verbose else "; -v lists them"
        parts.append(f"{counted(passed.total(), 'file')} passed over ({kinds}{more}{hint})")
    return ", ".join(parts)


def line_on(name: str, error: AicliError) -> str:
    """The error's line for an image, whose name stands in front if the error is about something else."""
    is_named = not name or error.subject in (shown(name), shown(str(Path(name))))
    return told(error) if is_named else f"{name}: {told(error)}"
