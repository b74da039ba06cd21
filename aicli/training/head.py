"""The last layer: multinomial logistic regression on features, its strength chosen by cross-validation, calibrated.

The solver is scikit-learn's (L-BFGS). Scores are calibrated by one temperature (Guo et al., "On Calibration of Modern
Neural Networks", 2017), fitted to predictions for photos that the fit has not seen.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aicli.errors import AicliError, UnavailableError, WriteError
from aicli.nn.engines import available_cores

__all__ = ["Head", "Sample", "fit_head", "require_solver", "rows_for", "softmax"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

STRENGTHS = tuple(10.0**exponent for exponent in (-3, -2, -1, 0, 1, 2))
"""Candidates for scikit-learn's C, the inverse of the regularisation, on scaled features."""
SCALINGS = (0.5, 0.0)
"""Candidates for how features are scaled: halfway to unit spread, or as they are. Which is better the photos decide;
all the way was never the best with few, where the spread of a rare feature is mostly chance."""
FOLDS = 5
LARGE = 150_000_000
"""Features of all rows times classes beyond which one split stands for the folds, and choosing uses a part."""
LARGE_BYTES = 1 << 26
SEARCH_ROWS = 2_500
TOO_FEW = 2  # photos of a class that cannot be split
IN_MEMORY = 1 << 27
"""Features beyond so many bytes lie in a file that the system pages in."""
BLOCK = 256


class Sample(NamedTuple):
    """``rows`` [photos, views, features]; ``classes`` [photos] counts from 0."""

    rows: Floats
    classes: Ints


class Head(NamedTuple):
    """``weights`` [classes, features] and ``bias`` [classes], the temperature divided out already.

    ``out_of_fold`` [photos, classes] are the calibrated probabilities that fits without the photo gave it; rows of NaN
    for photos that no fold left out.
    """

    weights: Floats
    bias: Floats
    temperature: float
    strength: float
    out_of_fold: Floats


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Over the last axis."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def require_solver() -> Any:
    """scikit-learn's linear models. Raises :class:`UnavailableError` where it is not installed."""
    try:
        from sklearn import linear_model
    except ImportError:
        from aicli._extras import install_command

        raise UnavailableError(f"training needs scikit-learn; run: {install_command('train')}") from None
    return linear_model


def rows_for(photos: int, views: int, size: int) -> Floats:
    """Room for the features: memory, or beyond a bound a file without a name. Raises :class:`WriteError`."""
    shape = (photos, views, size)
    if 4 * photos * views * size <= IN_MEMORY:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        try:  # a page of a sparse file that finds the disk full would end the process
            os.posix_fallocate(file.fileno(), 0, 4 * photos * views * size)
        except AttributeError:  # macOS and Windows have no such call
            pass
        except OSError as error:
            raise WriteError(tempfile.gettempdir(), f"no room for the features ({error.strerror})") from None
        return np.memmap(file, np.float32, "w+", shape=shape)


