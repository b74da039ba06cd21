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
