"""What every listing shares: walking folders, names of patients, the class without findings."""

import os
from pathlib import Path

import pytest

from tests.data.films.radiograph_files import touch
from xray_tl.data.films.listing import negative_of, patient_of, walk
from xray_tl.errors import InputError


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    scandir = os.scandir

    def refuse(place: str) -> object:
        if str(place).endswith("b"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    problems: dict[str, str] = {}
    assert [path.name for path in walk(tmp_path, problems)] == ["1.png"]
    assert problems == {str(tmp_path / "b"): "Permission denied"}


@pytest.mark.parametrize("name", ["normal", "NORMAL", "No_Finding", "no finding", "Healthy", "0", "0.0"])
def test_a_common_word_for_no_finding_in_any_spelling(name: str) -> None:
    assert negative_of(["TB", name], None) == name


def test_a_stated_negative_is_found_in_any_spelling() -> None:
    assert negative_of(["TB", "Clear\u2011lung"], "clear-LUNG") == "Clear\u2011lung"
    with pytest.raises(InputError, match=r"data\.negative=x is no label: choose from TB"):
        negative_of(["TB"], "x")


def test_a_patient_is_looked_for_in_the_name_first() -> None:
    assert patient_of("p1/p2_0.png", "p([0-9])") == "2"
    assert patient_of("p1/0.png", "p([0-9])") == "1"
    assert patient_of("p1/0.png", None) == patient_of("0.png", "p([0-9])") == ""
