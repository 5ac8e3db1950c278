"""Sentences on estimates and verdicts, as the terminal and the report print them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xray_tl.statistics.apart import ENOUGH
from xray_tl.statistics.blind_rule import NextCases
from xray_tl.statistics.estimates import LEAST_READERS, LEVEL, Estimate, more_cases_help
from xray_tl.statistics.sameness import NOTHING_VARIES
from xray_tl.statistics.verdict import MARGIN, POWER, Pair, Verdict

FEW = "*"


@dataclass(frozen=True)
class Terms:
    """Words that a study uses for its readers, cases and metric.

    Attributes:
        reader: Word for a reader, such as `seed`.
        case: Word for a case, such as `image`.
        metric: Name of the metric.
        digits: Decimals of the metric.
        level: Level of the intervals.
        repeated: Whether the intervals hold at every look of several.
        higher_is_better: Whether a larger metric is the better one.
    """

    reader: str = "reader"
    case: str = "case"
    metric: str = "AUROC"
    digits: int = 3
    level: float = LEVEL
    repeated: bool = False
    higher_is_better: bool = True

    @property
    def interval(self) -> str:
        """Return the name of the intervals, such as `95 % CI`."""
        return f"{'repeated ' if self.repeated else ''}{100 * self.level:g} % CI"


def p_text(p: float) -> str:
    """Format a p value."""
    if math.isnan(p):
        return "-"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def interval_text(lower: float, upper: float, digits: int = 3) -> str:
    """Format an interval; a dash if it is NaN."""
    if math.isnan(lower) or math.isnan(upper):
        return "-"
    return f"{_plain(lower, digits)} to {_plain(upper, digits)}"


def marked(span: str, estimate: Estimate) -> str:
    """Mark a table's interval if it rests on few readers; `few_text` explains the mark."""
    return f"{span}{FEW}" if estimate.few_readers else span


def with_few(span: str, estimate: Estimate, terms: Terms) -> str:
    """Add to an interval's text on how few readers it rests, if it does."""
    return f"{span}, of only {estimate.readers} {terms.reader}s" if estimate.few_readers else span


def few_text(terms: Terms) -> str:
    """Return the explanation of the mark; its coverage rates were measured by `benchmarks/coverage.py`."""
    return (
        f"{FEW} of two to four {terms.reader}s, which hardly tell how {terms.reader}s vary: it is wide, and "
        "no verdict rests on it. In simulations 95 % intervals of two held the truth in 95 to 98 %, of three "
        "and of four in 95 to 97 %."
    )


