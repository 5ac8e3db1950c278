"""One film's failure, of whatever kind, is that film's; what decoding gives is kept under what decoded it."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.films.ending import facts_of_all_but_one
from tests.data.films.radiograph_files import films, write_classes, write_png16
from xray_tl.data.films import decoded, processes
from xray_tl.data.films import reading as film_reading
from xray_tl.data.films.decode import LOOKS
from xray_tl.data.films.decoded import open_films
from xray_tl.data.films.processes import LOST
from xray_tl.data.films.reading import Read, Reading, try_reading

READING = Reading(32, "pad", "range")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    root = write_classes(tmp_path / "films", 40)
    return sorted(map(str, root.rglob("*.png")))


def test_the_look_of_a_film_is_kept_with_it(tmp_path: Path) -> None:
    grey = films(1, 64)[0][0]
    drawn = {
        "": grey,
        "blank": np.full_like(grey, 0.5),
        "two-valued": grey > 0.5,
        "dark": grey * 4095 / 65535,
    }
    for name, film in drawn.items():
        write_png16(tmp_path / f"film{name}", np.asarray(film, dtype=np.float32))
    paths = [str(tmp_path / f"film{name}.png") for name in drawn]
    for _ in range(2):  # decoded, then from the cache
        found = open_films([*paths, str(tmp_path / "absent.png")], READING, 1, 1.0)
        assert [LOOKS[look] for look in found.look[:4]] == list(drawn)
        assert [LOOKS[look] for look in found.take(np.array([3, 1])).look] == ["dark", "blank"]
    read = try_reading(paths[3], READING)
    assert isinstance(read, Read)
    assert LOOKS[read.look] == "dark"


@pytest.mark.parametrize(
    "failure", [ValueError("too many\nvalues"), RecursionError("deep"), KeyError("a"), OSError("x" * 500)]
)
def test_a_failure_of_any_kind_is_a_note(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    read = film_reading.read_fitted

    def fail(path: str, reading: Reading) -> Read:
        if path == paths[3]:
            raise failure
        return read(path, reading)

    monkeypatch.setattr(film_reading, "read_fitted", fail)
    found = open_films(paths, READING, 1, 1.0)
    assert found.readable.sum() == len(paths) - 1
    assert found.notes[3].startswith(f"it cannot be read ({type(failure).__name__}: ")
    assert "\n" not in found.notes[3]
    assert len(found.notes[3]) < 220


@pytest.mark.parametrize("package", film_reading.LIBRARIES)
def test_a_refusal_is_tried_again_when_any_decoder_is_installed(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    tried: list[str] = []

    def refuse(path: str, reading: Reading) -> Read:
        tried.append(path)
        raise film_reading.UnreadableError("its transfer syntax cannot be decoded")

    monkeypatch.setattr(film_reading, "read_fitted", refuse)
    open_films(paths, READING, 1, 1.0)
    open_films(paths, READING, 1, 1.0)
    assert tried == paths
    known = film_reading.version
    monkeypatch.setattr(film_reading, "version", lambda name: "99" if name == package else known(name))
    open_films(paths, READING, 1, 1.0)
    assert tried == 2 * paths


def test_a_film_that_ends_its_process_costs_itself(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_films(paths, READING, 1, 1.0)
    monkeypatch.setattr(processes, "FEW", 4)
    monkeypatch.setattr(film_reading, "DECODER", -1)  # nothing is taken from the cache
    monkeypatch.setattr(decoded, "_facts", facts_of_all_but_one)
    found = open_films(paths, READING, 2, 1.0)
    lost = next(row for row, path in enumerate(paths) if Path(path).name.startswith("00007"))
    assert found.notes[lost] == LOST
    assert np.flatnonzero(~found.readable).tolist() == [lost]
    assert np.array_equal(np.delete(found.pixels, lost, 0), np.delete(whole.pixels, lost, 0))
