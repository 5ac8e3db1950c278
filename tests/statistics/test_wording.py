"""What a verdict is called."""

from dataclasses import replace

import pytest

from tests.statistics.test_verdict import _estimate
from xray_tl.statistics.blind_rule import next_cases
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.verdict import Verdict, verdicts
from xray_tl.statistics.wording import (
    Terms,
    difference_text,
    interval_text,
    lead_texts,
    next_cases_text,
    p_text,
    scope_text,
    share,
    verdict_text,
)

TERMS = Terms(reader="seed", case="image")


def _text(estimate: Estimate) -> str:
    return verdict_text(("a", "b"), estimate, verdicts({("a", "b"): estimate})["a", "b"], TERMS)


def test_the_better_arm_comes_first_with_a_positive_difference() -> None:
    assert _text(_estimate(-0.1)).startswith("b is better than a: AUROC by 0.100 (95 % CI 0.0")
    assert "-" not in _text(_estimate(-0.1))


def test_an_interval_beyond_0_of_a_verdict_from_an_earlier_look_keeps_its_sign() -> None:
    later, told = replace(_estimate(0.003), lower=-0.001, upper=0.007), Verdict("better", "a", 0.01, 1.0)
    assert lead_texts(("a", "b"), later, told, TERMS) == ("0.003", "-0.001 to 0.007")
    assert lead_texts(("b", "a"), later.reversed(), told, TERMS) == ("0.003", "-0.001 to 0.007")
    assert lead_texts(("a", "b"), later.reversed(), told, TERMS) == ("-0.003", "-0.007 to 0.001")
    lower = replace(TERMS, higher_is_better=False)
    assert lead_texts(("a", "b"), later.reversed(), told, lower) == ("0.003", "-0.001 to 0.007")


def test_an_undecided_pair_says_what_it_would_take() -> None:
    text = _text(_estimate(0.025, own=1e-4, error=4e-4, shared=4e-5))
    assert text.startswith("Undecided between a and b: AUROC +0.025 (95 % CI -0.0")
    assert "seeds in all or " in text
    assert text.endswith("images in all would probably decide it.")
    assert "(2 of at least 5 seeds)" in _text(_estimate(0.3, readers=2))
    assert "No number of seeds alone, nor of images alone" in _text(_estimate(0.02, own=3e-3, shared=3e-4))


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (
            _estimate(0.019, own=1e-6, error=3e-4, shared=2.9e-4),
            "Images hold 100 % of the variance: no number of seeds would decide it. 2",
        ),
        (
            _estimate(0.019, own=1e-3, error=1e-4, shared=1e-5),
            "Images hold 12 % of the variance: no number of images would decide it. 3",
        ),
        (
            _estimate(0.025, own=1e-4, error=4e-4, shared=4e-5),
            "Images hold 85 % of the variance, yet twice the seeds would narrow the interval more than twice "
            "the images. 1",
        ),
        (
            _estimate(0.029, own=1e-4, error=4.5e-4, shared=1e-4),
            "Images hold 89 % of the variance: twice the images would narrow the interval more than twice "
            "the seeds. ",
        ),
        (
            _estimate(0.02, own=3e-3, shared=3e-4),
            "Images hold 33 % of the variance. No number of seeds alone",
        ),
    ],
)
def test_an_undecided_pair_says_what_holds_its_variance_and_what_that_asks_for(
    estimate: Estimate, said: str
) -> None:
    assert said in _text(estimate)


def test_where_the_share_is_not_known_nothing_is_said_of_it() -> None:
    undecided = _estimate(0.02)
    for unknown in (
        _estimate(0.02, readers=4),
        replace(undecided, random_cases=False),
        replace(undecided, random_readers=False),
        replace(_estimate(0.02, readers=1, error=3e-4), readerless=True),
    ):
        assert _text(unknown).startswith("Undecided")
        assert " hold " not in _text(unknown)
    assert " hold " in _text(undecided)
    assert " hold " not in _text(_estimate(0.1)), "it is decided"
    assert (share(undecided), share(_estimate(0.02, readers=4))) == ("88 %", "-")


