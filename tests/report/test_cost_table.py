"""Tables of what backbones cost fit a terminal and say how they were measured."""

from typing import Any

import pytest

from xray_tl.report.cost_table import as_frame, format_bench


def _measured(**changes: object) -> dict[str, Any]:
    training = {
        f"train_{mode}_{name}": value
        for mode, share in (("finetune", 0.71), ("partial", 0.82), ("frozen", 0.93))
        for name, value in (("images_s", 1234.5), ("share", share), ("peak_mb", 12345.6))
    }
    return {
        "model": "vgg16",
        "parameters_m": 134.3,
        "gemm_gflops": 149.0,
        "gmac": 15.47,
        "latency_p50_ms": 247.0,
        "latency_p95_ms": 262.0,
        "latency_share": 0.84,
        "forward_images_s": 1234.5,
        "forward_share": 1.08,
        **training,
        "generator_images_s": 177.0,
        "image_size": 224,
        "batch_size": 16,
        "latency_repeats": 50,
        "repeats": 5,
        "warm_up": 2,
        "environment": {"torch": "2"},
        **changes,
    }


def test_tables_fit_a_terminal_and_have_every_share() -> None:
    long = _measured(model="timm/convnextv2_atto.fcmae_ft_in1k")
    text = format_bench(as_frame([_measured(), long]))
    assert max(map(len, text.splitlines())) <= 120
    rows = [line.split() for line in text.splitlines() if line.split()[:1] == ["vgg16"]]
    assert rows[0] == ["vgg16", "134.3", "15.47", "247.0", "262.0", "84%", "1234.5", "108%"]
    assert [cell for cell in rows[1] if cell.endswith("%")] == ["71%", "82%", "93%"]


def test_warm_up_and_repeats_stand_below_the_tables() -> None:
    text = format_bench(as_frame([_measured(latency_repeats=31, warm_up=7, repeats=11)]))
    assert "latency: median and 95th percentile of 31 passes after 7 warm-up passes" in text
    assert "median of 11 after 7 warm-up batches" in text


@pytest.mark.parametrize("others", [[], [_measured()]])
def test_an_unknown_peak_is_a_dash(others: list[dict[str, Any]]) -> None:
    unknown = {f"train_{mode}_peak_mb": None for mode in ("finetune", "partial", "frozen")}
    text = format_bench(as_frame([_measured(model="resnet18", **unknown), *others]))
    row = [line.split() for line in text.splitlines() if "resnet18" in line][1]
    assert [row[column] for column in (3, 6, 9)] == ["-", "-", "-"]
