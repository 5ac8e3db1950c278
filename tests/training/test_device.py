"""Choices of accelerator and precision."""

import pytest
import torch

from xray_tl.errors import InputError
from xray_tl.training.device import choose_device, choose_precision, describe_environment


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_what_is_there(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto").type == expected


def test_an_accelerator_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"trainer\.accelerator=cuda is not available.*cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("bf16", [True, False])
def test_bf16_where_cuda_has_it_and_fp32_elsewhere(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert choose_precision("auto", torch.device("cuda")) == ("bf16-mixed" if bf16 else "32-true")
    assert choose_precision("auto", torch.device("cpu")) == "32-true"
    assert choose_precision("bf16", torch.device("cpu")) == "bf16-mixed"


def test_the_environment_names_versions_and_threads() -> None:
    described = describe_environment(torch.device("cpu"), "32-true")
    assert described["torch"] == torch.__version__
    assert described["threads"] == torch.get_num_threads()
    assert described["device"].startswith("cpu")