def _plain(value: float, digits: int) -> str:
    """Format a number; zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def difference_text(estimate: Estimate, terms: Terms) -> str:
    """Format a difference with its interval."""
    span = with_few(interval_text(estimate.lower, estimate.upper, terms.digits), estimate, terms)
    return f"{terms.metric} {estimate.value:+.{terms.digits}f} ({terms.interval} {span})"


def verdict_text(
    pair: Pair, estimate: Estimate, verdict: Verdict, terms: Terms, margin: float = MARGIN
) -> str:
    """Return a few sentences on the verdict of a pair."""
    text = _verdict_text(pair, estimate, verdict, terms, margin)
    if not estimate.readerless:
        return text
    return f"{text} Neither depends on a {terms.reader}: this is judged over {terms.case}s alone."


def _verdict_text(pair: Pair, estimate: Estimate, verdict: Verdict, terms: Terms, margin: float) -> str:
    first, second = pair
    if verdict.kind == "better":
        size, span = lead_texts(pair, estimate, verdict, terms)
        if verdict.better == second:
            first, second = second, first
        return (
            f"{first} is better than {second}: {terms.metric} by {size} "
            f"({terms.interval} {span}, {p_text(verdict.p)})"
            f"{small_text(verdict, terms)}{but_apart_text(verdict.apart, terms)}."
        )
    if verdict.kind == "equivalent":
        return (
            f"{first} and {second} are equivalent within {margin:g}: {difference_text(estimate, terms)}, "
            f"{p_text(verdict.p_equivalent)} for a larger one{but_apart_text(verdict.apart, terms)}."
        )
    why = f" ({reason})" if (reason := reason_text(estimate, verdict, terms)) else ""
    text = f"Undecided between {first} and {second}{why}: {difference_text(estimate, terms)}."
    return f"{text} {asks_text(estimate, verdict, terms)}".strip()


def lead_texts(pair: Pair, estimate: Estimate, verdict: Verdict, terms: Terms) -> tuple[str, str]:
    """Return by how much the better one of a pair is better, and the interval of that.

    Both may lie below 0: a verdict of an earlier look stands, whatever the present one says.
    """
    sign = 1 if (verdict.better == pair[0]) == terms.higher_is_better else -1
    low, high = sorted((sign * estimate.lower, sign * estimate.upper))
    return _plain(sign * estimate.value, terms.digits), interval_text(low, high, terms.digits)


def small_text(verdict: Verdict, terms: Terms) -> str:
    """Return text on a difference that is real and yet within the margin of equivalence; else empty."""
    return ", less than the margin of equivalence" if verdict.p_equivalent <= 1 - terms.level else ""


def but_apart_text(apart: Mapping[str, tuple[str, ...]], terms: Terms) -> str:
    """Return the end of a verdict's sentence if treatments in it have readers that stand apart."""
    if not apart:
        return ""
    found = " and ".join(apart_text(name, readers, terms) for name, readers in apart.items())
    return f"; but {found}, so that fewer than {ENOUGH} {terms.reader}s can mislead"


def apart_text(treatment: str, readers: tuple[str, ...], terms: Terms) -> str:
    """Return text on a treatment's readers that stand apart from its others."""
    if len(readers) == 1:
        return f"{terms.reader} {readers[0]} of {treatment} stands apart from its others"
    return f"{terms.reader}s {' and '.join(readers)} of {treatment} stand apart from its others"


def reason_text(estimate: Estimate, verdict: Verdict, terms: Terms) -> str:
    """Return why a pair is undecided whatever its interval says; empty if there is no such reason."""
    alike = f"score the {terms.case}s alike, as far as {terms.metric} can tell,"
    if terms.metric == "AUROC":
        alike = f"put the {terms.case}s in the same order"
    return {
        "": "",
        "few readers": f"{estimate.readers} of at least {LEAST_READERS} {terms.reader}s",
        "fixed readers": f"{terms.reader}s taken as fixed stand for no others",
        "many pairs": "the difference does not stand among so many pairs",
        "perfect": f"no {terms.case} is scored wrong by any {terms.reader}: too easy, or too few",
        "constant": f"each gives every {terms.case} one and the same score",
        "alike": f"they {alike} for every {terms.reader}: the difference is exactly 0",
        "no variance": (
            f"the difference is the same for every {terms.reader}, and what {terms.case}s vary cancels out"
        ),
    }[verdict.reason]


def need_text(verdict: Verdict, terms: Terms) -> str:
    """Return a sentence on the sample size that would decide; empty if it cannot be projected."""
    if verdict.need is None or verdict.reason in ("fixed readers", *NOTHING_VARIES):
        return ""
    ways = [
        f"{count} {name}s in all"
        for name, count in ((terms.reader, verdict.need.readers), (terms.case, verdict.need.cases))
        if count is not None
    ]
    if not ways and verdict.reason == "few readers":
        return f"It takes at least {LEAST_READERS} {terms.reader}s to tell."
    if not ways:
        return f"No number of {terms.reader}s alone, nor of {terms.case}s alone, would decide it."
    return f"{' or '.join(ways).capitalize()} would probably decide it."


def share(estimate: Estimate) -> str:
    """Format the cases' share of a variance for a table; a dash if it is not known."""
    found = estimate.cases_share
    return "-" if math.isnan(found) else f"{100 * found:.0f} %"


