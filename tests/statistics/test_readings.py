"""Long tables as studies, and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from xray_tl.errors import InputError
from xray_tl.statistics.readings import Readings


def _table() -> pd.DataFrame:
    rows = [
        (reader, treatment, case, case % 2, reader + treatment / 10 + case / 100)
        for reader in (10, 9, 2)
        for treatment in (1, 2)
        for case in range(6)
    ]
    return pd.DataFrame(rows, columns=["reader", "treatment", "case", "truth", "rating"])


def test_a_table_is_laid_out_by_treatment_reader_and_case() -> None:
    study = Readings.of_table(_table().assign(note="ignored").sample(frac=1, random_state=0))
    assert study.readers == ("2", "9", "10")  # by value
    assert sorted(study.treatments) == ["1", "2"]
    row = study.treatments.index("2")
    assert sorted(study.rating[row, 1]) == pytest.approx([9.2 + case / 100 for case in range(6)])
    hundredths = np.round(study.rating[row, 1] * 100).astype(int) % 2
    assert study.truth.tolist() == (hundredths == 1).tolist()
    assert study.read.all()


def test_a_reader_may_skip_a_treatment() -> None:
    table = _table()
    study = Readings.of_table(table[~((table["reader"] == 9) & (table["treatment"] == 1))])
    assert study.read.tolist() == [[True, False, True], [True, True, True]]


def test_a_treatment_without_readers_stands_for_every_reader() -> None:
    rule = _table().query("reader == 2 and treatment == 1").assign(treatment="rule", reader="-")
    study = Readings.of_table(pd.concat([_table(), rule]))
    assert study.readerless == {"rule"}
    assert study.readers == ("2", "9", "10")
    row = study.treatments.index("rule")
    assert (study.rating[row] == study.rating[row, 0]).all()


def test_readers_of_a_group_are_one_draw() -> None:
    table = _table()
    whose = table["reader"].map({10: "b", 9: "b", 2: "a"})
    rule = table.query("reader == 2 and treatment == 1").assign(treatment="rule", reader="-", group="")
    study = Readings.of_table(pd.concat([table.assign(group=whose), rule]))
    assert (study.readers, study.group) == (("2", "9", "10"), ("a", "b", "b"))
    assert (study.draws, study.drawn) == (("a", "b"), "group")
    assert study.share[0].tolist() == [[1, 0, 0], [0, 0.5, 0.5]]
    less = study.rating.copy()
    less[0, 1] = np.nan
    assert replace(study, rating=less).share[0].tolist() == [[1, 0, 0], [0, 0, 1]], "of those who used it"
    assert (replace(study, group=None).share == np.eye(3)).all()


def test_a_group_is_stated_once_for_every_reader() -> None:
    table = _table().assign(group="a")
    mixed = table.assign(group=np.where(table["case"] < 2, "a", "b"))
    with pytest.raises(InputError, match="has reader 10 in groups a and b: a reader is in one group alone"):
        Readings.of_table(mixed)
    with pytest.raises(InputError, match="has a row of reader 9 without group"):
        Readings.of_table(table.assign(group=np.where(table["reader"] == 9, "", "a")))


def test_a_treatment_with_readers_and_without_is_refused() -> None:
    more = (
        _table().query("reader == 2 and treatment == 1").assign(reader="-", case=lambda t: t["case"] + 1000)
    )
    with pytest.raises(InputError, match="has treatment 1 both with readers and with reader -"):
        Readings.of_table(pd.concat([_table(), more]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop(columns=["case", "truth"]),
            "has no column case, truth: it needs reader, treatment",
        ),
        (lambda t: t.iloc[:0], "has no rows"),
        (lambda t: t.assign(rating=t["rating"].where(t.index != 4)), r"rating nan \(row 5, 1 such rows\)"),
        (lambda t: t.assign(rating=np.inf), "rating inf"),
        (lambda t: t.assign(rating="high"), "rating high"),
        (lambda t: t.assign(truth=2), "truth 2 .*: it is 0 or 1"),
        (lambda t: t.assign(truth=1), "has 0 negative cases"),
        (lambda t: t.assign(reader=t["reader"].where(t.index > 0)), "a row without reader"),
        (lambda t: pd.concat([t, t.iloc[[7]]]), "case 1 twice for reader 10, treatment 2"),
        (lambda t: t.assign(truth=t["truth"].where(t.index != 3, 0)), "both truths for case 3"),
        (lambda t: t[t.index != 3], "lacks 1 of 6 cases for reader 10, treatment 1"),
        (
            lambda t: t.assign(target=["mass", "effusion"] * 18, fold=t["case"] // 3),
            ", target mass, fold 0 has 0 positive cases",
        ),
        (lambda t: t.assign(fold=np.nan), "a row without fold"),
        (lambda t: t.assign(patient=t["case"] % 2), "has positive cases of one patient alone"),
        (lambda t: t.assign(patient=t["reader"]), "two patients for case 0"),
    ],
)
def test_what_is_no_study_is_refused(change: Callable[[pd.DataFrame], pd.DataFrame], message: str) -> None:
    with pytest.raises(InputError, match=f"scores.csv.*{message}"):
        Readings.of_table(change(_table()), "scores.csv")


def test_targets_and_folds_are_strata_and_a_case_stands_in_each_of_its_targets() -> None:
    first = _table().assign(target="mass")
    second = first.assign(target="effusion", truth=1 - first["truth"], rating=-first["rating"])
    study = Readings.of_table(pd.concat([first, second[second["case"] > 0]]))  # one truth is not known
    assert [len(rows) for rows in study.strata] == [6, 5]
    assert (study.cases, study.patients, len(study.truth)) == (6, 6, 11)
    assert study.units[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert study.units[6:].tolist() == [1, 2, 3, 4, 5]
    assert study.truth[1:6].tolist() == (~study.truth[6:]).tolist()


def test_a_known_patient_holds_cases_together() -> None:
    table = _table()
    patient = table["case"].map({0: "a", 1: "a", 2: "a", 3: "", 4: None, 5: "b"})
    study = Readings.of_table(table.assign(patient=patient))
    assert study.units.tolist() == [0, 0, 0, 1, 2, 3]
    assert (study.cases, study.patients) == (6, 4)
