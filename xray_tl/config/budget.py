"""What a sweep that stops when it is decided may cost at most (`budget`): a number of runs, or hours."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from xray_tl.errors import InputError


@dataclass(frozen=True)
class Budget:
    """A limit in runs or in hours of computing; `None`: there is no such limit.

    Attributes:
        runs: Number of runs in the sweep's folder.
        hours: Hours that these runs took, one after another, as their records have it.
    """

    runs: int | None = None
    hours: float | None = None

    def allows(self, runs: int, hours: float) -> bool:
        """Tell whether this many runs that take so many hours are within the budget."""
        return (self.runs is None or runs <= self.runs) and (self.hours is None or hours <= self.hours)

    def left(self, runs: int, hours: float) -> str:
        """Return what is left of it, as text; empty if there is no limit."""
        if self.runs is not None:
            return f"{max(0, self.runs - runs)} of {self.runs} runs left"
        return (
            "" if self.hours is None else f"{max(0.0, self.hours - hours):.1f} of {self.hours:g} hours left"
        )


def budget_of(cfg: DictConfig) -> Budget:
    """Return the budget that a configuration states.

    Raises:
        InputError: It is neither a number of runs nor hours.
    """
    given = OmegaConf.select(cfg, "budget", default=None)
    if given is None:
        return Budget()
    found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)h", str(given))
    if found is None or not float(found[1] or found[2]):
        raise InputError(
            f"budget={given} is not valid: give a number of runs, such as 200, or hours, such as 4h"
        )
    return Budget(runs=int(found[1])) if found[1] else Budget(hours=float(found[2]))
