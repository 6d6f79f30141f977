"""One node with three engines, which all tests of a run use: starting an engine takes half a minute.

They are ended when the process ends.
"""
from __future__ import annotations

import atexit

from fixture import WIDE, Site
from process import Engine

_site: Site | None = None


def site() -> Site:
    global _site
    if _site is None:
        _site = Site()
        atexit.register(_site.close)
    return _site


def engines() -> tuple[Engine, Engine, Engine]:
    """The first reaches the node through the proxy and keeps prefixes itself; the second through the unix socket, and does
    not; the third has no connector, and room for many requests."""
    at = site()
    first = at.engine("first", endpoint=at.tcp, enable_prefix_caching=True)
    second = at.engine("second", endpoint=at.unix, enable_prefix_caching=False)
    plain = at.engine("plain", **WIDE)
    return first.wait_ready(), second.wait_ready(), plain.wait_ready()
