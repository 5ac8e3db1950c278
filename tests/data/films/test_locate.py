"""Each row of a table gets its own film, however its path is spelt, or none."""

import unicodedata
from pathlib import Path

import pytest

from tests.data.films.radiograph_files import touch
from xray_tl.data.films.locate import locate, search


def _relative(paths: list[str], root: Path) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in paths]


@pytest.mark.parametrize(
    ("on_disk", "in_table"),
    [
        ("images/1.png", "images\\1.png"),
        ("images/1.png", "Images/1.PNG"),
        ("images/1.png", "./images//1.png"),
        (unicodedata.normalize("NFD", "Müller/é.png"), unicodedata.normalize("NFC", "Müller/é.png")),
        (unicodedata.normalize("NFC", "Müller/é.png"), unicodedata.normalize("NFD", "Müller/é.png")),
        ("a-b/1.png", "a\u2011b/1.png"),
    ],
)
def test_a_file_is_found_in_another_spelling(tmp_path: Path, on_disk: str, in_table: str) -> None:
    touch(tmp_path, on_disk, "other/2.png")
    paths, problems = locate([in_table], tmp_path)
    assert (_relative(paths, tmp_path), problems) == ([on_disk], {})


def test_a_file_spelt_as_in_the_table_comes_before_others(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "A.png", "B.png", "b.PNG")
    paths, problems = locate(["a.png", "b.png"], tmp_path)
    assert _relative(paths[:1], tmp_path) == ["a.png"]
    assert problems == {"b.png": "2 files of this name"}


def test_a_folder_spelt_as_in_the_table_comes_before_others(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "A/1.png")
    paths, problems = locate(["a/1.PNG"], tmp_path)
    assert (_relative(paths, tmp_path), problems) == (["a/1.png"], {})


def test_search_prefers_a_file_spelt_as_in_the_table(tmp_path: Path) -> None:
    touch(tmp_path, "deep/im_1.png", "deep/im 1.png")
    paths, problems = search(["im 1.png", "im_1.png"], tmp_path)
    assert (_relative(paths, tmp_path), problems) == (["deep/im 1.png", "deep/im_1.png"], {})


def test_nothing_outside_the_root_is_found(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "1.png")
    touch(tmp_path, "2.png", "root2/3.png")
    names = ["../2.png", "..\\2.png", str(tmp_path / "2.png"), "../root2/3.png", "gone/1.png"]
    outside = "its path lies outside data.root"
    assert locate(names, root)[1] == dict.fromkeys(names[:4], outside) | {"gone/1.png": "no such file"}


def test_search_leaves_out_folders_that_a_copy_lacks_but_no_patient(tmp_path: Path) -> None:
    touch(tmp_path, *(f"small/patient{k}/study1/view1.png" for k in (1, 2, 3)))
    names = [f"CheXpert-v1.0/train/patient{k}/study1/view1.png" for k in (1, 2, 3, 9)]
    paths, problems = search(names, tmp_path)
    assert _relative(paths[:3], tmp_path) == [f"small/patient{k}/study1/view1.png" for k in (1, 2, 3)]
    assert problems == {names[3]: "no such file"}


def test_search_gives_no_film_to_several_rows(tmp_path: Path) -> None:
    touch(tmp_path, "patient1/view1.png")
    names = [f"data/patient{k}/view1.png" for k in (8, 9)]
    assert search(names, tmp_path)[1] == dict.fromkeys(
        names, "one file for several rows: its folders are not there"
    )


def test_search_by_names_alone(tmp_path: Path) -> None:
    touch(tmp_path, "images_1/1.png", "images_2/2.PNG", "images_1/3.png", "images_2/3.png")
    paths, problems = search(["1.png", "2.png", "3.png", "4.png"], tmp_path)
    assert _relative(paths[:2], tmp_path) == ["images_1/1.png", "images_2/2.PNG"]
    assert problems == {"3.png": "2 files of this name", "4.png": "no such file"}


def test_search_takes_a_windows_path(tmp_path: Path) -> None:
    touch(tmp_path, "films/p1/1.png", "films/p2/1.png")
    paths, problems = search(["C:\\data\\p1\\1.png", "C:\\data\\p2\\1.png"], tmp_path)
    assert (_relative(paths, tmp_path), problems) == (["films/p1/1.png", "films/p2/1.png"], {})
