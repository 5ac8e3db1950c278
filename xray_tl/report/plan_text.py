"""A plan as the terminal prints it: tables, what until=decided takes, and a line for a paper; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from scipy.stats import chi2

from xray_tl.statistics.verdict import POWER
from xray_tl.study.pilot import Pilot
from xray_tl.study.sizing import TRUE, Course, Size

FEW_DF = 9
"""Degrees of freedom up to which it is said how little is known of a variance."""


def sizes_table(rows: Sequence[Size], effect: float, reader: str) -> pd.DataFrame:
    """Return one row per question and number of images."""
    return pd.DataFrame(
        {
            "question": [row.question for row in rows],
            "images": [row.images for row in rows],
            f"{reader}s to tell {effect:g}": [row.told for row in rows],
            f"{reader}s to show equality": [row.same for row in rows],
            "trainings": [row.trainings for row in rows],
            "minutes": [row.minutes for row in rows],
        }
    )


def chances_table(found: Course) -> pd.DataFrame:
    """Return one row per contrast and true difference: chance of each verdict, mean number of readers."""
    return pd.DataFrame(
        [
            {
                "question": known.question,
                "contrast": known.name,
                "true": true,
                "better": chance.better,
                "equivalent": chance.equivalent,
                "undecided": 1 - chance.better - chance.equivalent,
                "readers": float(chance.readers.mean()),
            }
            for known, each in found.chances
            for true, chance in zip(TRUE, each, strict=True)
        ]
    )


def format_plan(
    earlier: Pilot,
    rows: Sequence[Size],
    found: Course,
    asked: tuple[str, int, float, float],
    rungs: Sequence[int],
) -> str:
    """Return the plan as text.

    Args:
        earlier: The earlier sweep.
        rows: What each question takes in one look.
        found: What until=decided takes.
        asked: Name of the study, its test images, the effect and the margin.
        rungs: Numbers of readers.
    """
    study, images, effect, margin = asked
    many = f"{earlier.reader}s"
    table = sizes_table(rows, effect, earlier.reader)
    for column in table.columns[2:]:
        table[column] = [_count(value) for value in table[column]]
    lines = [
        f"study={study}: to tell {effect:g} from 0, and to show arms that are equal to be equivalent within "
        f"{margin:g}, each in {100 * POWER:g} % of studies",
        "",
        table.to_string(index=False),
        "",
        f"until=decided, rungs {', '.join(map(str, rungs))}, {images} images: chance of better / equivalent "
        f"(mean {many}) if the true difference is",
        "",
        _chances(found).to_string(index=False),
        "",
        _expected(earlier, found),
        *_cautions(earlier),
        "",
        f"For a paper: {paper_line(earlier, rows, effect, margin)}",
    ]
    return "\n".join(lines)


def _count(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.0f}"


def _chances(found: Course) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"contrast": known.name}
            | {
                f"{true:g}": f"{chance.better:.2f} / {chance.equivalent:.2f} ({chance.readers.mean():.0f})"
                for true, chance in zip(TRUE, each, strict=True)
            }
            for known, each in found.chances
        ]
    )


def _expected(earlier: Pilot, found: Course) -> str:
    listed = ", ".join(f"{runs:.0f} at {true:g}" for true, runs in zip(TRUE, found.trainings, strict=True))
    saves = "no fixed number decides as often"
    if not math.isnan(found.saved):
        percent = round(100 * found.saved)
        saves = (
            f"{percent} % fewer than a fixed number of {earlier.reader}s that decides as often"
            if percent > 0
            else f"no fewer than a fixed number of {earlier.reader}s that decides as often"
        )
    beaten = ""
    if any(known.of_best for known, _ in found.chances):
        beaten = (
            " Where the question is which is best, each arm is taken to be better than those named after it, "
            "every pair by the same difference. An arm that is beaten stops for it; its other pairs, which "
            "need not be decided, are counted here, and above, as if they went on."
        )
    return f"Trainings it is expected to take: {listed}; {saves}. About {found.minutes:.0f} minutes.{beaten}"


def _cautions(earlier: Pilot) -> list[str]:
    """Return lines on what the earlier sweep tells little of."""
    many = f"{earlier.reader}s"
    said = [
        f"Minutes are those of {earlier.folder}, one run after the other, of the arms in these questions."
    ]
    if earlier.backbones:
        said.append(
            f"Each {earlier.reader} has a set of source weights to make first: {earlier.backbones} a "
            f"{earlier.reader}, whose minutes are not counted."
        )
    df = earlier.readers - 1
    if 0 < df <= FEW_DF:
        low, high = (df / float(chi2.ppf(tail, df)) for tail in (0.975, 0.025))
        said.append(
            f"The variance of {many} is known from {earlier.readers} of them: the true one may be "
            f"{low:.1f} to {high:.1f} times as large."
        )
    said += [f"Not in this plan: {why}." for why in earlier.absent]
    if earlier.differing:
        said.append(f"The earlier sweep is of other data or training: {'; '.join(earlier.differing)}.")
    return said


def paper_line(earlier: Pilot, rows: Sequence[Size], effect: float, margin: float) -> str:
    """Return a sentence on the sample size, as reporting guidelines ask for (CLAIM, TRIPOD+AI)."""
    source = (
        f"variances of an earlier sweep ({earlier.readers} {earlier.reader}s, {earlier.images} test images)"
    )
    if not earlier.readers:
        source = f"variances of an earlier sweep ({earlier.images} test images)"
    chosen = []
    for question in dict.fromkeys(row.question for row in rows):
        own = [row for row in rows if row.question == question and row.minutes is not None]
        if own:
            best = min(own, key=lambda row: row.minutes or 0.0)
            readers = max(best.told or 0, best.same or 0)
            counted = f"{readers} {earlier.reader}s and " if readers else ""
            chosen.append(f"{counted}{best.images} test images for {question.replace('_', ' ')}")
    if not chosen:
        return f"by the {source}, no number of {earlier.reader}s up to 40 is enough."
    return (
        f"by the {source}, {'; '.join(chosen)} tell a difference in AUROC of {effect:g} from 0 with a power "
        f"of {100 * POWER:g} % (two-sided 5 %, Holm's correction within each question), and show equal arms "
        f"to be equivalent within {margin:g} with at least this power (multi-reader multi-case analysis, "
        f"{earlier.reader}s and images random)."
    )
