"""A build's addresses: where the project lives is known where a release is built, and nowhere in the source.

``AICLI_PROJECT_URL=https://host/owner/repository`` fills ``urls`` of the metadata and completes the links of README.md,
which an index shows without the files around it. Without it there are no addresses, so that a fork or a package that
somebody builds of a checkout does not point at other people. A source archive keeps those it was built with.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "AICLI_PROJECT_URL"
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)\)")


class ProjectAddress(MetadataHookInterface):
    """Sets ``urls`` and ``readme``, unless a source archive's own metadata has them already."""

    def update(self, metadata: dict[str, Any]) -> None:
        home = os.environ.get(VARIABLE, "").rstrip("/")
        if home and not is_address(home):
            raise ValueError(f"{VARIABLE} must be an address like https://host/owner/repository, not {home!r}")
        version = metadata["version"]
        readme = (Path(self.root) / "README.md").read_text("utf-8")
        if home:
            readme = LINK.sub(rf"]({home}/blob/v{version}/\1)", readme)
            metadata.setdefault("urls", urls(home, version))
        metadata.setdefault("readme", {"content-type": "text/markdown", "text": readme})


def is_address(text: str) -> bool:
    parts = urlsplit(text)
    return (
        parts.scheme == "https" and bool(parts.hostname) and bool(parts.path) and not re.search(r"[\s\\<>\"?#]", text)
    )


def urls(home: str, version: str) -> dict[str, str]:
    """By label, as https://packaging.python.org/en/latest/specifications/well-known-project-urls/ names them."""
    tag = f"v{version}"
    return {
        "Homepage": home,
        "Source": f"{home}/tree/{tag}",
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/{tag}/CHANGELOG.md",
        "Documentation": f"{home}/tree/{tag}/docs",
    }
