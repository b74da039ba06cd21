"""Features of photos: what a network's last layer reads, computed through the guest and kept from run to run."""

from __future__ import annotations

import hashlib
import math
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from aicli._files import cache_folder, replacing
from aicli._text import shown
from aicli.catalog.files import checksum
from aicli.catalog.specs import InputSpec, OutputSpec
from aicli.errors import AicliError, WriteError
from aicli.guest.requests import ClassifyRequest
from aicli.image.decode import DEFAULT_MAX_PIXELS, open_image
from aicli.nn.engines import available_cores, load_engine, share_cores
from aicli.options import SandboxOptions
from aicli.tasks.guests import load_guest
from aicli.tasks.many import Failure, run_many
from aicli.training.surgery import Body

__all__ = ["VIEWS", "ExtractorRecipe", "FeatureStore", "Features", "Wanted", "extract", "features_of"]

VIEWS = 4
"""Views of a photo with augmentation: as it is, mirrored, and two random crops in other light, one of them mirrored."""
SMALLEST_CROP = 0.7  # of the photo's area
LIGHT = 0.25  # brightness, contrast and colour change by up to a quarter
KEPT_BYTES = 2 << 30
"""Features of the bases that were not used for longest go beyond this."""


class Wanted(NamedTuple):
    """A photo whose features are asked for."""

    path: str
    views: int
    seed: int

    def __fspath__(self) -> str:
        return self.path


class Features(NamedTuple):
    """``rows`` has a row of float32 features for each view of a photo; ``digest`` is the SHA-256 of its bytes."""

    digest: bytes
    rows: NDArray[np.float32]


class ExtractorRecipe(NamedTuple):
    """What a worker makes its extractor from."""

    file: Path
    input: InputSpec
    output: OutputSpec
    threads: int | None
    max_pixels: int = DEFAULT_MAX_PIXELS
    engine: str | None = None

    def start(self) -> Extractor:
        return Extractor(*self)


class Extractor:
    """A network without its last layer, ready to be called for photos."""

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        file: Path,
        input: InputSpec,
        output: OutputSpec,
        threads: int | None,
        max_pixels: int,
        engine: str | None,
    ) -> None:
        self._input, self._max_pixels = input, max_pixels
        self._request = ClassifyRequest(input, output, 0, -math.inf)
        options = SandboxOptions(threads=threads)
        self._guest = load_guest("classify", {"classifier": file}, load_engine(engine), options)

    def __call__(self, photo: Wanted) -> Features:
        """Raises :class:`aicli.errors.ImageError` for a photo that cannot be read."""
        # From the bytes that the digest is of: the file may change meanwhile.
        return self.of_bytes(read(photo.path), photo)

    def of_bytes(self, data: bytes, photo: Wanted) -> Features:
        """The features of a photo that is in memory; its path is a name."""
        size = 2 * max(self._input.width, self._input.height)
        pixels = open_image(data, name=photo.path, min_size=size, max_pixels=self._max_pixels).pixels
        digest = hashlib.sha256(data).digest()
        rows = np.empty((photo.views, self._request.output.classes), np.float32)
        for view in range(photo.views):
            for index, value in self._guest.classify(augmented(pixels, view, digest, photo.seed), self._request):
                rows[view, index] = value
        return Features(digest, rows)


def read(path: str) -> bytes:
    """The bytes of a photo. Raises :class:`aicli.errors.ImageError`."""
    from aicli.errors import ImageError

    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})").of(shown(str(path))) from None


def augmented(pixels: NDArray[np.uint8], view: int, digest: bytes, seed: int) -> NDArray[np.uint8]:
    """One of the views of a photo; the same photo, view and seed give the same pixels."""
    if view == 0:
        return pixels
    if view > 1:
        random = np.random.default_rng([seed, view, *np.frombuffer(digest, np.uint32)])
        pixels = lit(cropped(pixels, random), random)
    return np.ascontiguousarray(pixels[:, ::-1]) if view % 2 else pixels


