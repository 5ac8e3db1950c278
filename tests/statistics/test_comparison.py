"""Tables from outside, and what is made of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from xray_tl.errors import InputError
from xray_tl.statistics.comparison import compare, metric_named, read_scores
from xray_tl.statistics.comparison_text import HILLIS, format_comparison
from xray_tl.statistics.covariance import METRICS
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.simulation import STRUCTURES, simulate
from xray_tl.statistics.wording import Terms, p_text

STUDY = simulate((0.75, 0.9, 0.9), STRUCTURES["LL"], 5, 60, 60, np.random.default_rng(0))


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\xff\x00\x01", b"reader;treatment\n1;2"])
def test_what_is_no_table_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"scores=.*scores.csv (is not a|has no column)"):
        read_scores(path)


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    rows = [f"07,1.50,{case},{case % 2},{case}" for case in range(4)]
    path.write_text("\n".join(["reader,treatment,case,truth,rating", *rows]))
    study = read_scores(path)
    assert (study.readers, study.treatments) == (("07",), ("1.50",))


def test_metrics_that_have_an_error_can_be_chosen() -> None:
    assert metric_named("auroc") is METRICS["auroc"]
    for name in ("ece", "f1"):
        with pytest.raises(InputError, match=f"metric={name} is not known: choose from auroc, accuracy"):
            metric_named(name)


def test_every_pair_has_a_verdict_and_the_text_shows_them() -> None:
    done = compare(STUDY, METRICS["auroc"])
    assert len(done.verdicts) == 3
    text = format_comparison(done, Terms())
    assert text.count("arm 1 is better than arm 0") == 1
    assert "arm 1 - arm 2" in text
    assert text.count(HILLIS) == 1
    estimate = done.analysis.pairs["arm 1", "arm 2"]
    (row,) = [line.split() for line in text.splitlines() if line.strip().startswith("arm 1 - arm 2")]
    shown = [p_text(p).removeprefix("p = ") for p in (estimate.p, estimate.p, estimate.hillis.p)]
    assert row[-4:] == [*shown, "undecided"]
    assert len(set(shown)) == 2, "guarded p, Holm's of the larger one, and Hillis', which differ"
    assert f"{estimate.lower:.3f} to {estimate.upper:.3f}" in " ".join(row)
    fixed = compare(STUDY, METRICS["auroc"], readers="fixed")
    assert HILLIS not in format_comparison(fixed, Terms()), "there both are the normal distribution's"
    wider = format_comparison(compare(STUDY, METRICS["auroc"], level=0.9), Terms(level=0.9))
    assert "95 % CI" in text
    assert "95 %" not in wider
    assert "90 % CI" in wider
    json.dumps(done.as_json(), allow_nan=False)


def test_other_metrics_have_the_bootstraps_interval_beside_the_jackknifes() -> None:
    assert not compare(STUDY, METRICS["auroc"]).resampled
    assert not compare(STUDY, METRICS["accuracy"], readers="fixed").resampled
    done = compare(STUDY, METRICS["accuracy"])
    text, found = format_comparison(done, Terms(metric="accuracy")), done.as_json()
    assert text.count("bootstrap") == 2
    for row, estimate in zip(found["pairs"], done.analysis.pairs.values(), strict=True):
        low, high = row["bootstrap"]
        assert low < estimate.value < high
        assert 0.8 < (high - low) / (estimate.upper - estimate.lower) < 1.6  # it errs on the wide side
    assert found["pairs"][0]["holds_for"] == "new readers and new cases"
    assert all(len(row["bootstrap"]) == 2 for row in found["treatments"])


def test_intervals_of_few_readers_are_marked_wherever_they_stand() -> None:
    for readers, times in ((3, 2 * 3 + 2 * 3), (5, 0), (1, 0)):
        study = replace(STUDY, readers=STUDY.readers[:readers], rating=STUDY.rating[:, :readers])
        done = compare(study, METRICS["accuracy"])
        *tables, note = format_comparison(done, Terms(metric="accuracy")).rsplit(
            "* of two to four readers", 1
        )
        assert tables[0].count("*") == times if times else not tables, "both intervals, of arms and pairs"
        assert note.startswith(", which hardly tell how readers vary") == bool(times)
        found = done.as_json()
        said = [row["few_readers"] for row in (*found["treatments"], *found["pairs"])]
        assert said == [bool(times)] * 6


def test_what_differences_hold_for_is_said_once_or_of_each() -> None:
    once = format_comparison(compare(STUDY, METRICS["auroc"]), Terms())
    assert once.count("olds for") == 1
    assert once.endswith("Holds for new readers and new cases.")
    rating = STUDY.rating.copy()
    rating[2, 1:] = np.nan
    uneven = compare(replace(STUDY, rating=rating), METRICS["auroc"])
    assert uneven.as_json()["pairs"][1]["holds_for"] == "these readers alone and new cases"
    each = format_comparison(uneven, Terms()).splitlines()[-3:]
    assert each[0] == "arm 0 - arm 1 holds for new readers and new cases."
    assert each[1] == "arm 0 - arm 2 holds for these readers alone and new cases."


FIVE = replace(STUDY, treatments=STUDY.treatments[:2], rating=STUDY.rating[:2])
SAME = np.stack([FIVE.rating[0]] * 2)
SURE = np.broadcast_to(np.where(STUDY.truth, 1.0, -1.0), SAME[0].shape)


@pytest.mark.parametrize(
    ("rating", "reason", "said"),
    [
        (
            SAME,
            "alike",
            "(they put the cases in the same order for every reader: the difference is exactly 0)",
        ),
        (np.stack([SAME[0], np.exp(SAME[0])]), "alike", "the same order for every reader"),
        (np.zeros_like(SAME), "constant", "(each gives every case one and the same score)"),
        (
            np.stack([SURE, 2 * SURE]),
            "perfect",
            "(no case is scored wrong by any reader: too easy, or too few)",
        ),
        (
            np.stack([SURE, np.zeros_like(SURE)]),
            "no variance",
            "(the difference is the same for every reader, and what cases vary cancels out)",
        ),
    ],
)
def test_a_difference_that_nothing_varies_is_undecided_for_its_own_reason(
    rating: NDArray[np.float64], reason: str, said: str
) -> None:
    for readers in (1, 2, 5):
        study = replace(FIVE, readers=FIVE.readers[:readers], rating=rating[:, :readers])
        done = compare(study, METRICS["auroc"])
        (verdict,) = done.verdicts.values()
        assert (verdict.kind, verdict.reason) == ("undecided", reason)
        text = format_comparison(done, Terms())
        assert said in text
        assert "would decide" not in text
        assert text.count("wrong") == (reason == "perfect")
        assert "Where SE is 0, neither readers nor cases vary: such an interval is none." in text


def test_decisions_that_are_alike_are_said_to_be() -> None:
    text = format_comparison(
        compare(replace(FIVE, rating=SAME * [[[1]], [[2]]]), METRICS["accuracy"]), Terms(metric="accuracy")
    )
    assert "they score the cases alike, as far as accuracy can tell, for every reader" in text


def test_the_last_digit_of_a_difference_is_no_variance() -> None:
    """Every reader finds one case more with one treatment, each another: 0.1 in 64 bits, or not quite."""
    truth = np.arange(20) < 10
    wrong = np.zeros((2, 5, 20), dtype=bool)
    for reader in range(5):
        wrong[0, reader, 10 : 11 + reader] = True
        wrong[1, reader, 10 : 11 + reader] = True
        wrong[1, reader, reader] = wrong[1, reader, reader + 5] = True
    rating = np.where(truth ^ wrong, 1.0, -1.0)
    done = compare(Readings(("a", "b"), tuple("01234"), truth, rating), METRICS["accuracy"])
    (estimate,) = done.analysis.pairs.values()
    assert estimate.value == pytest.approx(0.1)
    assert (estimate.se, estimate.p) == (0, 1)
    assert done.verdicts["a", "b"].reason == "no variance"


def test_a_number_that_would_decide_comes_with_a_warning_of_second_looks() -> None:
    said = "Adding readers or cases after a look is a second look, and raises the error above 5 %"
    undecided = replace(STUDY, treatments=("b", "c"), rating=STUDY.rating[1:])
    text = format_comparison(compare(undecided, METRICS["auroc"]), Terms())
    assert "would probably decide it" in text
    assert text.count(said) == 1
    decided = replace(STUDY, treatments=("a", "b"), rating=STUDY.rating[:2])
    assert said not in format_comparison(compare(decided, METRICS["auroc"]), Terms())


def test_shares_of_variance_and_cases_for_the_next_study_stand_in_text_and_json() -> None:
    done = compare(STUDY, METRICS["auroc"])
    text, found = format_comparison(done, Terms(case="image")), done.as_json()
    estimates = [*done.analysis.arms.values(), *done.analysis.pairs.values()]
    rows = [*found["treatments"], *found["pairs"]]
    assert [row["cases_share"] for row in rows] == [estimate.cases_share for estimate in estimates]
    assert text.count("images' share") == 2, "of treatments and of pairs"
    assert text.count(" % ") >= len(rows)
    following = done.next_cases
    assert following is not None
    assert [row["next_cases"] for row in found["pairs"]] == list(following.of_pairs.values())
    assert text.count("For the next study: ") == 1
    wider = compare(STUDY, METRICS["auroc"], margin=0.04).next_cases
    assert wider is not None
    assert following.for_all == pytest.approx(4 * wider.for_all, abs=4)
    fixed = compare(STUDY, METRICS["auroc"], cases="fixed")
    assert "next study" not in format_comparison(fixed, Terms())
    assert {(row["cases_share"], row.get("next_cases")) for row in fixed.as_json()["pairs"]} == {(None, None)}


def test_folds_say_nothing_of_the_cases_of_the_next_study() -> None:
    """Their cases are trained on too; targets share theirs."""
    half = np.arange(120) % 2
    place = np.arange(120) // 2
    for case, known in ((None, False), (half + 2 * place, False), (place, True)):
        done = compare(replace(STUDY, stratum=half, case=case), METRICS["auroc"])
        assert (done.next_cases is not None) == known


def test_methods_for_one_readers_proportions_are_named() -> None:
    one = replace(STUDY, readers=STUDY.readers[:1], rating=STUDY.rating[:, :1])
    said = "With one reader an interval is Wilson's, and p McNemar's of a difference."
    for study, metric, times in ((one, "accuracy", 1), (one, "auroc", 0), (STUDY, "accuracy", 0)):
        assert format_comparison(compare(study, METRICS[metric]), Terms()).count(said) == times
    rating = STUDY.rating[:2, :3].copy()
    rating[0, 2] = rating[1, 0] = np.nan
    common = replace(STUDY, treatments=STUDY.treatments[:2], readers=STUDY.readers[:3], rating=rating)
    done = compare(common, METRICS["accuracy"])
    assert [found.judged_by for found in (*done.analysis.arms.values(), *done.analysis.pairs.values())] == [
        *("guarded", "guarded"),
        "McNemar",
    ]
    assert said in format_comparison(done, Terms())


@pytest.mark.parametrize(("moved", "side"), [(100.0, "below"), (-100.0, "at or above")])
def test_a_proportion_needs_ratings_on_both_sides_of_its_threshold(moved: float, side: str) -> None:
    study = replace(STUDY, rating=STUDY.rating + moved)
    assert compare(study, METRICS["auroc"]).analysis.pairs
    with pytest.raises(InputError, match=rf"metric=accuracy takes .* none lies {side} it: subtract"):
        compare(study, METRICS["accuracy"])


@pytest.mark.parametrize("name", ["auroc", "specificity", "brier"])
def test_intervals_end_where_the_metric_does(name: str) -> None:
    """A treatment that errs in one case of one reader, and one that does nothing else."""
    truth = np.arange(12) % 2 == 0
    sure = np.where(truth, 1.0, -1.0) * np.ones((2, 3, 1))
    sure[1] *= -1
    sure[:, 0, 1] *= -1
    study = Readings(("a", "b"), ("0", "1", "2"), truth, (sure + 1) / 2 if name == "brier" else sure)
    done = compare(study, METRICS[name])
    ends = [
        *((estimate.lower, estimate.upper) for estimate in done.analysis.arms.values()),
        *(found for contrast, found in done.resampled.items() if len(contrast) == 1),
    ]
    assert all(0 <= low <= high <= 1 for low, high in ends)
    assert any(end in (0, 1) for interval in ends for end in interval), "else the check above shows nothing"
    (pair,) = done.analysis.pairs.values()
    assert -1 <= pair.lower <= pair.upper <= 1


def test_a_lower_loss_is_the_better_one() -> None:
    better = simulate((0.6, 0.95), STRUCTURES["LL"], 5, 60, 60, np.random.default_rng(1))
    probability = 1 / (1 + np.exp(0.8 - 1.5 * better.rating))
    as_probability = type(better)(better.treatments, better.readers, better.truth, probability)
    done = compare(as_probability, METRICS["brier"])
    assert done.analysis.pairs["arm 0", "arm 1"].value > 0
    assert done.verdicts["arm 0", "arm 1"].better == "arm 1"
