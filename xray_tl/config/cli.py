"""How commands end: one clear line and an exit code, a traceback only where it is asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from xray_tl.errors import InputError, RunError

INTERRUPTED = 130  # the shell's code for Ctrl-C
STOPS = ("SIGTERM", "SIGUSR1", "SIGUSR2")
"""What schedulers send to a job that must end, as far as this system has it."""


@contextlib.contextmanager
def clean_exit(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn a known failure into its message and exit code 1, Ctrl-C into `interrupted` and the shell's code.

    A scheduler's signals are as Ctrl-C. `HYDRA_FULL_ERROR=1` shows the traceback. Hydra itself does not catch
    SystemExit, and prints a traceback for anything else.
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
    """Raise KeyboardInterrupt for a scheduler's signals too, those that would end this process unheard.

    Others' handlers stay: submitit asks for its job to be queued again.
    """
    numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # handlers are the main thread's to set
    unheard = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in unheard:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in unheard:
            signal.signal(number, signal.SIG_DFL)
