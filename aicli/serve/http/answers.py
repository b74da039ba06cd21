"""The service's JSON answers that are no results of a task, as types: the endpoints make them, the API's description
shows them."""

from __future__ import annotations

from typing import TypedDict

__all__ = [
    "ErrorAnswer",
    "ErrorText",
    "Executable",
    "Failed",
    "Failures",
    "Functions",
    "ListedModel",
    "Models",
    "NewExecutable",
    "Size",
    "StoredFunction",
    "StoredModel",
    "TrainingLimits",
    "TrainingRun",
]


class ErrorText(TypedDict):
    """A code for programs, a message for people."""

    code: str
    message: str


class ErrorAnswer(TypedDict):
    error: ErrorText


class Failed(TypedDict):
    """A photo of a form that got no answer."""

    image: str
    error: ErrorText


class Failures(TypedDict):
    results: list[Failed]


class Size(TypedDict):
    """In pixels."""

    width: int
    height: int


class StoredModel(TypedDict):
    """An uploaded classifier, and the notes about how it is fed."""

    name: str
    bytes: int
    created: str
    classes: int
    input: Size
    notes: list[str]


class _Listed(TypedDict):
    name: str
    task: str
    uploaded: bool


class ListedModel(_Listed, total=False):
    """A model that requests may name; an uploaded one is described as when it was kept."""

    bytes: int
    created: str
    classes: int
    input: Size
    notes: list[str]


class Models(TypedDict):
    models: list[ListedModel]


class _Function(TypedDict):
    id: str
    sha256: str
    bytes: int
    tasks: list[str]
    functions: list[str]
    created: str


class StoredFunction(_Function, total=False):
    """A module that was kept; ``description`` is what its owner said of it."""

    description: str


class Functions(TypedDict):
    functions: list[StoredFunction]


class Executable(TypedDict):
    """A module as the Second State FaaS answered for it."""

    wasm_id: str
    wasm_sha256: str


class NewExecutable(Executable):
    SSVM_Usage_Key: str
    SSVM_Admin_Key: str


class _Enabled(TypedDict):
    enabled: bool


class TrainingLimits(_Enabled, total=False):
    """The most that a training takes: photos, classes, bytes of the form, seconds."""

    photos: int
    classes: int
    bytes: int
    seconds: float


class Share(TypedDict):
    """A share and its 95 % interval."""

    value: float
    low: float
    high: float


class ClassFacts(TypedDict):
    """How often a class was right, named and there."""

    label: str
    photos: int
    named: int
    right: int
    precision: float | None
    recall: float | None


class Confusion(TypedDict):
    label: str
    answer: str
    photos: int


class Calibration(TypedDict):
    """Answers with scores of one tenth, their mean and the share of right ones."""

    photos: int
    mean_score: float
    right: float


class Doubted(TypedDict):
    path: str
    label: str
    answer: str
    score: float


class LeftOut(TypedDict):
    image: str
    error: str


class TrainingReport(TypedDict):
    """As ``aicli train --report FILE.json`` writes it."""

    model: str
    base: str
    bytes: int
    labels: list[str]
    trained_on: dict[str, int]
    measured_on: str
    temperature: float
    photos: int
    accuracy: Share
    top_5: Share
    mean_recall: float | None
    calibration_error: float | None
    classes: list[ClassFacts]
    confusion: list[Confusion]
    calibration: list[Calibration]
    mistakes: list[Doubted]
    suspects: list[Doubted]
    failures: list[LeftOut]
    notes: list[str]


class Progress(TypedDict):
    """Photos."""

    done: int
    failed: int
    total: int


class _Run(TypedDict):
    id: str
    state: str
    photos: Progress


class TrainingRun(_Run, total=False):
    """A training that is ``running``, ``done`` or ``failed``, and what came of it."""

    error: ErrorText
    training: TrainingReport
