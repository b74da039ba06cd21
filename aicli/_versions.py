"""Which version of a package is installed, without importlib.metadata: its import takes 30 ms of a cold start."""

from __future__ import annotations

import os
from importlib.util import find_spec

__all__ = ["installed_version"]


def installed_version(package: str, distribution: str) -> str:
    """The version in the name of the ``.dist-info`` folder beside an installed package.

    Where that is not so plain, the answer is importlib.metadata's, with its errors.
    """
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        begin, end = f"{distribution.replace('-', '_')}-", ".dist-info"
        found = [name for name in names_in(os.path.dirname(location)) if name.startswith(begin) and name.endswith(end)]
        if len(found) == 1:
            return found[0][len(begin) : -len(end)]
    from importlib.metadata import version

    return version(distribution)


def names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # a package in an archive
        return []
