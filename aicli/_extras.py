"""The command that installs an extra's packages, for error messages."""

from __future__ import annotations

__all__ = ["DISTRIBUTION", "install_command"]

DISTRIBUTION = "aicli-vision"
"""The name on package indexes. On PyPI ``aicli`` is another project's: no message may tell anyone to install that."""


def install_command(extra: str) -> str:
    """``pip install`` with the packages of an extra, as the installed metadata declare them.

    It names the packages and not the extra, since an extra can be had only from where aicli itself was installed.
    """
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # a source tree that was never installed
        return f"pip install '.[{extra}]' (in a checkout)"
    # What a later Python needs besides (a higher bound, as its wheels begin later) is the same package once more.
    markers = (f"extra == '{extra}'", f'extra == "{extra}"')
    wanted = [
        name.strip() for name, _, marker in (line.partition(";") for line in declared) if marker.strip() in markers
    ]
    return "pip install " + " ".join(f"'{requirement}'" for requirement in wanted)
