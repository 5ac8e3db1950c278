"""Repeated looks at a contrast whose readers come in rungs, such as 5, 8, 12 and 20: sequential p values.

With N fixed, the variance of the mean of S readers is V = k + tau^2 / S, so that of L rungs the information
fraction of rung l is

    t_l = V_L / V_l = (lambda + 1 / S_L) / (lambda + 1 / S_l),       lambda = k / tau^2

lambda is taken at its lower 10 % confidence bound, k / S^2 chi^2_.10(S - 1) / (S - 1): where few readers
hardly tell how readers vary, a look is given less to spend. `boundaries` turns a look's guarded p value into
the overall level at which it would just reach its bound. The smallest of these so far is the sequential p
value: a p value at whichever rung one stops and for whatever reason, which never rises. The repeated interval
of the last look (Jennison & Turnbull 1989) holds its level in the same way. Equivalence has one-sided bounds
at +- the margin (Jennison & Turnbull 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from scipy.stats import chi2

from xray_tl.statistics.boundaries import levels, overall
from xray_tl.statistics.estimates import Estimate, projected
from xray_tl.statistics.guarded import Spread
from xray_tl.statistics.verdict import ALPHA, MARGIN, equivalence

Array = NDArray[np.float64]

CAUTION = 0.10
"""Chance that the true lambda lies below the bound that is taken for it."""
LARGEST = 100.0
"""Largest lambda that is told from larger ones: all looks are then nearly the same look."""
LEAST_CHANCE = 0.1
"""A contrast goes on while the chance that the last rung decides it is at least this."""
LIKELY = 0.5
"""Chance from which a number of cases is named as one that would decide."""
DOUBLINGS = 4
"""How often the number of cases is doubled at most, to find one that would decide."""


@dataclass(frozen=True)
class Look:
    """A contrast at one rung.

    Attributes:
        estimate: Its estimate, with the repeated interval.
        information: Information fraction t of the rung.
        level: Nominal two-sided level of this look.
        p: Overall level at which this look would just tell it from 0.
        p_equivalent: The same for equivalence.
    """

    estimate: Estimate
    information: float
    level: float
    p: float
    p_equivalent: float


@dataclass(frozen=True)
class Course:
    """A contrast at each rung that it has reached, the first one first.

    Attributes:
        rungs: Numbers of readers of all rungs; one alone where no reader varies the contrast.
        looks: Its looks.
    """

    rungs: tuple[int, ...]
    looks: tuple[Look, ...]

    @property
    def p(self) -> float:
        """Return the sequential p value of no difference; 1 before the first look."""
        return min((look.p for look in self.looks), default=1.0)

    @property
    def p_equivalent(self) -> float:
        """Return the sequential p value of a difference beyond the margin."""
        return min((look.p_equivalent for look in self.looks), default=1.0)

    @property
    def at_top(self) -> bool:
        """Tell whether it has reached the last rung."""
        return len(self.looks) == len(self.rungs)

    def up_to(self, count: int) -> Course:
        """Return its first looks."""
        return replace(self, looks=self.looks[:count])


def information(rungs: Sequence[int], share: ArrayLike) -> Array:
    """Return the information fraction of each rung [..., L].

    Args:
        rungs: Numbers of readers.
        share: lambda, k / tau^2 [...].
    """
    variance = np.minimum(share, LARGEST)[..., None] + 1 / np.asarray(rungs, dtype=np.float64)
    return np.asarray(variance[..., -1:] / variance)


def cautious_share(cases: ArrayLike, between: ArrayLike, readers: int) -> Array:
    """Return the lower confidence bound of lambda.

    Args:
        cases: k, the variance that readers do not average out.
        between: S^2, mean square between readers.
        readers: Their number.
    """
    low = chi2.ppf(CAUTION, readers - 1) / (readers - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(cases, dtype=np.float64) / np.asarray(between, dtype=np.float64) * low
    return np.where(np.isnan(found), 0.0, np.minimum(found, LARGEST))


def climb(
    estimates: Sequence[Estimate], rungs: Sequence[int], margin: float = MARGIN, alpha: float = ALPHA
) -> Course:
    """Judge a contrast at each rung that it has reached.

    Args:
        estimates: Its estimate at each of the first rungs, of the first readers in their declared order.
        rungs: Numbers of readers of all rungs, rising.
        margin: Largest difference that counts as equivalent.
        alpha: Overall level of the repeated intervals.
    """
    if estimates and estimates[0].readerless:  # cases are all that varies, and all of them are there
        only = estimates[0]
        look = Look(only, 1.0, alpha, only.p, equivalence(only, margin))
        return Course((rungs[0],), (look,))
    looks = []
    for place, found in enumerate(estimates):
        reached = information(rungs, _share(found.spread, found.readers))[: place + 1]
        level = float(levels(reached, alpha)[-1])
        lower, upper = found.interval(1 - level) if level > 0 else (-np.inf, np.inf)
        looks.append(
            Look(
                replace(found, lower=lower, upper=upper),
                float(reached[-1]),
                level,
                overall(found.p, reached),
                overall(equivalence(found, margin), reached, sides=1),
            )
        )
    return Course(tuple(rungs), tuple(looks))


def _share(about: Spread, readers: int) -> float:
    return float(cautious_share(about.cases, about.readers * readers, readers))


def chance(
    course: Course, margin: float = MARGIN, alpha: float = ALPHA, family: int = 1, cases: int | None = None
) -> float:
    """Return the chance that an undecided contrast is decided at the last rung; it stops nothing by itself.

    Of a flat prior, D_L given D_l is N(D_l, V_l - V_L). Both variances come from the present k and S^2.

    Args:
        course: Its looks so far, one at least.
        margin: Largest difference that counts as equivalent.
        alpha: Error rate of its family, and of equivalence.
        family: Number of contrasts in its family that are not told from 0 yet.
        cases: Number of cases; by default the present ones.
    """
    now, last = course.looks[-1].estimate, course.rungs[-1]
    if now.se == 0:
        return 0.0
    then = projected(now, now.readers if now.readerless else last, cases or now.cases)
    if now.readerless:
        last_level, last_one_sided = alpha / family, alpha
    else:
        fractions = information(course.rungs, _share(then, last))
        last_level = float(levels(fractions, alpha / family)[-1])
        last_one_sided = float(levels(fractions, alpha, sides=1)[-1])
    moved = np.sqrt(max(now.spread.squared - then.squared, 0.0))
    told, same = then.reach(last_level / 2), margin - then.reach(last_one_sided)
    if same >= told:
        return 1.0
    if moved == 0:
        return float(abs(now.value) >= told or abs(now.value) <= same)
    either = ndtr((now.value - told) / moved) + ndtr((-now.value - told) / moved)
    within = ndtr((same - now.value) / moved) - ndtr((-same - now.value) / moved) if same > 0 else 0.0
    return float(either + within)


def cases_that_decide(
    course: Course, margin: float = MARGIN, alpha: float = ALPHA, family: int = 1
) -> int | None:
    """Return a number of cases with which the last rung would probably decide; `None` if there is none.

    It is the first of 2, 4, 8 and 16 times the present number. Takes the arguments of `chance`.
    """
    now = course.looks[-1].estimate
    if not now.random_cases:
        return None
    for doubling in range(1, DOUBLINGS + 1):
        cases = now.cases * 2**doubling
        if chance(course, margin, alpha, family, cases) >= LIKELY:
            return cases
    return None
