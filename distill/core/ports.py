"""Why a port cannot be had, in the one line that every server of ours says.

In: the system's error. Out: the line. Nothing is refused here.
"""

import errno


def port_refused(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port, or a free one with 0"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has; choose one above 1023"
    return f"{host}:{port} cannot be listened on ({error.strerror})"
