"""The tasks as functions on a ``ray.data.Dataset``, for pipelines of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aicli.cluster.luggage import packed
from aicli.cluster.photos import source_of
from aicli.cluster.run import answered
from aicli.cluster.session import Cluster, require_ray
from aicli.cluster.work import Outcome
from aicli.errors import AicliError, ImageError, UsageError
from aicli.options import ClassifyOptions, DetectOptions
from aicli.output.parquet import schema, to_row
from aicli.workers.child import Handle, Recipe

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

__all__ = ["classify", "detect_faces"]

BATCH = 16


class Photo(NamedTuple):
    """A row of the dataset: its name in the record, and a path, an address in a bucket, or bytes."""

    name: str
    source: Any


class TaskRecipe(NamedTuple):
    """How a worker process loads the task."""

    options: ClassifyOptions | DetectOptions

    def start(self) -> Handle:
        if isinstance(self.options, ClassifyOptions):
            from aicli.tasks.classify import Classifier

            return PhotoTask(classifier := Classifier.from_options(self.options), classifier.classify)
        from aicli.tasks.faces import FaceDetector

        return PhotoTask(detector := FaceDetector.from_options(self.options), detector.detect)


class PhotoTask:
    """Answers a :class:`Photo`, fetching it first where it lies in a bucket."""

    def __init__(self, task: Any, answer: Any) -> None:
        self._task, self._answer = task, answer

    def __call__(self, photo: Photo) -> Any:
        data = photo.source.read() if hasattr(photo.source, "read") else photo.source
        return self._answer(self._task.open(data, name=photo.name))


class TableWork(NamedTuple):
    """Rows with photos in, the same rows with answers out."""

    recipe: Recipe
    task: str
    column: str
    name: str | None

    def read(self, table: pa.Table) -> list[Photo]:
        name = self.name or ("path" if "path" in table.column_names else self.column)
        for wanted in (self.column, name):
            if wanted not in table.column_names:
                raise UsageError(f"there is no column {wanted}; the dataset has {', '.join(table.column_names)}")
        values, names = table.column(self.column).to_pylist(), table.column(name).to_pylist()
        texts = (name if isinstance(name, str) else "<bytes>" for name in names)
        return [Photo(name, value) for name, value in zip(texts, values, strict=True)]

    def job(self, photo: Photo) -> Photo:
        if not isinstance(photo.source, (str, bytes)):
            raise ImageError("null; there is no photo in this row").of(photo.name)
        return photo._replace(source=source_of(photo.source))

    def answers(self, table: pa.Table, photos: Sequence[Photo], outcomes: Sequence[Outcome]) -> pa.Table:
        import pyarrow as pa

        rows = [to_row(record_of(photo, outcome)) for photo, outcome in zip(photos, outcomes, strict=True)]
        made = pa.Table.from_pylist(rows, schema=fields(self.task))
        kept = [name for name in table.column_names if name != self.column and name not in made.column_names]
        for at, name in enumerate(kept):
            made = made.add_column(at, table.schema.field(name), table.column(name))
        return made


ONLY_FILES = ("output", "crops", "group", "metadata", "timing", "frames", "frame")
"""Columns of what the command line writes."""


def fields(task: str) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([field for field in schema(task) if field.name not in ONLY_FILES])


def record_of(photo: Photo, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, AicliError):
        return {"image": photo.name, "error": str(outcome)}
    record: dict[str, Any] = outcome.to_dict()
    return record


def classify(
    dataset: Dataset,
    column: str = "bytes",
    *,
    name: str | None = None,
    jobs: int | None = None,
    timeout: float | None = None,
    **options: Any,
) -> Dataset:
    """The dataset with what is in its photos.

    ``column`` holds the photos: bytes (as ``ray.data.read_binary_files`` gives them), or paths and addresses in
    buckets, which are then read by the worker that answers. ``name`` is the column of names for the records; by default
    ``path`` where there is one, and of paths they themselves. ``jobs`` actors answer, by default one for each core of
    the cluster; a photo that takes longer than ``timeout`` seconds, or kills its process, is an error of its own.
    ``options`` are those of :class:`aicli.Classifier`.

    Each row keeps its other columns and gets ``image``, ``width``, ``height``, ``model``, ``part``, ``predictions`` and
    ``error``, as in the Parquet files of the command line. Raises :class:`aicli.errors.UnavailableError` where Ray Data
    is not installed, :class:`aicli.errors.UsageError` for options that cannot be. A wrong model or column is an error
    when the dataset is consumed.
    """
    return on_dataset("classify", ClassifyOptions(**options), dataset, column, name, jobs, timeout)


def detect_faces(
    dataset: Dataset,
    column: str = "bytes",
    *,
    name: str | None = None,
    jobs: int | None = None,
    timeout: float | None = None,
    **options: Any,
) -> Dataset:
    """The dataset with the faces of its photos: ``faces`` in the place of ``predictions``, else as :func:`classify`.

    ``options`` are those of :class:`aicli.FaceDetector`.
    """
    return on_dataset("detect-faces", DetectOptions(**options), dataset, column, name, jobs, timeout)


def on_dataset(
    task: str,
    options: ClassifyOptions | DetectOptions,
    dataset: Dataset,
    column: str,
    name: str | None,
    jobs: int | None,
    timeout: float | None,
) -> Dataset:
    require_ray()
    recipe = TaskRecipe(options.replace(threads=options.threads or 1))
    work = TableWork(recipe, task, column, name)
    cluster = Cluster(jobs)
    actors, share = cluster.actors(), cluster.share()
    return answered(dataset, work, packed(recipe), batch=BATCH, actors=actors, share=share, timeout=timeout)
