"""Which runs share a job of a scheduler, and which wait for which."""

from pathlib import Path

from tests.conftest import TINY, compose_config
from xray_tl.sweeps.batches import Batch, arrays, batches
from xray_tl.sweeps.job import Job


def _job(name: str, *options: str) -> Job:
    return Job(compose_config(*options), Path(name), {})


def _drawn(made: list[Batch]) -> list[tuple[str, list[int]]]:
    return [
        (
            ("weights of " if batch.weights else "") + " ".join(str(job.folder) for job in batch.jobs),
            sorted(batch.after),
        )
        for batch in made
    ]


def _study(*options: str) -> list[Job]:
    """Two fine-tuned and three frozen runs of one backbone, two frozen ones of another, two seeds each."""
    arms = {"a": "resnet50_finetune", "f": "resnet50_frozen", "v": "vgg16_frozen"}
    head = ("mode.head=trained",)
    return [
        _job(
            f"{name}{seed}", f"arm={arm}", f"seed={seed}", "weights=source", *(head * (name != "a")), *options
        )
        for name, arm in arms.items()
        for seed in range(3 if name == "f" else 2)
    ]


def test_source_weights_come_first_and_frozen_runs_share_a_job() -> None:
    study = _study()
    made = batches(study, [], [study[0], study[-1]], 8)
    assert _drawn(made) == [
        ("weights of a0", []),
        ("weights of v1", []),
        ("a0", [0]),
        ("f0 f1 f2", [0]),
        ("v0 v1", [1]),
        ("a1", [0]),
    ]
    assert arrays(made, 1000) == [[0, 1], [2, 3, 5], [4]]
    assert arrays(made, 2) == [[0, 1], [2, 3], [5], [4]]


def test_weights_that_are_there_are_not_waited_for_and_a_job_has_at_most_so_many_runs() -> None:
    assert _drawn(batches(_study(), [], [], 2)) == [
        ("a0", []),
        ("f0 f1", []),
        ("v0 v1", []),
        ("a1", []),
        ("f2", []),
    ]


def test_the_first_run_of_an_arm_tunes_its_rates_for_the_others() -> None:
    study = _study("tune=rates")
    made = batches(study, [], [study[0]], 8)
    assert _drawn(made) == [
        ("weights of a0", []),
        ("a0", [0]),
        ("f0", [0]),
        ("v0", []),
        ("a1", [0, 1]),
        ("f1 f2", [0, 2]),
        ("v1", [3]),
    ]
    tuned = batches(study[1:2] + study[3:], [study[0], study[2]], [], 8)
    assert _drawn(tuned) == [("a1", []), ("f1 f2", []), ("v0", []), ("v1", [2])], "by a run that is complete"


def test_arms_on_the_same_features_tune_side_by_side() -> None:
    trained = (*TINY, "mode=frozen", "mode.head=trained", "tune=rates")
    jobs = [
        _job(f"{word}{seed}", *trained, f"mode.standardise={word}", f"seed={seed}")
        for word in ("true", "false")
        for seed in (0, 1)
    ]
    assert _drawn(batches(jobs, [], [], 8)) == [
        ("true0", []),
        ("false0", []),
        ("true1", [0]),
        ("false1", [1]),
    ]


def test_a_solved_head_has_no_rates_to_wait_for() -> None:
    solved = (*TINY, "mode=frozen", "tune=rates")
    jobs = [_job(f"{word}", *solved, f"mode.standardise={word}") for word in ("true", "false")]
    assert _drawn(batches(jobs, [], [], 8)) == [("true false", [])], "two arms on the same features"
    others = [_job(f"{seed}", *solved, f"data.train_seed={seed}") for seed in (0, 1)]
    assert _drawn(batches(others, [], [], 8)) == [("0", []), ("1", [])], "other images have other features"


def test_the_first_run_on_films_decodes_them_for_the_others() -> None:
    films = ("data=folder", "data.root=films", "mode=frozen", "mode.head=trained", "weights=random")
    jobs = [_job(f"{seed}", *films, f"seed={seed}") for seed in range(3)]
    others = [
        _job(f"{seed} elsewhere", *films[:1], "data.root=more", *films[2:], f"seed={seed}")
        for seed in range(2)
    ]
    assert _drawn(batches([*jobs, *others], [], [], 8)) == [
        ("0", []),
        ("0 elsewhere", []),
        ("1 2", [0]),
        ("1 elsewhere", [1]),
    ]
    assert _drawn(batches(jobs[1:], jobs[:1], [], 8)) == [("1 2", [])], "they are decoded already"


def test_a_run_that_will_be_refused_has_a_job_of_its_own() -> None:
    """It says why; the others are not held up."""
    wrong = _job("wrong", "mode=frozen", "mode.head=trained", "data.finding=mass")
    wrong.cfg.data.contrast = "${nowhere}"
    jobs = [_job(f"{seed}", "mode=frozen", "mode.head=trained", f"seed={seed}") for seed in (0, 1)]
    assert _drawn(batches([wrong, *jobs], [], [], 8)) == [("wrong", []), ("0 1", [])]
