"""How commands end: one clear line and an exit code, a traceback only where it is asked for."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from xray_tl.errors import InputError, RunError

INTERRUPTED = 130  # the shell's code for Ctrl-C


@contextlib.contextmanager
def clean_exit(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn a known failure into its message and exit code 1, Ctrl-C into `interrupted` and the shell's code.

    `HYDRA_FULL_ERROR=1` shows the traceback. Hydra itself does not catch SystemExit, and prints a traceback
    for anything else.
    """
    try:
        yield
    except (InputError, RunError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
