"""Tables of a report, as the page shows them and as CSV; no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from xray_tl.report.training_tables import training_of
from xray_tl.statistics.bounds import detectability
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.readings import NO_READER
from xray_tl.statistics.verdict import Pair, Verdict
from xray_tl.statistics.wording import Terms, interval_text, marked, p_text, share
from xray_tl.study.analysis import StudyAnalysis
from xray_tl.study.saved_predictions import split_of
from xray_tl.study.scope import generalises_to
from xray_tl.study.study_folder import Arm


def arms_table(done: StudyAnalysis) -> pd.DataFrame:
    """Return one row per arm with unrounded numbers: estimates with their intervals, costs."""
    wide = done.measures.set_index(["arm", "metric"])
    rows = []
    for arm in done.arms:
        estimate = done.comparison.analysis.arms[arm.label]
        seeds = 0 if arm.readers == [NO_READER] else len(arm.readers)  # 0: the same for all
        row = {"arm": arm.label, "seeds": seeds, "few_seeds": estimate.few_readers}
        for metric in done.measures["metric"].unique():
            for part in ("value", "lower", "upper"):
                suffix = "" if part == "value" else f"_{part}"
                row[f"{metric}{suffix}"] = wide.loc[(arm.label, metric), part]
        row |= {"auroc_se": estimate.se, "auroc_images_share": estimate.cases_share}
        row |= {"ceiling_auroc": arm.mean("ceiling_auroc")}
        row |= {f"efficiency{suffix}": value for suffix, value in efficiency(done, arm).items()}
        row |= {
            "trainable_parameters": arm.mean("trainable_parameters"),
            **training_of(arm),
            "fit_s": arm.mean("fit_s"),
            "threshold": np.mean([run.threshold() for run in arm.runs]) if len(arm.targets) == 1 else np.nan,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def pairs_table(done: StudyAnalysis) -> pd.DataFrame:
    """Return one row per pair of arms with unrounded numbers; `question` is empty where it is explored."""
    rows, questions = [], done.comparison.questions
    for pair, estimate in done.comparison.analysis.pairs.items():
        verdict = done.comparison.verdicts[pair]
        rows.append(
            {
                "first": pair[0],
                "second": pair[1],
                "question": questions.get(pair, ""),
                **judged_row(estimate, verdict),
                "holds_for_new": _holds_for_new(done, pair),
            }
        )
    return pd.DataFrame(rows)


def judged_row(estimate: Estimate, verdict: Verdict) -> dict[str, Any]:
    """Return the unrounded numbers of a difference and its verdict."""
    need = verdict.need
    return {
        "seeds": estimate.readers,
        "difference": estimate.value,
        "lower": estimate.lower,
        "upper": estimate.upper,
        "few_seeds": estimate.few_readers,
        "se": estimate.se,
        "images_share": estimate.cases_share,
        "p": estimate.p,
        "p_holm": verdict.p,
        "p_equivalent": verdict.p_equivalent,
        "verdict": verdict.kind,
        "better": verdict.better,
        "stand_apart": "; ".join(f"{arm}: {', '.join(found)}" for arm, found in verdict.apart.items()),
        "seeds_needed": need.readers if need else None,
        "images_needed": need.cases if need else None,
    }


def next_images_table(done: StudyAnalysis) -> pd.DataFrame:
    """Return one row per pair with the images that it asks of the next study, and no difference.

    Columns: both arms, test images of this study, covariance over new images of two seeds' differences (of
    arms that no seed changes: variance), images for the next study by the blind rule.
    """
    found, rows = done.comparison.next_cases, []
    for (first, second), count in found.of_pairs.items() if found else ():
        estimate = done.comparison.analysis.pairs[first, second]
        variance = estimate.components.error if estimate.readerless else estimate.components.shared
        rows.append((first, second, estimate.cases, variance, count))
    return pd.DataFrame(rows, columns=["first", "second", "images", "images_variance", "next_images"])


def _holds_for_new(done: StudyAnalysis, pair: Pair) -> str:
    """Return what a pair's verdict generalises to: new pretrainings, training sets or seeds, and images."""
    study, estimate = done.comparison.readings, done.comparison.analysis.pairs[pair]
    arms = [arm for arm in done.arms if arm.label in pair]
    drawn = generalises_to(arms, done.study.varied) if estimate.enough_readers else []
    return ", ".join(
        [*(f"{name}s" for name in drawn), "patients" if study.patients < study.cases else "images"]
    )


