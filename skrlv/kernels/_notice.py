"""One line in the log when a process begins to compile kernels, since that takes seconds."""

import logging

from numba.core import event

LOGGER = logging.getLogger("skrlv")
CACHED = "They are cached for later processes; skrlv.warmup() compiles them ahead of time."
UNCACHED = "No folder for them can be written, so every process compiles them: set NUMBA_CACHE_DIR to one that can."


class Notice(event.Listener):
    """Logs the first kernel of this library that numba compiles; none that it loads from its cache."""

    def __init__(self):
        self._told = False

    def on_start(self, event):
        kernel = event.data["dispatcher"]
        if not self._told and kernel.py_func.__module__.startswith("skrlv."):
            self._told = True
            LOGGER.warning(
                "skrlv: numba compiles kernels, beginning with %s, which takes some seconds. %s",
                kernel.py_func.__name__,
                UNCACHED if kernel.stats.cache_path is None else CACHED,
            )

    def on_end(self, event):
        pass


def register():
    """Tell once in this process."""
    event.register("numba:compile", Notice())
