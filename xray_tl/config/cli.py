"""Exit of commands: an error gives one clear line and an exit code, and a traceback only on request."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from xray_tl.errors import InputError, RunError

INTERRUPTED = 130  # the shell's code for Ctrl-C
STOPS = ("SIGTERM", "SIGUSR1", "SIGUSR2")
"""Names of the signals by which schedulers stop a job; not every operating system has all of them."""

GONE = {
    "hydra.callbacks.summary.jobs": "hydra.launcher.jobs, of hydra/launcher=parallel",
    "optim=lbfgs": "mode=frozen solves its head by itself (mode.head=solved)",
    "mode.head_epochs": "mode=lp_ft starts from the solved head",
    "mode.head_tolerance": "mode=lp_ft starts from the solved head",
}
"""Options of earlier versions -> what took their place."""


def refuse_gone(overrides: Sequence[str]) -> None:
    """Refuse options of earlier versions, before Hydra says only that it does not know them.

    Raises:
        InputError: An option is gone; the message names its successor.
    """
    for override in overrides:
        given = override.lstrip("+~")
        for option, successor in GONE.items():
            if given == option or given.startswith(f"{option}="):
                raise InputError(f"{option} is gone: {successor}")


@contextlib.contextmanager
def clean_exit(interrupted: str = "interrupted") -> Iterator[None]:
    """Exit with the message and code 1 on a known error, and with `interrupted` and code 130 on Ctrl-C.

    A scheduler's signals are treated like Ctrl-C. `HYDRA_FULL_ERROR=1` shows the traceback. Hydra itself does
    not catch SystemExit, and prints a traceback for any other exception.
    """
    try:
        with stoppable():
            yield
    except (InputError, RunError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt also for a scheduler's signals that have no handler yet.

    Existing handlers are kept: submitit's handler requests that its job is queued again.
    """
    numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread can set handlers
    unheard = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in unheard:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in unheard:
            signal.signal(number, signal.SIG_DFL)
