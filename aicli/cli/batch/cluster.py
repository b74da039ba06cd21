"""``--cluster``: the run over many images on Ray, and the records that its nodes make."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import click

from aicli._text import counted
from aicli.cli.batch.cluster_pictures import NodePictures
from aicli.cli.batch.job import Done, Job, with_timing
from aicli.cli.batch.pictures import is_folder
from aicli.cli.batch.progress import Progress
from aicli.cli.batch.run import line_on, summary
from aicli.cli.batch.signals import Signals
from aicli.cli.console import complain, told
from aicli.cli.options import given
from aicli.cluster.photos import Current, Pack, Photo, photos_of, read_photos
from aicli.cluster.record_folder import RecordFolder
from aicli.cluster.run import run
from aicli.cluster.session import connected, require_ray
from aicli.errors import AicliError, UsageError
from aicli.nn.engines import available_cores
from aicli.output.records import Task, make_writer

if TYPE_CHECKING:
    import pyarrow as pa

    from aicli.cli.batch.sources import Sources
    from aicli.cluster.tally import State
    from aicli.options import InputOptions, RunOptions

__all__ = ["ClusterBatch", "CommandWork"]

Looked = TypeVar("Looked")

ELSEWHERE = {
    "format": "--to says what the files of results are",
    "verbose": "it would be a line for each of many images",
    "on_error": "the nodes do not wait for each other",
    "group": "it files photos one after the other",
    "how": "it belongs to --group",
    "dry_run": "it belongs to --group",
    "sheet": "it is made of all photos",
}


def refuse_on_cluster() -> None:
    """Raises a usage error for an option that has no place in a run on many machines."""
    context = click.get_current_context()
    for param in context.command.params:
        name = str(param.name)
        if name in ELSEWHERE and given(name):
            flag = param.opts[-1] if name != "how" else f"--{context.params[name]}"
            raise click.UsageError(f"{flag} does not go with --cluster: {ELSEWHERE[name]}")


class CommandWork(NamedTuple):
    """What a node does with rows of photos: the work of the command, and its records as lines of JSON."""

    recipe: Any
    task: Task
    pictures: NodePictures
    timing: bool = False

    def read(self, table: pa.Table) -> list[Photo]:
        return read_photos(table)

    def job(self, photo: Photo) -> Job:
        if photo.problem is not None:
            raise photo.problem
        return Job(photo.name, photo.source, **self.pictures.places(photo))

    def answers(self, table: pa.Table, photos: Sequence[Photo], outcomes: Sequence[Done | AicliError]) -> pa.Table:
        import pyarrow as pa

        columns = {
            "key": pa.array([photo.key for photo in photos], pa.string()),
            "records": pa.array(list(map(self._records, photos, outcomes)), pa.list_(pa.string())),
            "failed": pa.array([problem_of(outcome) is not None for outcome in outcomes], pa.bool_()),
        }
        return pa.table(columns)

    def _records(self, photo: Photo, outcome: Done | AicliError) -> list[str]:
        text = StringIO()
        writer = make_writer("jsonl", text, task=self.task, frames=self.pictures.all_frames)
        for answer in outcome.answers() if isinstance(outcome, Done) else ():
            extra = self.pictures.as_given(answer.extra)
            writer.result(answer.result, with_timing(answer.stages, extra) if self.timing else extra)
        problem = problem_of(outcome)
        if problem is not None:
            writer.failure(photo.name, told(problem))
        return text.getvalue().split("\n")[:-1]

    def describe(self, photo: Photo, outcome: Done | AicliError) -> tuple[str | None, dict[str, str]]:
        """The line of a failure, and what is to be said of a photo once a run, by its kind."""
        problem = problem_of(outcome)
        line = None if problem is None else line_on(photo.name, problem)
        notes = outcome.notes if isinstance(outcome, Done) else ()
        return line, {note.kind: f"{photo.name}: {note.text}" for note in notes if note.kind is not None}


def problem_of(outcome: Done | AicliError) -> AicliError | None:
    return outcome.problem if isinstance(outcome, Done) else outcome


@dataclass(eq=False, repr=False)
class ClusterBatch:
    """One run on a cluster. ``recipe`` makes the work from the number of threads, which ``threads`` asks for."""

    task: Task
    sources: Sources
    inputs: InputOptions
    options: RunOptions
    recipe: Callable[[int | None], Any]
    pictures: NodePictures
    threads: int | None = None

    def run(self) -> int:
        """Answers every image and writes the records; returns the exit code."""
        refuse_on_cluster()
        self._begun = time.monotonic()
        folder = self._folder()
        require_ray()
        work = CommandWork(self.recipe(self.threads or 1), self.task, self.pictures, self.options.timing)
        loaded = work.recipe.start()  # a wrong model is told before any node is asked
        self._about, notes = {"all_frames": self.pictures.all_frames, "model": loaded.model}, loaded.notes
        del loaded
        self._look(folder.look)
        for results in (folder.storage.address, *(pictures.place for pictures in self.pictures.folders())):
            self.sources.exclude(results)
        photos = list(photos_of(self.sources.inputs(), self.inputs.column, self.inputs.include))
        if not any(isinstance(photo, Pack) or photo.problem is None for photo in photos):
            return self._nothing(photos)
        self._note(notes)
        self._progress = Progress(not self.options.quiet)
        self._progress.total = None if any(isinstance(photo, Pack) for photo in photos) else len(photos)
        signals = Signals()
        try:
            with signals:
                return self._answer(photos, work, folder, signals)
        except KeyboardInterrupt:
            self._progress.hide()
            complain(f"interrupted; the records so far are in {folder.storage.address}, continue with --resume")
            return signals.code
        finally:
            self._progress.hide()

    def _answer(self, photos: list[Photo | Pack], work: CommandWork, folder: RecordFolder, signals: Signals) -> int:
        options = self.options
        with (
            connected(str(options.cluster), options.jobs, available_cores(), partial(self._lost, folder)) as cluster,
            folder.lease() as lease,
        ):
            signals.listen()
            before = self._look(folder.begin)
            if self._progress.total is not None:
                self._progress.total = sum(photo.key not in before for photo in photos)
            self.pictures.begin()

            def show(state: State) -> None:
                lease.check()
                self._show(state)

            how: Any = {"timeout": options.timeout, "describe": work.describe}
            run(cluster, photos, work, folder, show=show, interrupted=signals.heard, **how)
            lease.check()
            self.pictures.end()
            current = Current.of(photos)
            counts = folder.finish(current)
        self._progress.hide()
        if not options.quiet:
            seconds = time.monotonic() - self._begun
            done = sum(current.holds(key) for key in folder.kept - before)  # one that is gone may keep its failure
            skipped = len(folder.kept & before)
            line = summary(done, counts["failed"], skipped, seconds, self.sources.passed_over.counts, verbose=True)
            complain(f"{line}; {counted(counts['files'], 'file')} of records in {folder.storage.address}")
        return 1 if counts["failed"] else 0

    def _lost(self, folder: RecordFolder, error: AicliError) -> NoReturn:
        """Ends the process with a line, as nothing that waits for Ray can be woken."""
        self._progress.hide()
        complain(f"{told(error)}; the records so far are in {folder.storage.address}, continue with --resume")
        os._exit(1)

    def _look(self, ask: Callable[..., Looked]) -> Looked:
        """Asks the folder of records whether this run may have it."""
        return ask(self._about, resume=self.options.resume, overwrite=self.options.overwrite)

    def _folder(self) -> RecordFolder:
        name = self.options.output_file
        if name is None:
            raise UsageError("--cluster writes many files: name a folder for them with -O, such as -O labels/")
        if not is_folder(name):
            raise UsageError(
                f"{name}: --cluster writes many files; give a folder, such as -O {name.rpartition('.')[0]}/"
            )
        return RecordFolder(name, self.options.to or "parquet", self.task)

    def _nothing(self, photos: Sequence[Photo | Pack]) -> int:
        """No image at all, or none that can be opened: no cluster is asked and nothing is written."""
        if not photos:
            raise UsageError("there is no image to answer; check the names")
        for photo in photos:
            assert isinstance(photo, Photo) and photo.problem is not None
            complain(line_on(photo.name, photo.problem))
        return 1

    def _note(self, notes: Sequence[str]) -> None:
        if not self.options.quiet:
            for note in notes:
                complain(f"note: {told(note)}")

    def _show(self, state: State) -> None:
        if state.failures or state.remarks:
            self._progress.hide()
        for line in state.failures:
            complain(line)
        self._note(state.remarks)
        where = f"{counted(state.actors, 'actor')} on {counted(state.nodes, 'node')}" if state.actors else "starting"
        self._progress.show(state.done, state.failed, where)
