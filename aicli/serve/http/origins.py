"""Which requests come from the pages of other sites (Origin, Sec-Fetch-Site), and under which name."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["host_name", "is_foreign"]

DEFAULT_PORT = re.compile(r":(80|443)$")


def host_name(host: str) -> str:
    """The name in a Host header, without the port and the brackets of an IPv6 address."""
    name = host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
    return name.strip("[]").lower()


def is_foreign(origin: str, site: str, host: str, allowed: Sequence[str]) -> bool:
    """Whether a browser says that another site's page sent the request. Programs that are no browsers say nothing.

    A form or an image of another site needs no permission to be sent (no preflight), and would make this machine's
    service work for whoever wrote the page. ``Sec-Fetch-Site`` is what the browser itself found; browsers that do not
    send it, and plain HTTP off loopback, leave ``Origin`` to be compared with the name that was asked.
    """
    if origin in allowed:
        return False
    if site:
        return site not in ("same-origin", "none")
    scheme, _, name = origin.partition("://")
    own = DEFAULT_PORT.sub("", host.lower())
    return bool(origin) and (scheme not in ("http", "https") or DEFAULT_PORT.sub("", name.lower()) != own)
