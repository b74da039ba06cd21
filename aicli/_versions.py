"""Which version of a package is installed, without importlib.metadata: its import takes 30 ms of a cold start."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["installed_version"]


def installed_version(package: str, distribution: str) -> str:
    """The version in the name of the ``.dist-info`` folder beside an installed package.

    Where that is not so plain, the answer is importlib.metadata's, with its errors.
    """
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        stem = distribution.replace("-", "_")
        found = list(Path(location).parent.glob(f"{stem}-*.dist-info"))
        if len(found) == 1:
            return found[0].name[len(stem) + 1 : -len(".dist-info")]
    from importlib.metadata import version

    return version(distribution)
