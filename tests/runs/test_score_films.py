"""Scores of files from a finished run."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import resnet18

from tests.conftest import SMALL, TINY, compose_config
from tests.data.films.radiograph_files import films, write_classes, write_png8, write_png16
from xray_tl.config import TrainerConfig
from xray_tl.data.films.listing import list_input
from xray_tl.errors import FolderError, InputError
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.runs.score_films import open_scorer, score
from xray_tl.store.records import SPLIT
from xray_tl.study.saved_predictions import read_predictions, split_of

CPU = TrainerConfig(accelerator="cpu")
REAL = [option for option in TINY if not option.startswith(("data.n_",))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train on a folder of films once; return the run's folder and the films'."""
    place = tmp_path_factory.mktemp("real")
    root = write_classes(place / "films", 60, per_patient=2)
    cfg = compose_config(
        *REAL, "mode=frozen", "data=folder", f"data.root={root}", "data.image_size=32", "data.batch_size=8"
    )
    run(cfg, place / "run")
    return place / "run", root


def test_a_run_on_files_knows_no_ceiling_and_names_its_images(trained: tuple[Path, Path]) -> None:
    folder, root = trained
    scores = read_predictions(folder)
    split = pd.read_csv(folder / SPLIT)
    for name in ("train", "val", "test"):
        assert set(split_of(scores, name)["case"]) == set(split["name"][split["split"] == name])
    assert "ideal_logit" not in scores
    assert (root / split["name"][0]).is_file()


def test_scores_are_those_of_the_run(trained: tuple[Path, Path]) -> None:
    folder, root = trained
    scorer = open_scorer(folder, CPU)
    table = score(scorer, list_input(root), batch_size=7, workers=1)
    recorded = read_predictions(folder).set_index("case")["probability"]
    for row in table.itertuples():
        name = Path(str(row.path)).relative_to(root).as_posix()
        assert row.probability == pytest.approx(recorded[name], abs=1e-5)
        assert row.prediction == (row.probability >= scorer.thresholds[0])
        assert row.target == "opacity"
    assert (table["unusual"] == "").mean() > 0.9


