"""Choices of accelerator, precision and threads."""

from collections.abc import Iterator

import pytest
import torch

from xray_tl.config import TrainerConfig
from xray_tl.errors import InputError
from xray_tl.training import device
from xray_tl.training.device import (
    choose_device,
    choose_precision,
    describe_environment,
    limit_threads,
    set_threads,
)


@pytest.fixture
def _threads_of_a_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give torch its threads back, and the module its first state."""
    before = torch.get_num_threads()
    monkeypatch.setattr(device, "_share", None)
    monkeypatch.setattr(device, "_own", None)
    device._warn_of_share.cache_clear()
    yield
    torch.set_num_threads(before)


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


def _threads_with(threads: int | None) -> int:
    set_threads(TrainerConfig(threads=threads))
    return torch.get_num_threads()


@pytest.mark.usefixtures("_threads_of_a_process")
def test_null_is_the_process_s_own_number_whatever_the_job_before_had() -> None:
    torch.set_num_threads(3)
    assert [_threads_with(threads) for threads in (1, 2, None, None)] == [1, 2, 3, 3]
    torch.set_num_threads(4)
    assert [_threads_with(threads) for threads in (None, 1, None)] == [4, 1, 4]


@pytest.mark.usefixtures("_threads_of_a_process")
def test_a_job_beside_others_gets_its_share_of_threads_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.set_num_threads(2)
    limit_threads(2)
    assert [_threads_with(threads) for threads in (1, 2, None)] == [1, 2, 2]
    assert not caplog.messages
    assert [_threads_with(8), _threads_with(8)] == [2, 2]
    assert caplog.messages == ["trainer.threads=8, but jobs run side by side: this one gets its share, 2"]
