"""What features follow from, and what they do not: every option on one side of their key."""

from typing import Any

from tests.conftest import TINY, compose_config, option_names
from xray_tl.config import typed
from xray_tl.runs import feature_cache
from xray_tl.runs.parts import Parts, assemble

# Options that features of the training images follow from, with a change that must move their key.
IN_KEY = {
    "model.registry": "model=efficientnet_lite0",
    "model.name": "model=resnet50",
    "model.depth": "model.depth=2",  # through the hash of the tensors that it keeps
    "model.stem": "model.stem=convert",
    "model.memory_format": "model.memory_format=contiguous",
    "weights": "weights.seed=1",  # all of them through the tensors' hash and the normalisation
    "trainer.accelerator": None,  # through the kind of device
    "data.name": None,  # through what the data set is made of
    "data.finding": "data.finding=nodule",
    "data.image_size": "data.image_size=48",
    "data.n_train": "data.n_train=30",
    "data.seed": "data.seed=1",
    "data.train_seed": "data.train_seed=1",
    "data.prevalence": "data.prevalence=0.4",
    "data.contrast": "data.contrast=physical",
    "data.d0": "data.d0=3",
    "data.target_auroc": "data.target_auroc=0.9",
    "data.attenuation": ("data.contrast=physical", "data.attenuation=0.011"),
    "data.radii": "data.radii=[5,6]",
    "data.radius_scale": "data.radius_scale=0.9",
    "data.contrasts": "data.contrasts=[0.7,0.8]",
    "data.mild_probability": "data.mild_probability=0.5",
    "data.mild_contrasts": ("data.mild_probability=0.5", "data.mild_contrasts=[0.11,0.12]"),
    "data.flip_negative": "data.flip_negative=0.1",  # labels: needless, and rare
    "data.flip_positive": "data.flip_positive=0.1",
    "data.acquisition": "data.acquisition.kvp=90",
    "data.anatomy": "data.anatomy.pose=2",
    "data.marker": "data.marker.train=0.5",
}
# What makes a set of films: all of it through the hashes of their contents and of who is in which split.
OF_FILMS = {
    f"data.{name}"
    for name in (
        *(
            "layout",
            "root",
            "table",
            "path_column",
            "search",
            "label_column",
            "label_columns",
            "label_separator",
        ),
        *(
            "patient_column",
            "split_column",
            "test_list",
            "labels",
            "negative",
            "patient_regex",
            "patient_tag",
            "split_names",
            "subfolders",
            "test_from",
        ),
        *("val_fraction", "test_fraction", "split_file", "folds", "fold", "fit", "intensity", "on_error"),
    )
}
# Options that may change without changing such a feature: where, how long and in which order a head is
# trained, what else is made or shown. Where a trunk is cut, its modules themselves tell.
NOT_IN_KEY = {
    "seed": "seed=1",
    "mode": "mode.head_lr=0.1",
    "optim": "optim.lr=0.1",
    "augment": None,  # makes new images, so that nothing is kept
    "logger": "logger=tensorboard",
    "tune": "tune=rates",
    "feature_cache": None,
    "shifts": None,
    "planned": "+planned.question=[resnet18 - vgg16]",
    "arm_file": "arm_file=other",
    "rungs": "rungs=[5,8]",
    "budget": "budget=4h",
    "model.head_dropout": "model.head_dropout=0.5",
    "model.dropout": "model.dropout=0.5",
    "weights.timeout_s": "weights.timeout_s=9",
    "data.batch_size": "data.batch_size=5",
    "data.n_val": "data.n_val=20",
    "data.n_test": "data.n_test=20",
    "data.num_workers": "data.num_workers=1",
    "data.memory_limit_gb": "data.memory_limit_gb=3",
    "data.difficulty": None,
    "data.shift": None,
    "data.download": None,
    "data.covariate_columns": None,
    "data.on_leak": None,
    "trainer.name": None,
    "trainer.precision": "trainer.precision=bf16",  # what is kept is computed in fp32
    "trainer.deterministic": None,
    "trainer.early_stopping": None,
    "trainer.reestimate_batchnorm": "trainer.reestimate_batchnorm=false",
    "trainer.threads": None,
    "trainer.progress_bar": None,
    "trainer.max_epochs": "trainer.max_epochs=9",
}


def key(*overrides: str) -> dict[str, Any]:
    parts: Parts = assemble(typed(compose_config(*TINY, "mode=frozen", *overrides)))
    return feature_cache.identity(parts, "train", parts.provenance.sha256)


def test_the_key_holds_what_changes_a_feature_and_nothing_else() -> None:
    base = key()
    for options, moves in ((IN_KEY, True), (NOT_IN_KEY, False)):
        for option, change in options.items():
            if isinstance(change, tuple):
                assert key(*change) != key(*change[:-1]), option
            elif change is not None:
                assert (key(change) != base) is moves, option


def test_every_option_stands_on_one_side_of_the_key() -> None:
    for leaf in option_names():
        listed = [name for name in (*IN_KEY, *OF_FILMS, *NOT_IN_KEY) if f"{leaf}.".startswith(f"{name}.")]
        closest = max(map(len, listed), default=0)
        assert sum(len(name) == closest for name in listed) == 1, f"{leaf} must stand on one side of the key"
