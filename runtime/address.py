"""Where a server listens.

In: a host and a port. Out: a listening socket and its URL. Refused: an address that other
machines can reach without a key (BadInput), and a port that cannot be had (Unavailable).
"""

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distill.core.errors import BadInput, Unavailable
from distill.core.ports import port_refused

BACKLOG = 128
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """True for a name or address that only this machine can reach."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_key_off_loopback(host: str, api_key: str | None) -> None:
    if not is_loopback(host) and not api_key:
        raise BadInput(
            f"{host} can be reached from other machines; give --api-key or set KINDRED_API_KEY, "
            "or serve on 127.0.0.1"
        )


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket; taken before the file is opened, so that a port in use costs no wait."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise BadInput(f"{host} is no address of this machine ({error})") from error
    with socket.socket(family, kind, protocol) as listener:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError as error:
            raise Unavailable(port_refused(error, host, port)) from error
        yield listener


def address(listener: socket.socket) -> str:
    where: Any = listener.getsockname()
    name = f"[{where[0]}]" if ":" in where[0] else where[0]
    return f"http://{name}:{where[1]}/v1"
