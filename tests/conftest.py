"""What the tests share: composed configurations of tiny runs, and no network."""

import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from xray_tl.config import SCHEMAS, conf_dir, register_schemas
from xray_tl.config.identity import register_resolvers

register_schemas()
register_resolvers()
# Small tensors: two threads cost more than they bring, and results must not depend on the machine's cores.
torch.set_num_threads(1)

TINY = (
    "model=resnet18",
    "weights=random",
    "weights.measure=false",
    "data.image_size=32",
    "data.n_train=24",
    "data.n_val=16",
    "data.n_test=16",
    "data.batch_size=8",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "logger=none",
)

SMALL = ("model=timm", "model.name=test_resnet")
"""A network of 0.4 M parameters where size is not the point: fine-tuned in a quarter of ResNet18's time."""

FOREIGN = re.compile(
    "(SLURM|SBATCH|SRUN|PMI|PMIX|OMPI|PBS|LSB|JSM|TORCHELASTIC|MASTER|XRAY_TL|HYDRA|PL|LIGHTNING)_.*"
    "|((LOCAL|NODE|GROUP)_)?RANK|WORLD_SIZE|CUDA_VISIBLE_DEVICES"
)
"""Variables of a scheduler, or of the user's own shell, that would change what a run does."""
OWN = ("XRAY_TL_VANDYKE",)
"""Named for a test on purpose."""


def pytest_configure() -> None:
    """Give tests, and what they start, an environment of their own, before Lightning reads its rank."""
    assert "lightning" not in sys.modules
    for name in foreign(os.environ):
        del os.environ[name]


def foreign(names: Iterable[str]) -> list[str]:
    """Choose the variables that tests must not see."""
    return [name for name in names if FOREIGN.fullmatch(name) and name not in OWN]


def compose_config(*overrides: str, name: str = "config") -> DictConfig:
    """Compose a configuration as the command line would."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose(name, overrides=list(overrides))


def option_names() -> set[str]:
    """Name every option of a run, on data sets of every kind."""
    schemas = [(str(name), str(name)) for name in OmegaConf.structured(SCHEMAS["config"]) if name != "data"]
    names = set()
    for group, schema in (*schemas, ("data", "data_synthetic"), ("data", "data_radiographs")):
        own = _leaves(OmegaConf.structured(SCHEMAS[schema]), f"{group}.") if schema in SCHEMAS else [group]
        names.update(own)
    return names


def _leaves(cfg: DictConfig, prefix: str) -> list[str]:
    names = []
    for key in cfg:
        name, value = f"{prefix}{key}", cfg._get_node(key)
        names += _leaves(value, f"{name}.") if isinstance(value, DictConfig) else [name]
    return names


@pytest.fixture
def tiny() -> Callable[..., DictConfig]:
    """Compose a run of seconds; later overrides win."""
    return lambda *overrides: compose_config(*TINY, *overrides)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on a network: connections to anywhere but this machine fail at once."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise OSError(f"tests have no network ({host})")
        connect(self, address)  # type: ignore[arg-type]  # socket's type of an address is private to typeshed

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what is made once in a folder of the tests': never in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAY_TL_CACHE", str(folder))
        patch.setenv("XRAY_TL_SPARE", str(folder / "spare"))
        yield folder


@pytest.fixture(scope="session")
def subprocess_env(shared_cache: Path) -> dict[str, str]:
    """Environment of commands that tests start: one thread, this checkout's package, the tests' cache."""
    root = str(Path(__file__).resolve().parents[1])
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": root, "HYDRA_FULL_ERROR": "0"}
    return {**os.environ, **own, "XRAY_TL_CACHE": str(shared_cache)}
