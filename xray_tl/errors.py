"""The two failures that a user meets: what was asked for cannot be done; or a run broke on the way."""

from __future__ import annotations

import re


class InputError(Exception):
    """What a user asked for cannot be done; the message names the option or file and the valid choices."""


class FolderError(InputError):
    """A folder belongs to another run or process: nothing may be written to it."""


class InUseError(FolderError):
    """Another process works on a folder: what it makes of it shows later."""


class RunError(Exception):
    """A run failed for a known reason; the message says what happened and what to change."""


def refusal(error: Exception) -> InputError | None:
    """Return the `InputError` that a resolver raised, if any: OmegaConf keeps its message alone."""
    match = re.match(r"InputError raised while resolving interpolation: (.*)", str(error))
    return InputError(match[1]) if match else None
