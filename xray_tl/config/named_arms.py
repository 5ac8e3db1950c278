"""Names of arms in declared questions: a file in `conf/arm`, options that tell arms apart, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from omegaconf import DictConfig, OmegaConf

from xray_tl.config.identity import SEEDS
from xray_tl.errors import InputError

GROUPS: Mapping[str, tuple[str, ...]] = {
    "model": ("model.name", "model.registry"),
    "mode": ("mode.name",),
    "weights": ("weights.source",),
    "data": ("data.name",),
    "difficulty": ("data.difficulty",),
    "shift": ("data.shift",),
    "augment": ("augment.name",),
    "optim": ("optim.name",),
    "tune": ("tune.name",),
    "trainer": ("trainer.name",),
}
"""Group that may tell arms apart -> the options that hold what was chosen of it."""


def arm_name(text: str) -> str:
    """Return an arm's name in its usual form: a file in `conf/arm`, then options in their order.

    Raises:
        InputError: It has two names, or none and no option.
    """
    words = text.split()
    bare = [word for word in words if "=" not in word]
    if len(bare) > 1 or (bare and words[0] != bare[0]):
        raise InputError(
            f'planned: "{text}" is no arm: write a file of conf/arm, options (mode=frozen) or both, and '
            '" - " or " + " between arms'
        )
    return " ".join([*bare, *sorted(word for word in words if "=" in word)])


def split_arm(name: str) -> tuple[str | None, dict[str, str]]:
    """Split an arm's name into its file in `conf/arm`, if it names one, and its options."""
    words = name.split()
    options = dict(word.split("=", 1) for word in words if "=" in word)
    return next((word for word in words if "=" not in word), None), options


def check_arm(name: str, where: str, cfg: DictConfig, files: Callable[[str], Sequence[str]]) -> None:
    """Check that an arm's file and options are known.

    Args:
        name: The arm's name.
        where: Where it stands, for the message.
        cfg: A configuration: of a run, or what the jobs of a sweep share.
        files: Returns the names of a group's files.

    Raises:
        InputError: They are not.
    """
    file, options = split_arm(name)
    if file is not None and file not in files("arm"):
        raise InputError(f"{where} names no arm: {file} is not one of {', '.join(sorted(files('arm')))}")
    for option, value in options.items():
        if option in GROUPS:
            if value not in files(option):
                raise InputError(
                    f"{where} names no arm: {option}={value} is not one of {', '.join(sorted(files(option)))}"
                )
        elif "." not in option or option in SEEDS or not _has(cfg, option):
            groups = ", ".join(GROUPS)
            raise InputError(
                f"{where} names no arm: {option} is no option that tells arms apart: choose from {groups}, "
                "or one of theirs, such as data.n_train"
            )


def _has(cfg: DictConfig, option: str) -> bool:
    group, _, key = option.rpartition(".")
    node = OmegaConf.select(cfg, group, default=None)
    return OmegaConf.is_dict(node) and key in node
