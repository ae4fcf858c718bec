"""Ctrl-C, at a chosen write or a chosen moment."""

import pickle
import signal
import time
from contextlib import contextmanager


class InterruptedWrites:
    """A mix-in: the n-th attribute that is written is not, since the user presses Ctrl-C."""

    def __setattr__(self, name, value):
        if "callback" in name:  # scikit-learn's own, which it cannot take down half-written
            return super().__setattr__(name, value)
        if vars(self).get("writes_left") == 0:
            raise KeyboardInterrupt
        if "writes_left" in vars(self):
            vars(self)["writes_left"] -= 1
        super().__setattr__(name, value)


def interrupted_at_write(model, n, act):
    """A copy of the model after the n-th write of ``act`` was interrupted; None where there are not so many."""
    kind = type(model).__name__
    copy = pickle.loads(pickle.dumps(model))
    copy.__class__ = type(kind, (InterruptedWrites, type(model)), {})
    vars(copy)["writes_left"] = n
    try:
        act(copy)
    except KeyboardInterrupt:
        pass
    else:
        return None
    finally:
        vars(copy).pop("writes_left", None)
        copy.__class__ = type(model)
    return copy


class StillRunning(BaseException):
    """An interrupted call has not come back."""


def interrupted_after(delay, act, patience=20.0):
    """Ctrl-C after so many seconds of act(), unless it has ended; fails where it then goes on for too long."""
    sent, armed = [], []

    def interrupt(number, stack):
        if armed:
            sent.append(time.perf_counter())
            raise KeyboardInterrupt if len(sent) == 1 else StillRunning

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6), patience)
    try:  # twice: Ctrl-C may come between the end of act() and the end of armed
        try:
            armed.append(True)
            act()
        finally:
            armed.clear()
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class TakesTooLong(AssertionError):
    """A call has used more CPU time than it may."""


@contextmanager
def at_most(seconds):
    """Fail once the block has used so much CPU time, of all threads; where there are no such timers, after it."""

    def stop(number, stack):
        raise TakesTooLong(f"more than {seconds} seconds of CPU time")

    timed = hasattr(signal, "ITIMER_PROF")
    before, start = signal.signal(signal.SIGPROF, stop) if timed else None, time.process_time()
    try:
        if timed:
            signal.setitimer(signal.ITIMER_PROF, seconds)
        yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.signal(signal.SIGPROF, before)
    if time.process_time() - start > seconds:
        raise TakesTooLong(f"more than {seconds} seconds of CPU time")