def test_scores_are_computed_in_the_precision_of_the_record(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    """A frozen run that asked for bf16 was computed in fp32, and its record says so."""
    folder, _ = trained
    shutil.copytree(folder, tmp_path / "run")
    stored = tmp_path / "run" / ".hydra" / "config.yaml"
    asked = stored.read_text().replace("precision: auto", "precision: bf16").replace("'32'", "bf16")
    assert "precision: bf16" in asked
    stored.write_text(asked)
    image = films(8)[0]
    recorded, other = (open_scorer(place, CPU).probability(image) for place in (folder, tmp_path / "run"))
    assert torch.equal(recorded, other)


def test_a_run_that_holds_all_its_weights_keeps_their_normalisation(tmp_path: Path) -> None:
    """The file that they came from may be gone."""
    root, weights = write_classes(tmp_path / "films", 40), tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    save_file(resnet18().state_dict(), weights)
    data = ("data=folder", f"data.root={root}", "data.image_size=32", "trainer.max_epochs=1")
    normal = ("weights.mean=[0.2]", "weights.std=[0.1]")
    own = [option for option in REAL if not option.startswith("weights=")]
    cfg = compose_config(*own, *data, "mode=finetune", "weights=file", f"weights.path={weights}", *normal)
    run(cfg, tmp_path / "run")
    weights.unlink()
    table = score(open_scorer(tmp_path / "run", CPU), list_input(root), batch_size=8, workers=1)
    recorded = read_predictions(tmp_path / "run").set_index("case")["probability"]
    for row in table.itertuples():
        name = Path(str(row.path)).relative_to(root).as_posix()
        assert row.probability == pytest.approx(recorded[name], abs=1e-5)
    assert "came out exactly" in evaluate(compose_config(name="evaluate"), tmp_path / "run", [])


def test_a_run_with_low_rank_updates_scores_films_as_it_was_tested(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 40)
    data = ("data=folder", f"data.root={root}", "data.image_size=32", "trainer.max_epochs=1")
    run(compose_config(*REAL, *SMALL, *data, "mode=lora", "mode.lora_rank=2"), tmp_path / "run")
    table = score(open_scorer(tmp_path / "run", CPU), list_input(root), batch_size=8, workers=1)
    recorded = read_predictions(tmp_path / "run").set_index("case")["probability"]
    assert recorded.nunique() > 20
    for row in table.itertuples():
        name = Path(str(row.path)).relative_to(root).as_posix()
        assert row.probability == pytest.approx(recorded[name], abs=1e-5)


def test_what_is_unlike_the_training_images_is_said(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = trained
    grey = films(1, 32)[0][0]
    write_png16(tmp_path / "like", grey)
    write_png8(tmp_path / "bits", grey)
    write_png16(tmp_path / "dark", 0.2 * grey)
    write_png16(tmp_path / "mask", (grey > 0.5).astype(np.float32))
    (tmp_path / b"caf\xe9.png".decode("utf-8", "surrogateescape")).touch()
    write_png16(tmp_path / "small", grey[::4, ::4])
    (tmp_path / "empty.png").touch()
    table = score(open_scorer(folder, CPU), list_input(tmp_path), 4, 1).set_index("path")
    said = {Path(str(path)).stem: str(text) for path, text in table["unusual"].items()}
    assert said["like"] == ""
    assert said["bits"] == "8 bits, trained on 16"
    assert said["dark"].startswith("dark; intensity mean")
    assert said["mask"].startswith("two-valued; ")
    assert said["caf\\udce9"] == "cannot be used: it is empty"
    assert "8 x 8 pixels, trained on 32 and more" in said["small"]
    assert said["empty"] == "cannot be used: it is empty"
    empty = table.loc[str(tmp_path / "empty.png")]
    assert pd.isna(empty["probability"])
    assert pd.isna(empty["prediction"])


def test_colour_is_unlike_grey_films_alone(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = trained
    grey = films(1, 32)[0][0]
    picture = Image.fromarray((grey * 255).astype(np.uint8)).convert("RGB")
    picture.save(tmp_path / "film.png")
    scorer = open_scorer(folder, CPU)
    assert "in colour" in score(scorer, [tmp_path / "film.png"], 1, 1)["unusual"].iloc[0]
    files = scorer.record["files"] | {"modes": ["colour"]}
    like = replace(scorer, record=scorer.record | {"files": files})
    assert "in colour" not in score(like, [tmp_path / "film.png"], 1, 1)["unusual"].iloc[0]


def test_a_run_on_generated_films_scores_files_too(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    record = run(tiny("mode=frozen"), tmp_path / "run")
    assert set(record["images"]) == {"mean", "spread"}
    grey, _ = films(8, 32)
    (tmp_path / "films").mkdir()
    for index, image in enumerate(grey):
        write_png16(tmp_path / "films" / f"{index}", image)
    table = score(open_scorer(tmp_path / "run", CPU), list_input(tmp_path / "films"), 8, 1)
    # standardised features of an untrained trunk magnify half a step of 16 bits
    train = split_of(read_predictions(tmp_path / "run"), "train").set_index("case")["probability"]
    assert np.allclose(table["probability"], [train[str(index)] for index in range(8)], atol=1e-3)


def test_wrong_input_is_said(trained: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"input=.*no does not exist"):
        list_input(tmp_path / "no")
    with pytest.raises(InputError, match="holds no PNG, JPEG, TIFF or DICOM file"):
        list_input(tmp_path)
    with pytest.raises(InputError, match=r"is not a run's folder"):
        open_scorer(tmp_path, CPU)


def test_classes_and_labels_with_gaps_are_trained_and_scored(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 60)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    rows = [
        f"{name},{int('opacity' in name)},{'' if index % 5 == 0 else index % 2}"
        for index, name in enumerate(names)
    ]
    (root / "labels.csv").write_text("\n".join(["path,opacity,odd", *rows]))
    cfg = compose_config(
        *REAL,
        "mode=finetune",
        "data=csv",
        f"data.root={root}",
        "data.table=labels.csv",
        "data.label_columns=[opacity,odd]",
        "data.image_size=32",
        "data.batch_size=8",
    )
    record = run(cfg, tmp_path / "run")
    assert record["data"]["targets"] == ["multilabel", "opacity", "odd"]
    assert len(record["threshold"]) == 2
    assert np.isfinite(record["metrics"]["test"]["auroc"])
    scores = read_predictions(tmp_path / "run")
    assert (scores["target"] == "opacity").sum() == 60
    assert (scores["target"] == "odd").sum() == 48, "what is not known is not scored"
    table = score(open_scorer(tmp_path / "run", CPU), list_input(root)[:3], 8, 1)
    assert table["target"].tolist() == ["opacity", "odd"] * 3


def test_a_run_is_evaluated_on_other_films_read_as_its_own(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, root = trained
    elsewhere = write_classes(tmp_path / "elsewhere", 16, seed=7)

    def evaluate_on(place: Path, *options: str) -> str:
        overrides = ["data=folder", f"data.root={place}", *options]
        cfg = compose_config(f"run={folder}", *overrides, name="evaluate")
        cfg.name = None
        return evaluate(cfg, folder, overrides)

    assert "auroc" in evaluate_on(elsewhere, "data.test_fraction=1")
    (written,) = (folder / "evaluations").iterdir()
    grey, _ = films(16, 32, seed=7)
    scores = read_predictions(written).set_index("case")["probability"]
    (tmp_path / "one").mkdir()
    write_png16(tmp_path / "one" / "film", grey[3])
    alone = score(open_scorer(folder, CPU), list_input(tmp_path / "one"), 1, 1)["probability"].iloc[0]
    (name,) = (case for case in scores.index if "/00003_" in case)
    assert scores[name] == pytest.approx(alone, abs=1e-4), "at 32 px, as the run's own"
    with pytest.raises(InputError, match=r"are training or validation images of .*data\.split_file="):
        evaluate_on(root, "data.seed=5")
    for path in root.rglob("*.png"):
        copy = tmp_path / "copies" / path.relative_to(root).with_suffix(".tif")
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.save(copy)
    with pytest.raises(InputError, match=r"are training or validation images of"):
        evaluate_on(tmp_path / "copies", "data.test_fraction=1")
    with pytest.raises(
        InputError, match=r"the run predicts opacity .* these images have normal .* turns them around"
    ):
        evaluate_on(elsewhere, "data.test_fraction=1", "data.negative=opacity")


def test_a_finished_run_is_not_taken_for_one_on_changed_files(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 40)
    cfg = compose_config(
        *REAL, "mode=frozen", "data=folder", f"data.root={root}", "data.image_size=32", "data.batch_size=8"
    )
    first = run(cfg, tmp_path / "run")
    assert run(cfg, tmp_path / "run")["metrics"] == first["metrics"]
    write_png16(sorted((root / "normal").iterdir())[0].with_suffix(""), 1 - films(1, 32)[0][0])
    with pytest.raises(FolderError, match=r"is complete, but the images or labels of .* have changed"):
        run(cfg, tmp_path / "run")
