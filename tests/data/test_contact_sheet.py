"""Contact sheet and its command."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from tests.data.films.radiograph_files import write_classes
from xray_tl.config import SyntheticDataConfig
from xray_tl.data.contact_sheet import check_sheet, draw_sheet, generated, pick, read, write_sheet
from xray_tl.data.films.reading import Reading, try_reading
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.errors import InputError


def source(**options: object) -> SyntheticRadiographs:
    config = replace(SyntheticDataConfig(image_size=32), **options)
    return SyntheticRadiographs(config, split="train", seed=0)


def test_positives_and_negatives_are_found_in_order() -> None:
    drawn = source(prevalence=0.01)
    positive, negative = pick(drawn, 12)
    assert bool(drawn.labels(positive)[0].all())
    assert not bool(drawn.labels(negative)[0].any())
    first = drawn.labels(torch.arange(int(positive[-1]) + 1))[0].nonzero().flatten()
    assert torch.equal(first, positive)
    with pytest.raises(InputError, match=r"data\.prevalence=1e-07 leaves too few"):
        pick(source(prevalence=1e-7), 12)


def test_a_sheet_has_its_size_and_outlines_on_request_only(tmp_path: Path) -> None:
    images = {}
    for outlines in (False, True):
        path = tmp_path / f"{outlines}.png"
        assert write_sheet(draw_sheet(generated(source(), 6, outlines=outlines), 2, 3), path) == path
        images[outlines] = imread(path)[..., :3]
    assert images[True].shape == (2 * (34 + 2 * (224 + 20)), 3 * 224, 3)
    coloured = {key: np.ptp(image, axis=-1) > 0.3 for key, image in images.items()}
    assert not coloured[False].any()
    half = len(images[True]) // 2
    assert coloured[True][:half].any()
    assert not coloured[True][half:].any()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["False.png", "True.png"]


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (15, 14)])
def test_an_impossible_sheet_is_refused(rows: int, columns: int) -> None:
    with pytest.raises(InputError, match=rf"rows={rows} columns={columns}: choose at least 1"):
        check_sheet(rows, columns)


def test_a_bad_output_is_refused(tmp_path: Path) -> None:
    figure = draw_sheet(generated(source(), 1), 1, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"sheet\.jpg must end in \.png"):
        write_sheet(figure, tmp_path / "sheet.jpg")
    with pytest.raises(InputError, match=r"output=.*file/sheet\.png cannot be written: "):
        write_sheet(figure, tmp_path / "file" / "sheet.png")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def preview(folder: Path, env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xray_tl.preview", *options]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_prints_the_path_and_leaves_nothing_else(
    tmp_path: Path, subprocess_env: dict[str, str]
) -> None:
    options = ("data.image_size=32", "rows=1", "columns=2", "data.finding=nodule", "output=sheet.png")
    done = preview(tmp_path, subprocess_env, *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sheet.png\n", "")
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_a_mistake_is_one_clear_line(tmp_path: Path, subprocess_env: dict[str, str]) -> None:
    done = preview(tmp_path, subprocess_env, "data.image_size=100")
    assert (done.returncode, done.stdout) == (1, "")
    message = "error: data.image_size=100 is not a multiple of 16: the nearest are 96 and 112"
    assert done.stderr.strip() == message
    assert not list(tmp_path.iterdir())


def test_files_are_shown_as_a_model_sees_them_and_bad_ones_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_classes(tmp_path, 3)
    long = tmp_path / f"{'0' * 40}$\\alpha_{{$.png"
    next(tmp_path.rglob("*.png")).rename(long)
    files = sorted(tmp_path.rglob("*.png"))
    (tmp_path / "bad.png").write_text("none")
    reading = Reading(32, "pad", "range")
    (part,) = read([tmp_path / "bad.png", *files], reading, 2)
    assert part.title == "2 of 4 files"
    assert "bad.png cannot be used" in caplog.text
    for image, path in zip(part.images, files[:2], strict=True):
        seen = try_reading(str(path), reading)
        assert not isinstance(seen, str)
        assert np.array_equal(image[0].numpy(), seen.image)
    sheet = draw_sheet([part], 1, 2)
    assert sheet.get_size_inches().tolist() == [2 * 224 / 100, (34 + 224 + 33) / 100]
    assert [caption.split("\n")[1] for caption in part.captions] == ["32 x 32, 16 bits, grey"] * 2
    renderer = FigureCanvasAgg(sheet).get_renderer()
    widths = [text.get_window_extent(renderer).width for text in sheet.axes[0].texts]
    assert max(widths) < 224 - 6, "a caption stays below its image"
    with pytest.raises(InputError, match="none of the files of input can be used"):
        read([tmp_path / "bad.png"], reading, 2)