def shown_arms(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of arms as the page shows it."""
    head = [
        "arm",
        f"{done.terms.reader}s",
        "AUROC",
        "95 % CI",
        "efficiency",
        "accuracy at 0.5",
        "accuracy at threshold",
        "sensitivity",
        "specificity",
        "Brier",
        "ECE",
        "trainable",
        "fit",
    ]
    rows, analysed = [], done.comparison.analysis
    for floor in _floors(done):
        rows.append([floor["name"], "", floor["auroc"], "", "", floor["accuracy"], *[""] * 7])
    for row in arms_table(done).to_dict("records"):
        rows.append(
            [
                str(row["arm"]),
                str(row["seeds"] or "solved"),
                f"{row['auroc']:.3f}",
                marked(interval_text(row["auroc_lower"], row["auroc_upper"]), analysed.arms[row["arm"]]),
                "" if np.isnan(row["efficiency"]) else f"{round(row['efficiency'], 2) + 0.0:.2f}",
                *(
                    f"{row[key]:.3f}"
                    for key in (
                        "accuracy",
                        "accuracy_at_threshold",
                        "sensitivity",
                        "specificity",
                        "brier",
                        "ece",
                    )
                ),
                _count(row["trainable_parameters"]),
                "" if np.isnan(row["fit_s"]) else f"{row['fit_s']:.0f}\N{NO-BREAK SPACE}s",
            ]
        )
    if not np.isnan(done.ceiling):
        rows.append(["best possible (ideal observer)", "", f"{done.ceiling:.3f}", "", "1", *[""] * 8])
    return head, rows


def judged_head(terms: Terms) -> list[str]:
    """Return the header of the cells of `judged_cells`."""
    return [
        "difference",
        terms.interval,
        "p",
        "p (Holm)",
        "images' share",
        f"{terms.reader}s needed",
        "images needed",
    ]


def judged_cells(estimate: Estimate, verdict: Verdict) -> list[str]:
    """Return the cells that a difference and its verdict have in every table of the page."""
    needed = ["", ""]
    if verdict.kind == "undecided" and verdict.need is not None:
        counts = (verdict.need.readers, verdict.need.cases)
        needed = ["-" if count is None else str(count) for count in counts]
    return [
        f"{estimate.value:+.3f}",
        marked(interval_text(estimate.lower, estimate.upper), estimate),
        *(p_text(p).removeprefix("p = ").removeprefix("p ") for p in (estimate.p, verdict.p)),
        share(estimate),
        *needed,
    ]


def shown_pairs(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of differences as the page shows it: of pairs that are explored."""
    head = ["first", "second", *judged_head(done.judged_terms), "verdict", "holds for new"]
    rows, comparison = [], done.comparison
    for pair, estimate in comparison.analysis.pairs.items():
        if pair in comparison.questions:
            continue
        verdict = comparison.verdicts[pair]
        said = str(verdict.kind)
        if verdict.kind == "better":
            said = f"{'first' if verdict.better == pair[0] else 'second'} is better"
        if verdict.kind != "undecided" and verdict.apart:
            said += f", but {done.terms.reader}s stand apart"
        rows.append([*pair, *judged_cells(estimate, verdict), said, _holds_for_new(done, pair)])
    return head, rows


def shown_confusion(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return the mean confusion counts over seeds, at each run's threshold, per arm or target of the best."""
    several, best = len(done.arms[0].targets) > 1, done.arms[0]
    head = [
        "target" if several else "arm",
        "true positive",
        "false negative",
        "true negative",
        "false positive",
    ]
    shown = [best.only(target, target) for target in best.targets] if several else done.arms
    rows = []
    for arm in shown:
        counts = np.sum([_confusion(run.scores, run.threshold()) for run in arm.runs], axis=0)
        rows.append([arm.label, *(f"{count:.1f}" for count in counts * arm.folds / len(arm.runs))])
    return head, rows


def shown_targets(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return the AUROC of each target, one column per arm; no rows if there is only one target."""
    labels, analysed = [arm.label for arm in done.arms], done.comparison.analysis.arms
    rows = []
    for target, found in done.by_target.groupby("target", sort=False):
        by_arm = found.set_index("arm")[["value", "lower", "upper"]].loc[labels].to_numpy(float)
        cells = [
            f"{value:.3f} ({marked(interval_text(lower, upper), analysed[label])})"
            for label, (value, lower, upper) in zip(labels, by_arm, strict=True)
        ]
        rows.append([str(target), *cells])
    return ["target", *labels], rows


def _confusion(scores: pd.DataFrame, threshold: float) -> list[int]:
    test = split_of(scores, "test")
    truth, decided = test["truth"] > 0.5, test["probability"] >= threshold
    return [
        int((truth & decided).sum()),
        int((truth & ~decided).sum()),
        int((~truth & ~decided).sum()),
        int((~truth & decided).sum()),
    ]


def efficiency(done: StudyAnalysis, arm: Arm) -> dict[str, float]:
    """Return the mean efficiency over seeds, and the efficiency at both ends of the AUROC's interval."""
    estimate, ceiling = done.comparison.analysis.arms[arm.label], arm.mean("ceiling_auroc")
    reached = arm.mean("efficiency")
    if not 0.5 < ceiling < 1:  # unknown, not above chance, or 1: there is no finite ratio
        return {"": reached, "_lower": np.nan, "_upper": np.nan}
    ends = np.clip([estimate.lower, estimate.upper], 1e-6, 1 - 1e-6)
    ratio = detectability(ends) / detectability(np.array(ceiling))
    lower, upper = np.sign(ratio) * ratio**2
    return {"": reached, "_lower": float(lower), "_upper": float(upper)}


def _floors(done: StudyAnalysis) -> list[dict[str, str]]:
    """Return the floors of the best arm's data, mean over its runs, formatted."""
    return [
        {
            "name": f"{name.replace('_', ' ')} (floor)",
            "auroc": f"{auroc:.3f}",
            "accuracy": f"{accuracy:.3f}",
        }
        for name, (auroc, accuracy) in mean_floors(done.arms[0]).items()
    ]


def mean_floors(arm: Arm) -> dict[str, tuple[float, float]]:
    """Return AUROC and accuracy of each floor of an arm's data, mean over its runs."""
    found = [run.record.get("floors") or {} for run in arm.runs]
    return {
        name: (
            float(np.mean([floors[name]["auroc"] for floors in found if name in floors])),
            float(np.mean([floors[name]["accuracy"] for floors in found if name in floors])),
        )
        for name in dict.fromkeys(name for floors in found for name in floors)
    }


def _count(parameters: float) -> str:
    if np.isnan(parameters):
        return ""
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters:.0f}"
