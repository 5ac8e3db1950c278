"""Questions as they are declared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from yaml import safe_load

from tests.conftest import compose_config
from xray_tl.config import conf_dir
from xray_tl.config.identity import arm_hash, config_hash
from xray_tl.config.planned import METRICS, check_names, declared, parse_families, plan_of
from xray_tl.errors import InputError
from xray_tl.study.contrasts import OF_NAME

PAIR = "resnet50_finetune - resnet50_frozen"
INTERACTION = f"{PAIR} - vgg16_finetune + vgg16_frozen"


def _plan(**families: object) -> dict[str, Any]:
    found = plan_of(OmegaConf.create({"planned": families}))
    assert found is not None
    return found


def _files(group: str) -> list[str]:
    return [path.stem for path in (Path(conf_dir()) / group).glob("*.yaml")]


def test_a_contrast_is_read_as_it_is_written() -> None:
    asked = ["a", " -  b weights=random", f" - c{chr(9)}+ d"]
    (pair, long) = parse_families({"q": ["".join(asked[:2]), "a - b - c + d"]})["q"]
    assert pair.weights == (("a", 1), ("b weights=random", -1))
    assert [factor for _, factor in long.weights] == [1, -1, -1, 1]
    assert long.text == "a - b - c + d"
    (gap,) = parse_families({"q": [{"contrast": "a", "on": "train - test", "metric": "brier"}]})["q"]
    assert (gap.metric, gap.on, gap.is_main) == ("brier", ("train", "test"), False)
    assert pair.is_main
    assert parse_families(safe_load("q: [{contrast: a, on: train - test, metric: brier}]"))["q"] == (gap,)


def test_the_hash_tells_plans_apart_and_leaves_runs_what_they_are() -> None:
    one = _plan(q=[PAIR])
    assert _plan(q=[PAIR, "a - b"])["sha256"] != one["sha256"], "a contrast more"
    assert _plan(q=[{"contrast": PAIR, "on": "low_dose"}])["sha256"] != one["sha256"]
    assert _plan(other=[PAIR])["sha256"] != one["sha256"]
    assert _plan(q=[{"contrast": PAIR, "metric": "auroc"}])["sha256"] == one["sha256"], "the same, at length"
    assert _plan(q=["a - b", PAIR])["sha256"] == _plan(q=[PAIR, "a - b"])["sha256"], "order is no plan"
    plain, asked = compose_config(), compose_config(f"planned={{q:[{PAIR}]}}")
    assert (config_hash(asked), arm_hash(asked)) == (config_hash(plain), arm_hash(plain))
    assert plan_of(plain) is None
    assert plan_of(asked) == one
    assert parse_families(one["families"]) == declared(asked), "a record gives back what was declared"


def test_which_is_best_asks_for_all_pairs_and_says_so() -> None:
    asked = parse_families(safe_load("q: [{best: [a, b weights=random, c], on: low_dose}]"))["q"]
    assert [contrast.text for contrast in asked] == [
        "a - b weights=random",
        "a - c",
        "b weights=random - c",
    ]
    assert {(contrast.of_best, contrast.metric, contrast.on) for contrast in asked} == {
        (True, "auroc", ("low_dose",))
    }
    best, pairs = _plan(q=[{"best": ["a", "b", "c"]}]), _plan(q=["a - b", "a - c", "b - c"])
    assert best["sha256"] != pairs["sha256"], "a sweep does something else"
    assert _plan(q=[{"best": ["c", "a", "b"]}])["sha256"] == best["sha256"], "order is no plan"
    assert _plan(q=[{"best": ["a", "b", "c"], "metric": "brier"}])["sha256"] != best["sha256"]
    found = parse_families(best["families"])["q"]
    assert found == parse_families({"q": [{"best": ["a", "b", "c"]}]})["q"]
    assert [contrast.key for contrast in found] == [
        contrast.key for contrast in parse_families(pairs["families"])["q"]
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("a - b", r"planned: q must be a list of contrasts, such as \[arm - other\]"),
        ([{"best": ["a"]}], r"planned: q: best=\['a'\] is no list of two or more arms"),
        ([{"best": "a"}], r"planned: q: best=a is no list of two or more arms"),
        ([{"best": ["a", "b"], "of": 3}], r"planned: q: of is not known: choose from best, metric, on"),
        ([{"bets": ["a", "b"]}], r"planned: q: \{'bets': .* is no contrast"),
        (["a - c", {"best": ["a", "b"]}], r"planned: q: best asks about its arms alone"),
        ({"best": ["a", "b"]}, r"planned: q must be a list"),
        ([{"best": ["a", None]}], r"planned: q: best=\['a', None\] is no list of two or more arms"),
        ([{"best": None}], r"planned: q: best=None is no list of two or more arms"),
        ([{"best": ["a", "b", "a"]}], r'planned: q: "a - a" names a twice'),
        ([{"best": ["a", "b - c"]}], r'best ranks arms, and "b - c" is a contrast'),
        ([{"best": ["a", "b"], "metric": "f1"}], r"metric=f1 is not known"),
        ([{"best": ["a", "b"], "on": "train"}], r"on=train is not valid"),
        ([{"best": ["a", "b"], "on": "train - test"}], r"arms are ranked on one set of images"),
        ([], r"planned: q must be a list"),
        ([3], r"3 is no contrast"),
        (["a"], r'"a" does not sum to 0'),
        (["a + b"], r"does not sum to 0"),
        (["a - a"], r'"a - a" names a twice'),
        (["a x=1 y=2 - a y=2 x=1"], r"names a x=1 y=2 twice"),
        (["a -b"], r'"a -b" is no arm'),
        (["a - "], r"cannot be read|is no arm"),
        (["a - b", "b - a"], r'"b - a" is asked already, in q'),
        ([{"contrast": "a - b", "metric": "f1"}], r"metric=f1 is not known: choose from auroc, accuracy"),
        ([{"contrast": "a - b", "metric": "ece"}], r"metric=ece has no p value: choose from auroc"),
        (
            [{"contrast": "a - b", "on": "train"}],
            r'on=train is not valid: choose test, a shift, "train - test"',
        ),
        ([{"contrast": "a - b", "on": "test - train"}], r"on=test - train is not valid"),
        ([{"contrast": "a - b", "metrc": "brier"}], r"metrc is not known: choose from contrast, metric, on"),
    ],
)
def test_what_is_no_question_is_refused_in_one_line(asked: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        parse_families({"q": asked})
    assert "\n" not in str(refused.value)


def test_the_same_contrast_in_two_questions_is_refused() -> None:
    with pytest.raises(InputError, match='planned: r: "b - a" is asked already, in q'):
        parse_families({"q": ["a - b"], "r": ["b - a"]})
    with pytest.raises(InputError, match='planned: r: best holds "b - c", which is asked already, in q'):
        parse_families({"q": ["c - b"], "r": [{"best": ["a", "b", "c"]}]})
    drop = {"contrast": "a", "on": "low_dose - test"}
    parse_families({"q": [drop, {**drop, "metric": "brier"}, {"contrast": "a", "on": "train - test"}]})


def test_arms_by_file_or_by_options_and_shifts_are_known() -> None:
    cfg = compose_config("study=quick")
    check_names(cfg, _files)
    cfg.planned = {"q": ["model=timm mode=frozen - optim.lr=0.1", {"contrast": PAIR, "on": "low_dose"}]}
    check_names(cfg, _files)
    cfg.planned = {"q": [{"best": ["resnet50_finetune", "resnet51_frozen"]}]}
    with pytest.raises(InputError, match=r'q: "resnet50_finetune - resnet51_frozen" names no arm: resnet51_'):
        check_names(cfg, _files)
    cfg.planned = {"q": [{"contrast": PAIR, "on": "fog - test"}]}
    with pytest.raises(InputError, match="fog is no shift: choose from blur, kvp_80"):
        check_names(cfg, _files)


def test_its_metrics_are_those_that_the_analysis_has() -> None:
    assert set(METRICS) == set(OF_NAME)


def test_a_name_s_own_form_can_be_given() -> None:
    def known(name: str) -> str:
        if name not in ("reader A", "reader B"):
            raise InputError(f"{name} is nobody")
        return name

    (asked,) = parse_families({"q": ["reader A - reader B"]}, known)["q"]
    assert asked.weights == (("reader A", 1), ("reader B", -1))
    named: Callable[[str], str] = known
    with pytest.raises(InputError, match="C is nobody"):
        parse_families({"q": ["reader A - C"]}, named)