class Scaling(NamedTuple):
    """What features are made comparable with: ``(features - mean) / scale``."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, rows: Floats, order: Ints) -> Floats:
        """The scaled rows of these photos, made block by block."""
        made = rows_for(len(order), *rows.shape[1:])
        for place in range(0, len(order), BLOCK):
            made[place : place + BLOCK] = (rows[order[place : place + BLOCK]] - self.mean) / self.scale
        return made


def fit_head(sample: Sample, classes: int, *, seed: int) -> Head:
    """The best linear head for the sample. The same sample and seed give the same head.

    Large samples lie in files where they are larger than the memory should be used for, and are never copied whole.
    """
    require_solver()
    rows, labels = sample
    large = rows.size * classes > LARGE or rows.nbytes > LARGE_BYTES
    with _blas_threads(available_cores() if large else 1):
        scalings = _scalings(rows)
        logits = np.full((len(labels), classes), np.nan, np.float32)
        if large:
            scaling, strength, weights, bias = _fit_large(sample, classes, scalings, seed, logits)
        else:
            scaling, strength, weights, bias = _fit_small(sample, classes, scalings, seed, logits)
        seen = ~np.isnan(logits[:, 0])
        temperature = _temperature(logits[seen], labels[seen])
    plain = weights / scaling.scale
    return Head(
        (plain / temperature).astype(np.float32),
        ((bias - plain @ scaling.mean) / temperature).astype(np.float32),
        temperature,
        strength,
        softmax(logits / temperature).astype(np.float32),
    )


def _scalings(rows: Floats) -> list[Scaling]:
    """All candidates, from the spread of the photos as they are, without the other views."""
    count = len(rows)
    blocks = [slice(place, place + BLOCK) for place in range(0, count, BLOCK)]
    mean = sum(rows[block, 0].sum(axis=0, dtype=np.float64) for block in blocks) / count
    spread = np.sqrt(sum(((rows[block, 0] - mean) ** 2).sum(axis=0) for block in blocks) / count)
    whole = np.sqrt(np.mean(spread**2))
    never = spread < 1e-6 * max(1e-12, spread.max())  # such a feature changes with no photo
    return [Scaling(mean, np.where(never, np.inf, spread**power * whole ** (1 - power))) for power in SCALINGS]


Fitted = tuple[Scaling, float, NDArray[Any], NDArray[Any]]


def _fit_small(sample: Sample, classes: int, scalings: list[Scaling], seed: int, logits: Floats) -> Fitted:
    """Chooses scaling and strength by cross-validation, whose answers go into ``logits``, and fits to all photos."""
    labels = sample.classes
    folds = _folds(labels, FOLDS, seed)
    everything = np.arange(len(labels))
    best: tuple[_Choice, Scaling, Floats, Any] | None = None
    for scaling in scalings:
        rows, turn = _turned(scaling.apply(sample.rows, everything))
        choice = _choose(rows, labels, classes, folds)
        if best is None or choice.loss < best[0].loss:
            best = choice, scaling, rows, turn
    assert best is not None
    choice, scaling, rows, turn = best
    logits[:] = choice.logits
    weights, bias = _fit(rows, labels, classes, choice.strength)
    return scaling, choice.strength, weights if turn is None else weights @ turn.T, bias


def _fit_large(sample: Sample, classes: int, scalings: list[Scaling], seed: int, logits: Floats) -> Fitted:
    """Chooses with a part of the photos and one split; a fit without a fifth of all photos answers for that fifth."""
    rows, labels = sample
    part = np.sort(np.random.default_rng([seed, 1]).permutation(len(labels))[:SEARCH_ROWS])
    folds = _folds(labels[part], 1, seed)
    choices = [
        _choose(scaling.apply(rows[:, :1], part), labels[part], classes, folds, tolerance=1e-3) for scaling in scalings
    ]
    choice, scaling = min(zip(choices, scalings, strict=True), key=lambda pair: pair[0].loss)
    held = _folds(labels, 1, seed)
    mask = held[0] if held else np.zeros(len(labels), bool)
    order = np.concatenate([np.flatnonzero(~mask), np.flatnonzero(mask)])  # so that a slice is what is fitted to
    scaled, count = scaling.apply(rows, order), len(labels) - np.count_nonzero(mask)
    fitted = _fit(scaled[:count], labels[order[:count]], classes, choice.strength, choice.fits[0] if folds else None)
    logits[order[count:]] = _logits(fitted, scaled[count:, 0])
    weights, bias = _fit(scaled, labels[order], classes, choice.strength, fitted)
    return scaling, choice.strength, weights, bias


def _turned(rows: Floats) -> tuple[Floats, Floats | None]:
    """Fewer rows than features lie in a smaller space: the rows in it, and what turns its weights back.

    The penalty is of the weights' length, which no rotation changes, so that the fit is the same.
    """
    photos, views, size = rows.shape
    if photos * views >= size:
        return rows, None
    axes, _ = np.linalg.qr(rows.reshape(-1, size).T.astype(np.float64))
    return (rows.reshape(-1, size) @ axes).astype(np.float32).reshape(photos, views, -1), axes.astype(np.float32)


@contextmanager
def _blas_threads(count: int) -> Iterator[None]:
    """So many threads for NumPy's matrix products: aicli's programs have one, and only a large fit gains from more.

    In a small one they would wait for each other longer than they compute.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=count, user_api="blas"):
        yield


