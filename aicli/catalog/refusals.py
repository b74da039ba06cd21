"""Models that cannot be run or are for something else, in the words of the person who has one."""

from __future__ import annotations

from aicli.catalog.inspect import ModelFile
from aicli.errors import ModelError

__all__ = ["require_classifier", "require_weights"]

EDGE_TPU = "edgetpu-custom-op"
DETECTION = "TFLite_Detection_PostProcess"
FLEX = "Flex"


def require_classifier(name: str, file: ModelFile) -> None:
    """Raises :class:`ModelError` for a file that no TFLite engine runs, or that says that it is for another task."""
    custom = file.info.custom
    if EDGE_TPU in custom:
        twin = file.path.with_name(file.path.name.replace("_edgetpu", ""))
        there = f": {twin}" if twin != file.path and twin.is_file() else ""
        raise ModelError(
            f"{name}: this model was compiled for the Edge TPU and runs nowhere else; use the file that it was compiled"
            f" from, usually of the same name without _edgetpu{there}"
        )
    if DETECTION in custom:
        raise ModelError(f"{name}: not an image classifier: this is an object detector (it ends in {DETECTION})")
    flex = [item.removeprefix(FLEX) for item in custom if item.startswith(FLEX)]
    if flex:
        raise ModelError(
            f"{name}: this model needs operators of TensorFlow itself (Flex: {', '.join(flex[:5])}); convert it with"
            " TFLITE_BUILTINS alone, without SELECT_TF_OPS"
        )
    if custom:
        raise ModelError(
            f"{name}: this model needs operators that TFLite does not have ({', '.join(custom[:5])}); convert it"
            " without custom operators"
        )
    if file.ultralytics and file.ultralytics.task != "classify":
        raise ModelError(
            f"{name}: not an image classifier: this is an Ultralytics model for the task '{file.ultralytics.task}';"
            " export one whose name ends in -cls"
        )


def require_weights(name: str, file: ModelFile, signature: str | None) -> None:
    """Raises :class:`ModelError` for a graph whose weights are not in the file: it would answer with NaN."""
    if file.info.unset:
        entry = f"the signature {signature}" if signature else "it"
        raise ModelError(
            f"{name}: {entry} reads its weights from variables that nothing in the file sets, as exports for training"
            " on a device do; convert the trained model with its variables frozen"
        )