def cropped(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    side = math.sqrt(random.uniform(SMALLEST_CROP, 1))
    rows, columns = max(1, round(side * height)), max(1, round(side * width))
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    return pixels[top : top + rows, left : left + columns]


def lit(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(random.uniform(1 - LIGHT, 1 + LIGHT))
    return np.asarray(image)


class FeatureStore:
    """Features on the disk, by the photo's bytes, for one network with one way to feed it.

    A lookup of what was computed before, not a promise: a store that cannot be written or is damaged is left out.
    """

    def __init__(self, body: bytes, input: InputSpec, *, use: bool = True) -> None:
        self.key = hashlib.sha256(
            hashlib.sha256(body).digest() + repr(tuple(vars(input).values())).encode()
        ).hexdigest()[:32]
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._connection: sqlite3.Connection | None = None
        self._full = False
        home = cache_folder()
        try:
            folder = self._prepare(Path(self._own_folder()) if home is None else home / "features", body)
        except (OSError, WriteError):  # a cache that is full or not ours to write
            if self._temporary is not None:
                raise
            folder = self._prepare(Path(self._own_folder()), body)
        if use:
            drop_old(folder, self.key)
            self._connection = self._open()

    def _own_folder(self) -> str:
        self._temporary = tempfile.TemporaryDirectory(prefix="aicli-")
        return self._temporary.name

    def _prepare(self, folder: Path, body: bytes) -> Path:
        """Puts the network into the folder, where the workers read it."""
        self.body, self._database = folder / f"{self.key}.tflite", folder / f"{self.key}.sqlite"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.body.exists():
            with replacing(self.body, mode=0o600) as file:
                file.write(body)
        return folder

    def _open(self) -> sqlite3.Connection | None:
        try:
            connection = sqlite3.connect(self._database, timeout=10, isolation_level=None)
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=off")
            connection.execute("create table if not exists features (photo blob primary key, row blob) without rowid")
        except sqlite3.Error:
            return None
        return connection

    def has(self, digest: bytes, views: int, seed: int, size: int) -> bool:
        """Whether all views of a photo are known; the rows themselves are not read."""
        if self._connection is None:
            return False
        keys = [photo_key(digest, view, seed) for view in range(views)]
        query = "select length(row) from features where photo = ?"
        try:
            lengths = [self._connection.execute(query, (key,)).fetchone() for key in keys]
        except sqlite3.Error:
            return False
        return all(length is not None and length[0] == 4 * size for length in lengths)

    def find(self, digest: bytes, views: int, seed: int, size: int) -> NDArray[np.float32] | None:
        """The rows of a photo if all of its views are known."""
        if self._connection is None:
            return None
        try:
            keys = [photo_key(digest, view, seed) for view in range(views)]
            query = "select row from features where photo = ?"
            found = [self._connection.execute(query, (key,)).fetchone() for key in keys]
        except sqlite3.Error:
            return None
        if any(row is None or len(row[0]) != 4 * size for row in found):
            return None
        return np.stack([np.frombuffer(row[0], "<f4") for row in found])

    def keep(self, features: Features, seed: int) -> None:
        if self._connection is None or self._full:
            return
        rows = [
            (photo_key(features.digest, view, seed), row.astype("<f4").tobytes())
            for view, row in enumerate(features.rows)
        ]
        try:
            self._connection.executemany("insert or replace into features values (?, ?)", rows)
        except sqlite3.Error:  # a full disk: the run goes on with what is there
            self._full = True

    def close(self) -> None:
        if self._connection is not None:
            with closing(self._connection):
                self._connection = None


def photo_key(digest: bytes, view: int, seed: int) -> bytes:
    """Views that are not random are the same for every seed."""
    return digest + bytes([view]) + (seed.to_bytes(8, "little") if view > 1 else b"")


def drop_old(folder: Path, key: str) -> None:
    """Makes room: the features of other networks go, those used longest ago first."""
    try:
        others = sorted((item for item in folder.iterdir() if item.stem != key), key=lambda item: item.stat().st_mtime)
        total = sum(item.stat().st_size for item in folder.iterdir())
        for item in others:
            if total <= KEPT_BYTES:
                break
            total -= item.stat().st_size
            item.unlink()
    except OSError:
        return


def extract(
    body: Body,
    input: InputSpec,
    photos: Sequence[str],
    *,
    views: int = 1,
    seed: int = 0,
    jobs: int = 1,
    reuse: bool = True,
) -> Iterator[Features | Failure]:
    """The features of every photo, in their order, or why there are none.

    What a former run computed for the same bytes is taken from the store, and what is computed is put there at once, so
    that a run that is broken off loses nothing.
    """
    try:
        store = FeatureStore(body.features_file(), input, use=reuse)
    except OSError as error:
        raise WriteError(error.filename or "the cache folder", str(error.strerror)) from None
    _, threads = share_cores(jobs, None, available_cores())
    recipe = ExtractorRecipe(store.body, input, features_of(body), threads)
    known: list[bytes | None] = []

    def recalled(place: int, digest: bytes) -> Features | Failure:
        rows = store.find(digest, views, seed, body.size)
        if rows is None:
            return Failure(
                photos[place], AicliError("its features were lost; run it again").of(shown(str(photos[place])))
            )
        return Features(digest, rows)

    def missing() -> Iterator[Wanted]:
        """The photos whose features must be computed; notes for each photo the digest of those that are not missing."""
        for path in photos:
            digest = digest_of(path) if reuse else None
            known.append(digest if digest and store.has(digest, views, seed, body.size) else None)
            if known[-1] is None:
                yield Wanted(path, views, seed)

    computed = run_many(_Later(recipe), missing(), jobs=jobs, recipe=recipe)
    place = 0
    try:
        for answer in computed:
            while (digest := known[place]) is not None:
                yield recalled(place, digest)
                place += 1
            place += 1
            if isinstance(answer, Features):
                store.keep(answer, seed)
            yield answer
        for later, digest in enumerate(known[place:], place):
            if digest is not None:
                yield recalled(later, digest)
    finally:
        store.close()


def features_of(body: Body) -> OutputSpec:
    """The features as the network's output: taken as they are, not as logits."""
    dtype: Any = body.dtype
    return OutputSpec(0, body.size, dtype, body.scale, body.zero_point, "probabilities")


def digest_of(path: str) -> bytes | None:
    try:
        return bytes.fromhex(checksum(Path(path)))
    except (OSError, ValueError):
        return None  # the extractor says why


class _Later:
    """Makes the extractor when the first photo needs it: none may."""

    def __init__(self, recipe: ExtractorRecipe) -> None:
        self._recipe = recipe
        self._task: Extractor | None = None

    def __call__(self, photo: Wanted) -> Any:
        if self._task is None:
            self._task = self._recipe.start()
        return self._task(photo)
