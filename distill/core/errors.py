"""What a person can mend, as exceptions.

KindredError                exit 2: one line says what was found, where, and what to do
├── BadInput     (ValueError)          a recipe, record, data set or argument that cannot be used
├── MissingInput (FileNotFoundError)   a file or folder that should be there
├── MissingExtra (ImportError)         an optional dependency that the command needs
├── Unsupported  (ValueError)          an architecture, type or format that we do not know
├── Unavailable  (OSError)             a port, a disk or a server that cannot be used now
└── CheckFailed  (RuntimeError)        exit 1: everything ran, and the answer is no
"""


class KindredError(Exception):
    """Anything that the command line prints as one line."""

    exit_code = 2


class BadInput(KindredError, ValueError):
    """A recipe, record, data set or argument that cannot be used."""


class MissingInput(KindredError, FileNotFoundError):
    """A file or folder that should be there."""


class MissingExtra(KindredError, ImportError):
    """An optional dependency that the command needs."""


class Unsupported(KindredError, ValueError):
    """An architecture, type or format that we do not know."""


class Unavailable(KindredError, OSError):
    """A port, a disk or a server that cannot be used now."""


class CheckFailed(KindredError, RuntimeError):
    """Everything ran, and the answer is no: a parity gate, a leak check."""

    exit_code = 1
