"""Third parties kept quiet while they train: their bars, logs and known warnings.

Standard output belongs to the outcome. Only warnings that are known, and say nothing that a
person could act on, are silenced; all others pass.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import datasets
import transformers


@contextmanager
def quiet() -> Iterator[None]:
    """Silence for the length of a block; what was set before is set again after it."""
    verbosity = transformers.utils.logging.get_verbosity()
    levels = {name: logging.getLogger(name).level for name in ("trl", "accelerate", "datasets")}
    bars = datasets.are_progress_bars_disabled()
    tqdm = os.environ.get("TQDM_DISABLE")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        transformers.utils.logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
        if tqdm is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = tqdm
