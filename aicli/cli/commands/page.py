"""``aicli page``."""

from pathlib import Path

import click

__all__ = ["command"]


@click.command("page")
@click.option(
    "-o", "--out", metavar="FOLDER", required=True, type=click.Path(path_type=Path), help="Where the site is written."
)
@click.option(
    "-m",
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    help="A model to put on the page, of the catalog or your own; repeatable.  [default: those that come with aicli]",
)
def command(out: Path, models: tuple[str, ...]) -> int:
    """Write the web page as static files: it finds faces and labels in the browser.

    \b
        aicli page --out site/
        python3 -m http.server --directory site/ --bind 127.0.0.1

    Photos stay in the browser, and the page works without a network after the first visit. Any web server serves the
    folder; a browser does not open it from the disk. Reached from another machine, the server needs TLS (https:):
    without it browsers give neither the camera nor the page without a network. In a folder that an earlier run wrote,
    the files are brought up to date; one with other files is refused.
    """
    from aicli.catalog.files import format_size
    from aicli.page.site import write_site

    site = write_site(out, models)
    click.echo(f"{site.folder}: {site.files} files, {format_size(site.size)}")
    return 0
