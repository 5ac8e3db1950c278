"""Every command line of README and the pages runs, in small, on files like those that it names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from tests.commands import run_command
from tests.conftest import SMALL, TINY
from tests.data.films.radiograph_files import films, write_classes, write_dicom, write_png8
from tests.test_docs import LINES, Line, _first_job

DROPPED = ("data.n_", "data.image_size", "data.batch_size", "trainer.max_epochs", "hydra.sweep.dir")
"""What begins an option that is set small instead."""
OF_FILMS = ["data=folder", "data.root=films", "data.test_fraction=0.3", "data.val_fraction=0.3"]
NETWORK = "data.download=true"


def _reads_films(line: Line) -> bool:
    return any(word.startswith(("data=", "data.root=")) for word in line.words)


def _runs(line: Line) -> bool:
    """Tell whether a line can run here: no download, no whole study, nothing that a page teaches to add."""
    whole = any(word.startswith(("study=", "sweep=")) for word in line.words)
    taught = {"mode=alternate", "data.finding=granuloma", "model=resnet34"} & set(line.words)
    return not (line.place.startswith("conf/") or whole or taught or NETWORK in line.words)


WHOLE = [line for line in LINES if _runs(line)]


def _write_tables(place: Path) -> None:
    """Write a table of one label a film, one as CheXpert has it, one of scores, and a question about it."""
    rng = np.random.default_rng(0)
    names = sorted(path.relative_to(place).as_posix() for path in place.glob("films/*/*.png"))
    parts = ["train", "val", "test"]
    table = pd.DataFrame({"path": names, "label": [name.split("/")[1] for name in names]})
    table["patient"] = [Path(name).stem.split("_")[0] for name in names]
    table["split"] = [parts[int(patient) % 3] for patient in table["patient"]]
    table.to_csv(place / "labels.csv", index=False)
    finding = (table["label"] == "opacity").astype(int)
    table.drop(columns="label").assign(Edema=finding, Pneumonia=1 - finding).to_csv(
        place / "chexpert.csv", index=False
    )
    rows = [
        (reader, treatment, case, case % 2, 0.7 * rng.random() + 0.3 * (case % 2))
        for reader in range(3)
        for treatment in "AB"
        for case in range(20)
    ]
    scores = pd.DataFrame(rows, columns=["reader", "treatment", "case", "truth", "rating"])
    for name in ("scores.csv", "FILE.csv"):
        scores.to_csv(place / name, index=False)
    (place / "questions.yaml").write_text("dose: [A - B]\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, subprocess_env: dict[str, str]) -> Path:
    """Make what the pages' commands name: films, tables, weights, finished runs."""
    place = tmp_path_factory.mktemp("pages")
    for folder, seed in (("films", 0), ("new_films", 1), ("OTHER", 2), ("FILE_OR_FOLDER", 3)):
        write_classes(place / folder, 60 if folder == "films" else 12, write_png8, per_patient=2, seed=seed)
    write_dicom(place / "film", films(1)[0][0])
    _write_tables(place)
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet50().state_dict(), place / "FILE50")
    torch.save(torchvision.models.densenet121().state_dict(), place / "FILE121")
    save_file(torchvision.models.densenet121().state_dict(), place / "chest.safetensors")
    small = [*TINY, *SMALL, "trainer.max_epochs=1"]
    real = [word for word in small if not word.startswith("data.n_")]
    for words in (
        ["-m", *small, "mode=frozen", "seed=0,1", "hydra.sweep.dir=sweep"],
        [*small, "mode=frozen", "hydra.run.dir=run"],
        [*real, *OF_FILMS, "mode=frozen", "hydra.run.dir=run_of_films"],
    ):
        made = run_command("train", *words, env=subprocess_env, cwd=place)
        assert made.returncode == 0, made.stderr
    return place


def _in_small(line: Line) -> list[str]:
    """Return the words of a line: its first job, few small images, names of what is there."""
    words = [word for word in _first_job(line.words) if not word.startswith(DROPPED)]
    of_films = "run_of_films" if line.command == "predict" or _reads_films(line) else "run"
    places = {
        "run=DIR": f"run={of_films}",
        "run=outputs/DATE/TIME": f"run={of_films}",
        "run=outputs/first-run": "run=run",
        "data.root=DIR": "data.root=films" if line.command == "audit" else "data.root=.",
    }
    words = [places.get(word, word) for word in words]
    if line.command in ("report", "status"):
        words = ["dir=sweep"]
    if line.command in ("preview", "ceiling"):
        words += ["data.image_size=32", *(["images=50"] if line.command == "ceiling" else [])]
    if line.command in ("bench", "pretrain"):
        words = [word for word in words if not word.startswith("model=")] + list(SMALL)
    if line.command == "train":
        words = _train_in_small(words, films=_reads_films(line))
    return words


def _train_in_small(words: list[str], *, films: bool) -> list[str]:
    with_file = any(word.startswith("weights=file") for word in words)
    small = [word for word in TINY if not (films and word.startswith("data.n_"))]
    small = [word for word in small if not word.startswith(("trainer.max", "model=", "weights=", "logger"))]
    if with_file:
        number = "121" if "model=densenet121" in words else "50"
        words = [word.replace("weights.path=FILE", f"weights.path=FILE{number}") for word in words]
    elif not any(word.startswith("arm=") for word in words):
        words = [word for word in words if not word.startswith(("model", "mode.trainable"))]
        words += SMALL
        words += ["mode.trainable_stages=1"] if "mode=partial" in words else []
    words += [] if with_file else ["weights=random"]
    if "tune=rates" in words:
        words += ["tune.rates=[[1.0e-3,1.0e-3]]", "tune.seeds=[90]"]
    return [*words, *small, "trainer.max_epochs=2", "logger=none"]


@pytest.mark.slow
@pytest.mark.parametrize("line", WHOLE, ids=lambda line: line.place)
def test_a_command_line_runs_in_small(line: Line, place: Path, subprocess_env: dict[str, str]) -> None:
    done = run_command(line.command, *_in_small(line), env=subprocess_env, cwd=place)
    # An audit ends with 1 where it finds something, and few small films give the label away.
    assert done.returncode in ((0, 1) if line.command == "audit" else (0,)), f"{line.place}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert "error: " not in done.stderr