def _folds(labels: Ints, count: int, seed: int) -> list[NDArray[np.bool_]]:
    """Masks of the photos to hold out: every class in equal parts; one fifth where ``count`` is 1.

    A class of one photo is never held out.
    """
    random = np.random.default_rng(seed)
    parts = FOLDS if count == 1 else count
    part = np.full(len(labels), -1)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        if len(places) >= TOO_FEW:
            part[random.permutation(places)] = (np.arange(len(places)) + random.integers(parts)) % parts
    return [part == index for index in range(count) if np.any(part == index)]


class _Choice(NamedTuple):
    """The strength with the least log loss on held-out photos: its loss, their logits, and the fit of each fold."""

    loss: float
    strength: float
    logits: Floats
    fits: list[Any]


def _choose(
    rows: Floats, labels: Ints, classes: int, folds: list[NDArray[np.bool_]], *, tolerance: float = 1e-4
) -> _Choice:
    """Tries strengths from the least on, each from where the one before ended, until the loss grows."""
    splits = [(rows[~held], labels[~held], rows[held, 0], held) for held in folds]
    fits: list[Any] = [None] * len(folds)
    best = _Choice(np.inf, 1.0, np.full((len(labels), classes), np.nan, np.float32), fits)
    for strength in STRENGTHS if folds else ():
        logits = np.full((len(labels), classes), np.nan, np.float32)
        for place, (kept, their, rest, held) in enumerate(splits):
            fits[place] = _fit(kept, their, classes, strength, fits[place], tolerance=tolerance)
            logits[held] = _logits(fits[place], rest)
        seen = np.flatnonzero(~np.isnan(logits[:, 0]))
        loss = -float(np.log(np.maximum(softmax(logits[seen])[np.arange(len(seen)), labels[seen]], 1e-12)).mean())
        if loss >= best.loss:
            break
        best = _Choice(loss, strength, logits, list(fits))
    return best


def _fit(
    rows: Floats, labels: Ints, classes: int, strength: float, start: Any = None, *, tolerance: float = 1e-4
) -> tuple[Any, Any]:
    """Weights [classes, features] and bias of one fit on [photos, views, features]; every view counts as a photo.

    scikit-learn's C weighs the sum over all rows, so it is divided by the views. A class that is absent gets weights of
    zero and the bias of one that never occurs.
    """
    from sklearn.exceptions import ConvergenceWarning

    views = rows.shape[1]
    flat = np.ascontiguousarray(rows).reshape(-1, rows.shape[2])
    present = np.unique(labels)
    model = require_solver().LogisticRegression(
        C=strength / views, max_iter=200, tol=tolerance, warm_start=start is not None
    )
    if start is not None:
        # Of two classes scikit-learn has the weights of the second, of which half stand here for each.
        weights, bias = (part[present] if len(present) > 2 else 2 * part[present[1:]] for part in start)
        model.coef_, model.intercept_ = weights.astype(np.float32), bias.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as far as 200 steps go: calibrated and measured later
        try:
            model.fit(flat, np.repeat(labels, views))
        except (ValueError, MemoryError) as error:
            raise AicliError(f"the last layer cannot be fitted: {error}") from None
    weights, bias = model.coef_, model.intercept_
    if len(present) == 2:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    if len(present) == classes:
        return weights, bias
    whole, offsets = np.zeros((classes, rows.shape[2])), np.full(classes, float(np.min(bias)) - 10)
    whole[present], offsets[present] = weights, bias
    return whole, offsets


def _logits(fitted: tuple[Any, Any], rows: Floats) -> Floats:
    weights, bias = fitted
    return np.asarray(rows @ weights.T + bias, np.float32)


def _temperature(logits: Floats, labels: Ints) -> float:
    """What to divide logits by for the least log loss; 1 where nothing was held out.

    Where few mistakes were seen, the least loss would claim near certainty: the mean score may not exceed the accuracy
    by Laplace's rule of succession, (right + 1) / (photos + 2).
    """
    if not len(labels):
        return 1.0
    from scipy.optimize import brentq, minimize_scalar

    def loss(exponent: float) -> float:
        picked = softmax(logits / np.exp(exponent))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(picked, 1e-12)).mean())

    found = float(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)
    most = (np.count_nonzero(logits.argmax(axis=1) == labels) + 1) / (len(labels) + 2)

    def excess(exponent: float) -> float:
        return float(softmax(logits / np.exp(exponent)).max(axis=1).mean()) - most

    if excess(found) > 0 > excess(8.0):
        found = float(brentq(excess, found, 8.0))
    return float(np.exp(found))
