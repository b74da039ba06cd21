"""Which of a model's signatures is the classifier."""

from __future__ import annotations

from collections.abc import Sequence

from aicli.catalog.formats.tflite import ModelInfo, Signature
from aicli.catalog.inspect import ModelFile, inspect_file
from aicli.catalog.outputs import classes_of
from aicli.catalog.preprocess import find_input
from aicli.errors import Hint, ModelError, OptionName, Remark, UsageError

__all__ = ["choose_signature"]


def choose_signature(
    name: str, file: ModelFile, wanted: str | None, labels: Sequence[str] | None
) -> tuple[Signature | None, tuple[str, ...]]:
    """The signature to run and notes on that; ``None`` where the file has none, and its first graph is run.

    Without ``wanted`` it is the only one that takes an image and answers classes, the only one of these that has as
    many classes as there are labels, or the only one that answers probabilities. Raises :class:`UsageError` where
    several are left, and for one that is not there.
    """
    signatures = file.info.signatures
    if wanted is not None:
        found = next((item for item in signatures if item.name == wanted), None)
        if found is None:
            there = ", ".join(item.name for item in signatures) or "none"
            raise UsageError(f"{name}: there is no signature '{wanted}'; the model has {there}")
        return found, ()
    if len(signatures) < 2:
        return (signatures[0] if signatures else None), ()
    graphs = {item: _info(file, item) for item in signatures}
    usable = [item for item, info in graphs.items() if _classes(name, info)]
    fitting = [item for item in usable if labels is not None and len(labels) in _classes(name, graphs[item])]
    probable = [item for item in usable if "probabilities" in graphs[item].kinds]
    for candidates in (usable, fitting, probable):
        if len({item.graph for item in candidates}) == 1:
            chosen = candidates[0]
            return chosen, _note(name, signatures, chosen)
    if not usable:
        return next((item for item in signatures if item.graph == 0), None), ()
    listed = ", ".join(item.name for item in usable)
    raise UsageError(f"{name}: the model has the signatures {listed}", hint=Hint("signature", "choose one with {}"))


def _info(file: ModelFile, signature: Signature) -> ModelInfo:
    return inspect_file(file.path, metadata=False, graph=signature.graph).info if signature.graph else file.info


def _classes(name: str, info: ModelInfo) -> list[int]:
    """The numbers of classes of a graph's outputs; none where it does not take one image."""
    try:
        batch = find_input(name, info).batch_size
    except ModelError:
        return []
    return [count for output in info.outputs if (count := classes_of(output, batch))]


def _note(name: str, signatures: Sequence[Signature], chosen: Signature) -> tuple[str, ...]:
    others = ", ".join(item.name for item in signatures if item.graph != chosen.graph)
    option = OptionName("signature")
    said = Remark(f"{name}: the signature {chosen.name} is used (there is {others} too; ", option, " chooses)")
    return (said,) if others else ()
