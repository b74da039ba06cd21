"""Hooks of mkdocs (mkdocs.yml): the pages that lie outside docs/ join the site, and links between them are mended.

The Markdown is the repository's, where README.md links to ``docs/cli.md`` and docs/ to ``../CHANGELOG.md``.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    **{
        name: name
        for name in (
            *("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"),
            *("benchmarks/report.md", "benchmarks/serve.md", "benchmarks/train.md"),
            *("models/README.md", "examples/README.md"),
        )
    },
}
"""Pages beside docs/, as the repository and as the site names them."""

PICTURES = ("benchmarks/*.png", "benchmarks/*.svg")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, target in PAGES.items():
        files.append(File.generated(config, target, content=(PROJECT / source).read_text("utf-8")))
    for pattern in PICTURES:
        for picture in PROJECT.glob(pattern):
            name = picture.relative_to(PROJECT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    shown_as = page.file.src_uri
    source = next((name for name, target in PAGES.items() if target == shown_as), f"docs/{shown_as}")

    def mend(link: re.Match[str]) -> str:
        if "://" in link["target"]:
            return link[0]
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["target"]))
        target = PAGES.get(named, named.removeprefix("docs/"))
        if files.get_file_from_path(target) is None and (PROJECT / named).exists():
            return link["text"]  # a source file or a folder, which the site has not
        return (
            f"[{link['text']}]({posixpath.relpath(target, posixpath.dirname(shown_as) or '.')}{link['anchor'] or ''})"
        )

    return LINK.sub(mend, markdown)
