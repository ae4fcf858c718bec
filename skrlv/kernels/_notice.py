"""One line in the log when a process begins to compile kernels, since that takes seconds."""

import logging

from numba.core import event

LOGGER = logging.getLogger("skrlv")


class Notice(event.Listener):
    """Logs the first kernel of this library that numba compiles; none that it loads from its cache."""

    def __init__(self):
        self._told = False

    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if not self._told and function.__module__.startswith("skrlv."):
            self._told = True
            LOGGER.warning(
                "skrlv: numba compiles kernels, beginning with %s, which takes some seconds. They are cached for later "
                "processes; skrlv.warmup() compiles them ahead of time.",
                function.__name__,
            )

    def on_end(self, event):
        pass


def register():
    """Tell once in this process."""
    event.register("numba:compile", Notice())