def asks_text(estimate: Estimate, verdict: Verdict, terms: Terms) -> str:
    """Return sentences on what an undecided pair asks for; empty if that is not known."""
    return " ".join(filter(None, (share_text(estimate, verdict, terms), need_text(verdict, terms))))


def share_text(estimate: Estimate, verdict: Verdict, terms: Terms) -> str:
    """Return a sentence on what holds the variance of an undecided pair, and what that asks for.

    It is empty where nothing is to be chosen: the share is not known, or there are no readers.
    """
    need = verdict.need
    if need is None or estimate.readerless or math.isnan(estimate.cases_share):
        return ""
    held = f"{terms.case.capitalize()}s hold {share(estimate)} of the variance"
    if need.cases is None and need.readers is None:
        return f"{held}."
    for none, word in ((need.readers, terms.reader), (need.cases, terms.case)):
        if none is None:
            return f"{held}: no number of {word}s would decide it."
    if more_cases_help(estimate):
        return (
            f"{held}: twice the {terms.case}s would narrow the interval more than twice the {terms.reader}s."
        )
    but = ", yet" if estimate.cases_share > 0.5 else ":"
    return (
        f"{held}{but} twice the {terms.reader}s would narrow the interval more than twice the {terms.case}s."
    )


def next_cases_text(found: NextCases, terms: Terms) -> str:
    """Return sentences on the number of cases for the next study; `benchmarks/coverage.py` has the 68 %."""
    half, all_ = _rounded_up(found.for_half), _rounded_up(found.for_all)
    numbers = f"{all_} {terms.case}s"
    if half < all_:
        numbers = f"{half} {terms.case}s for half of the pairs, {all_} for all"
    rough = f", roughly, for lack of {terms.reader}s" if found.few_readers else ""
    often = f"in {100 * POWER:g} % of studies"
    if not found.readerless:
        often += (
            f" with many {terms.reader}s, in 68 % with five, if {terms.reader}s vary a difference no more "
            f"than {terms.case}s do"
        )
    return (
        f"For the next study{rough}: {numbers}. This is the blind rule, which uses the variances alone and "
        f"no difference: what is truly equal is then shown equivalent within {found.margin:g} {often}."
    )


def _rounded_up(count: int) -> int:
    """Round up to two digits, which is more than variances are known to."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // step) * step


def second_look_text(terms: Terms) -> str:
    """Return a warning about adding readers after a look; `benchmarks/coverage.py` measured the errors."""
    return (
        f"Adding {terms.reader}s or {terms.case}s after a look is a second look, and raises the error above "
        f"5 %: five {terms.reader}s, then ten, to 6 to 9 %."
    )


def invites_look(verdict: Verdict, terms: Terms) -> bool:
    """Tell whether the text on a pair names a sample size, and so invites a second look."""
    need = verdict.need
    named = need is not None and (need.readers is not None or need.cases is not None)
    return named and bool(need_text(verdict, terms))


def scope_text(estimate: Estimate, terms: Terms, new: Sequence[str] = (), fixed: Sequence[str] = ()) -> str:
    """Return text on the readers and cases to which an estimate generalises.

    Args:
        estimate: A contrast.
        terms: Words of the study.
        new: Names of what its readers drew independently of each other; by default that of a reader.
        fixed: Phrases on what is the same for all readers.
    """
    cases = f"new {terms.case}s" if estimate.random_cases else f"these {terms.case}s alone"
    if estimate.few_readers:
        said = f"{cases} alone, with {estimate.readers} of at least {LEAST_READERS} {terms.reader}s"
        return ", ".join([said, *fixed])
    readers = [f"new {name}s" for name in new or (terms.reader,)]
    if estimate.readerless:
        readers = []
    elif not estimate.random_readers:
        readers = [f"these {terms.reader}s alone"]
    *others, last = [*readers, cases]
    said = f"{', '.join(others)} and {last}" if others else last
    return ", ".join([said, *fixed])
