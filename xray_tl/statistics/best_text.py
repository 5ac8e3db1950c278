"""Which treatment is best, in words, and the verdicts on which that rests."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from xray_tl.statistics.families import Family, Judged

RANKED = 3
"""Fewest treatments of which the best is another question than which of a pair is better."""


MOST_NAMED = 3
"""Largest number of treatments that may be best that are always named; more are, unless fewer are beaten."""


MOST_VERDICTS = 3
"""Largest number of verdicts that are named if nothing speaks against them; more are counted."""


def best_clauses(family: Family, metric: str) -> list[str]:
    """Return a clause on which of three or more treatments is best, where verdicts tell anything of it.

    Args:
        family: A question.
        metric: Name of its metric, if that is to be said; else empty.
    """
    best, beaten = family.may_be_best, family.beaten
    if len(family.asked_best) < RANKED or not (beaten or _are_alike(family)):
        return []
    if not best:
        return ["verdicts contradict each other: each is beaten by another"]
    within = f" in {metric}" if metric else ""
    if not beaten:
        return [f"all {len(best)} are equivalent{within}"]
    few = len(best) <= max(MOST_NAMED, len(beaten))
    named = _listed(best, "or") if few else f"any but {_listed(beaten, 'and')}"
    alike = ", which are equivalent" if few else ": all others are equivalent"
    return [f"the best of {len(family.asked_best)}{within} is {named}{alike if _are_alike(family) else ''}"]


def worth_saying(family: Family) -> tuple[Sequence[Judged], int]:
    """Return the verdicts that a sentence names, and how many are left that no clause has said.

    Where the question is which of three or more is best: those against which something speaks; then the first
    few of those between what may be best, and of one that beats each beaten treatment, by what may be best if
    that does. Else all.
    """
    if len(family.asked_best) < RANKED:
        return family.decided, 0
    best, alike = family.may_be_best, _are_alike(family)
    said = [] if alike else [found for found in _rivals(family) if found in family.decided]
    for name in family.beaten:
        against = [
            found
            for found in family.decided
            if name in found.contrast.of_best and found.verdict and found.verdict.better not in (None, name)
        ]
        said.append(min(against, key=lambda found: (_is_noted(found), not _is_of(found, [*best, name]))))
    noted = [found for found in family.decided if _is_noted(found)]
    plain = {found.contrast.of_best: found for found in said if not _is_noted(found)}
    named = noted + list(plain.values())[:MOST_VERDICTS]
    return named, len(family.decided) - len(named) - (len(_rivals(family)) if alike else 0)


def _rivals(family: Family) -> list[Judged]:
    """Return the pairs of what may be best."""
    return [found for found in family.judged if _is_of(found, family.may_be_best)]


def _is_of(found: Judged, names: Collection[str]) -> bool:
    return all(name in names for name in found.contrast.of_best)


def _are_alike(family: Family) -> bool:
    """Tell whether all that may be best are equivalent, with nothing to be said against it."""
    rivals = _rivals(family)
    kinds = {found.verdict.kind if found.verdict else "" for found in rivals}
    return kinds == {"equivalent"} and not any(map(_is_noted, rivals))


def _is_noted(found: Judged) -> bool:
    """Tell whether something is to be said against a verdict."""
    contradicted = found.standing is not None and found.standing.contradicted
    return contradicted or bool(found.verdict and found.verdict.apart)


def _listed(names: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))
