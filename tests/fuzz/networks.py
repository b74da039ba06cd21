"""Networks whose answer to any input is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from tests.made_models import FLOAT32, UINT8, ModelMaker, identity

__all__ = ["NETWORKS", "Network"]


@dataclass(frozen=True)
class Network:
    """A model with one input of this type and shape (-1: open), and what it answers to the bytes of one."""

    name: str
    model: bytes
    dtype: str
    signature: tuple[int, ...]
    answer: Callable[[bytes], bytes]

    def values(self, random: Random, count: int) -> bytes:
        if self.dtype == "uint8":
            return random.randbytes(count)
        return np.array([random.uniform(-9, 9) for _ in range(count)], "<f4").tobytes()


def negative() -> bytes:
    made = ModelMaker()
    taken, given = made.tensor([2, 4], FLOAT32), made.tensor([2, 4], FLOAT32)
    made.operator("NEG", [taken], [given], "NegOptions")
    return made.finish([taken], [given])


def negated(data: bytes) -> bytes:
    """What the network above answers; the processor takes the smallest numbers (subnormal ones) for 0."""
    values = np.frombuffer(data, "<f4")
    return (0 - np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)).tobytes()


def flat() -> bytes:
    made = ModelMaker()
    taken, given = made.tensor([1, 2, 2, 3], UINT8), made.tensor([1, 12], UINT8)
    made.operator("RESHAPE", [taken, made.constant([1, 12], "int32")], [given], "ReshapeOptions", newShape=[1, 12])
    return made.finish([taken], [given])


NETWORKS = (
    Network("open", identity(), "float32", (1, -1, 4), lambda _: np.array([0.25, 0, 0.75], "<f4").tobytes()),
    Network("negative", negative(), "float32", (2, 4), negated),
    Network("flat", flat(), "uint8", (1, 2, 2, 3), lambda data: data),
)