def test_the_next_study_s_images_come_with_what_they_are_for() -> None:
    pairs = {("a", "b"): _estimate(0.3), ("a", "c"): _estimate(0.3, shared=2e-4)}
    pairs["b", "c"] = _estimate(-0.3, shared=5e-5)
    both = next_cases(pairs)
    assert both is not None
    text = next_cases_text(both, TERMS)
    assert text.startswith(
        "For the next study: 1800 images for half of the pairs, 3500 for all. This is the blind"
    )
    assert "in 80 % of studies with many seeds, in 68 % with five, if seeds vary" in text
    one = next_cases({("a", "b"): replace(_estimate(0.3, readers=1), readerless=True)}, margin=0.05)
    assert one is not None
    text = next_cases_text(one, TERMS)
    assert text.startswith("For the next study: 420 images. ")
    assert text.endswith("is then shown equivalent within 0.05 in 80 % of studies.")
    few = next_cases({("a", "b"): _estimate(0.3, readers=3)})
    assert few is not None
    assert next_cases_text(few, TERMS).startswith(
        "For the next study, roughly, for lack of seeds: 1800 images."
    )


@pytest.mark.parametrize(("value", "kind"), [(0.1, "better"), (0.0, "equivalent"), (0.02, "Undecided")])
def test_a_pair_without_readers_says_what_it_is_judged_over(value: float, kind: str) -> None:
    error = {"equivalent": 2e-5}.get(kind, 3e-4)
    estimate = replace(_estimate(value, readers=1, error=error, shared=error / 2), readerless=True)
    text = _text(estimate)
    assert kind in text
    assert "of at least 5 seeds" not in text
    assert text.endswith("Neither depends on a seed: this is judged over images alone.")
    assert scope_text(estimate, TERMS) == "new images"
    assert "judged over" not in _text(replace(estimate, readerless=False))


def test_an_interval_of_few_readers_says_of_how_few() -> None:
    assert difference_text(_estimate(0.1, readers=3), TERMS).endswith(", of only 3 seeds)")
    assert "(3 of at least 5 seeds)" in _text(_estimate(0.1, readers=3))
    assert "of only 3 seeds" in _text(_estimate(0.1, readers=3))
    for readers in (1, 5):
        assert "only" not in difference_text(_estimate(0.1, readers=readers), TERMS)


def test_an_interval_that_cannot_be_had_is_a_dash() -> None:
    assert interval_text(float("nan"), 0.5) == interval_text(0.5, float("nan")) == "-"


def test_equivalence_names_its_margin() -> None:
    assert "a and b are equivalent within 0.02" in _text(_estimate(0.001, own=1e-6, error=2e-5, shared=1e-5))


@pytest.mark.parametrize(
    ("estimate", "kind"),
    [
        (_estimate(-0.1), "better"),
        (_estimate(0.001, own=1e-6, error=2e-5, shared=1e-5), "equivalent"),
        (_estimate(0.02), "undecided"),
    ],
)
def test_a_verdict_of_seeds_that_stand_apart_says_so_in_its_sentence(estimate: Estimate, kind: str) -> None:
    verdict = verdicts({("a", "b"): estimate})["a", "b"]
    assert verdict.kind == kind
    apart = {"a": ("3",), "b": ("0", "4")}
    text = verdict_text(("a", "b"), estimate, replace(verdict, apart=apart), TERMS)
    said = (
        "; but seed 3 of a stands apart from its others and seeds 0 and 4 of b stand apart from its others, "
        "so that fewer than 12 seeds can mislead."
    )
    assert text.endswith(said) == (kind != "undecided")
    assert "apart" not in verdict_text(("a", "b"), estimate, verdict, TERMS)


def test_p_values_and_scope() -> None:
    assert [p_text(p) for p in (float("nan"), 1e-9, 0.0123, 0.5)] == [
        "-",
        "p < 0.001",
        "p = 0.012",
        "p = 0.50",
    ]
    assert scope_text(_estimate(0.1), TERMS) == "new seeds and new images"
    assert scope_text(_estimate(0.1, readers=1), TERMS) == "these seeds alone and new images"
