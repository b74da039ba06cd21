"""The last layer: multinomial logistic regression on features, its strength chosen by cross-validation, calibrated.

The solver is scikit-learn's (L-BFGS). Scores are calibrated by one temperature (Guo et al., "On Calibration of Modern
Neural Networks", 2017), fitted to predictions for photos that the fit has not seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aicli.errors import AicliError, UnavailableError
from aicli.nn.engines import available_cores

__all__ = ["Head", "Sample", "fit_head", "softmax"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

STRENGTHS = tuple(10.0**exponent for exponent in (-4, -3, -2, -1, 0, 1))
"""Candidates for scikit-learn's C, the inverse of the regularisation, on scaled features."""
FOLDS = 5
LARGE = 4_000_000
"""Rows times classes times features / 1280 above which one split stands for the folds, and choosing uses a part."""
SEARCH_ROWS = 2_500
TOO_FEW = 2  # photos of a class that cannot be split


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


def fit_head(sample: Sample, classes: int, *, seed: int) -> Head:
    """The best linear head for the sample. The same sample and seed give the same head."""
    require_solver()
    rows, labels = sample
    mean = rows[:, 0].mean(axis=0, dtype=np.float64)
    scale = rows[:, 0].std(axis=0, dtype=np.float64)
    # Between features as they are and standardised ones: of few photos the spread of a rare feature is mostly chance.
    whole = np.sqrt(np.mean(scale**2))
    scale = np.where(scale < 1e-6 * max(1e-12, scale.max()), np.inf, np.sqrt(scale * whole))  # inf: it never changes
    standard = ((rows - mean) / scale).astype(np.float32)
    large = rows.shape[0] * rows.shape[1] * classes * rows.shape[2] / 1280 > LARGE
    with _blas_threads(available_cores() if large else 1):
        folds = _folds(labels, 1 if large else FOLDS, seed)
        strength = _choose_strength(standard, labels, classes, folds, seed, large)
        logits = np.full((len(labels), classes), np.nan, np.float32)
        start: Any = None
        for held in folds:
            fitted = start = _fit(standard[~held], labels[~held], classes, strength, start if large else None)
            logits[held] = _logits(fitted, standard[held, 0])
        seen = ~np.isnan(logits[:, 0])
        temperature = _temperature(logits[seen], labels[seen])
        weights, bias = _fit(standard, labels, classes, strength, start if large else None)
    plain = weights / scale
    return Head(
        (plain / temperature).astype(np.float32),
        ((bias - plain @ mean) / temperature).astype(np.float32),
        temperature,
        strength,
        softmax(logits / temperature).astype(np.float32),
    )


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


def _choose_strength(
    rows: Floats, labels: Ints, classes: int, folds: list[NDArray[np.bool_]], seed: int, large: bool
) -> float:
    """The strength with the least log loss on held-out photos."""
    if large:
        random = np.random.default_rng([seed, 1])
        places = np.sort(random.permutation(len(labels))[:SEARCH_ROWS])
        rows, labels = rows[places, :1], labels[places]
        folds = _folds(labels, 1, seed)
    if not folds:
        return 1.0
    losses = []
    for strength in STRENGTHS:
        loss = count = 0.0
        for held in folds:
            fitted = _fit(rows[~held], labels[~held], classes, strength, tolerance=1e-3 if large else 1e-4)
            logits = _logits(fitted, rows[held, 0])
            picked = softmax(logits)[np.arange(len(logits)), labels[held]]
            loss -= float(np.log(np.maximum(picked, 1e-12)).sum())
            count += len(logits)
        losses.append(loss / count)
    return STRENGTHS[int(np.argmin(losses))]


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
    warm = start is not None and len(present) == classes > 2
    model = require_solver().LogisticRegression(
        C=strength / views, max_iter=200, tol=tolerance, warm_start=start is not None
    )
    if warm:
        model.coef_, model.intercept_ = start[0].astype(np.float32), start[1].astype(np.float32)
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
