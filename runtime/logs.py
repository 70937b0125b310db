"""One line a request, for machines: JSON on standard error.

In: what a request came to. Out: a line. It holds numbers and routes and never a word of a message,
a header or an address; routes that we do not know are not spelled out.
"""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

ROUTES = frozenset(
    {
        "/health",
        "/metrics",
        "/openapi.json",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/responses",
    }
)


def route_of(path: str) -> str:
    """A path as a name that we chose: what a client typed may be anything."""
    if path in ROUTES:
        return path
    return "/v1/models/NAME" if path.startswith("/v1/models/") else "other"


def write(route: str, method: str, status: int, took_s: float, found: Mapping[str, Any]) -> None:
    """Print one line."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "method": method if method in ("GET", "POST", "OPTIONS", "HEAD") else "other",
        "route": route,
        "status": status,
        "seconds": round(took_s, 4),
        **found,
    }
    print(json.dumps(line), file=sys.stderr, flush=True)
