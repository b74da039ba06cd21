"""The user's own files that a task needs on every node: models, labels, guests, the picture that covers faces.

Each is one object in Ray's store, which a node fetches once, and is laid down in the node's cache under its SHA-256.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from aicli._files import cache_folder, write_file
from aicli._option import Options
from aicli.catalog.folders import user_models
from aicli.catalog.manage import files_of_user
from aicli.errors import AicliError

__all__ = ["Luggage", "packed"]

FIELDS = ("model", "labels", "guest", "cover")
"""Options that may name a file."""


class Parcel(NamedTuple):
    """A file: its name, its digest, and where the bytes are in Ray's store."""

    name: str
    digest: str
    content: Any

    def laid_down(self) -> Path:
        """The file on this node."""
        path = home() / self.digest / self.name
        if not is_there(path, self.digest):
            write_file(path, self._fetched())
        return path

    def _fetched(self) -> bytes:
        import ray

        data: bytes = ray.get(self.content)
        return data


class Luggage(NamedTuple):
    """``files``: those of each options object in a recipe, by the name of its field there and of the option.

    ``models``: those of the user's models that have a name, by their paths in the folder of models.
    """

    files: dict[tuple[str, str], Parcel]
    models: dict[str, Parcel]

    def unpacked(self, recipe: Any) -> Any:
        """The recipe with the files of this node."""
        for (field, option), parcel in self.files.items():
            options: Options = getattr(recipe, field)
            recipe = recipe._replace(**{field: options.replace(**{option: str(parcel.laid_down())})})
        if self.models:
            digest = sha256("\n".join(f"{name} {parcel.digest}" for name, parcel in self.models.items()).encode())
            folder = home() / f"models-{digest.hexdigest()}"
            for name, parcel in self.models.items():
                if not is_there(folder / name, parcel.digest):
                    write_file(folder / name, parcel._fetched())
            os.environ["AICLI_MODELS_DIR"] = str(folder)  # for the worker process of this actor
        return recipe


def packed(recipe: Any) -> Luggage:
    """Puts the files of a recipe, a named tuple, into Ray's store. Raises :class:`AicliError` for one not readable."""
    files = {(field, option): parcel(path) for field, option, path in named_files(recipe)}
    models: dict[str, Parcel] = {}
    model = getattr(recipe.options, "model", None)
    if isinstance(model, str) and ("options", "model") not in files:
        models = {name: parcel(path) for name, path in files_of_user(model).items()}
    return Luggage(files, models)


def named_files(recipe: Any) -> Iterator[tuple[str, str, Path]]:
    """The field of the recipe, the option in it, and the file that it names."""
    for field, options in recipe._asdict().items():
        for option in FIELDS if isinstance(options, Options) else ():
            value = getattr(options, option, None)
            path = Path(value).expanduser() if isinstance(value, (str, Path)) else None
            if path is not None and path.is_file() and (option != "model" or is_a_file(value)):
                yield field, option, path


def is_a_file(model: Any) -> bool:
    """Whether the task takes the name of a model for that of a file."""
    from aicli.catalog.entries import find_entry
    from aicli.catalog.load import looks_like_path

    if isinstance(model, Path) or looks_like_path(model):
        return True
    return find_entry(model) is None and not (user_models() / f"{model}.tflite").is_file()


def parcel(path: Path) -> Parcel:
    import ray

    try:
        data = path.read_bytes()
    except OSError as error:
        raise AicliError(f"cannot be read ({error.strerror})").of(path) from None
    return Parcel(path.name, sha256(data).hexdigest(), ray.put(data))


def home() -> Path:
    """Where a node keeps what travelled to it."""
    cache = cache_folder()
    return (cache if cache is not None else Path(tempfile.gettempdir()) / f"aicli-{os.getuid()}") / "cluster"


def is_there(path: Path, digest: str) -> bool:
    try:
        return sha256(path.read_bytes()).hexdigest() == digest
    except OSError:
        return False
