"""Third parties kept quiet while they train: their bars, logs and known warnings.

Standard output belongs to the outcome. Only warnings that are known, and say nothing that a
person could act on, are silenced; all others pass.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import datasets
from transformers.utils import logging as transformers_logging

library: Any = transformers_logging
# TRL 1.16 still asks transformers by the old name.
KNOWN = ("`is_gradient_checkpointing` is deprecated",)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence for the length of a block; what was set before is set again after it."""
    verbosity = library.get_verbosity()
    levels = {name: logging.getLogger(name).level for name in ("trl", "accelerate", "datasets")}
    bars = datasets.are_progress_bars_disabled()
    own_bar = library.is_progress_bar_enabled()
    tqdm = os.environ.get("TQDM_DISABLE")
    library.set_verbosity_error()
    library.disable_progress_bar()
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in KNOWN:
                warnings.filterwarnings("ignore", re.escape(message), FutureWarning)
            yield
    finally:
        library.set_verbosity(verbosity)
        if own_bar:
            library.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
        if tqdm is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = tqdm
