"""``aicli serve``."""

import sys
from importlib.util import find_spec

from aicli.cli.options import option_command
from aicli.serve.settings import Settings

__all__ = ["command"]

PACKAGES = ("starlette", "httptools", "python_multipart")


@option_command("serve")
def command(settings: Settings) -> int:
    """Serve the same functions over HTTP, with a web page.

    \b
        aicli serve
        curl --data-binary @photo.jpg http://127.0.0.1:8080/v1/classify
        curl --data-binary @group.jpg -H "Accept: image/png" http://127.0.0.1:8080/v1/faces -o boxes.png

    The page is at http://127.0.0.1:8080/, the API's description at /docs. Logs go to standard error, a line of JSON
    each. SIGTERM or Ctrl-C lets requests end first.
    """
    from aicli._extras import install_command
    from aicli.errors import UnavailableError

    if sys.platform == "win32":
        raise UnavailableError("aicli serve needs Linux or macOS: its workers are held by limits that Windows lacks")
    if any(find_spec(package) is None for package in PACKAGES):
        raise UnavailableError(f"aicli serve needs more packages; run: {install_command('serve')}")
    from aicli.serve.http.server import run

    return run(settings)
