"""The five questions, answered from a study."""

import re
from pathlib import Path

from tests.study.sweeps import (
    METRICS,
    scores,
    write_evaluation,
    write_planned,
    write_scored,
    write_study,
)
from xray_tl.report.tasks import tasks
from xray_tl.study.analysis import analyse


def test_each_remedy_is_compared_with_the_plain_arm(tmp_path: Path) -> None:
    write_study(tmp_path)
    changes = {"augment.name": ("light", 2.6), "optim.weight_decay": (0.3, 2.5), "data.n_train": (200, 4.0)}
    for option, (value, strength) in changes.items():
        for seed in range(5):
            write_scored(tmp_path, strength, seed, options={option: value})
    for seed in range(5):
        write_scored(tmp_path, 1.0, seed, options={"data.n_train": 50})
        write_scored(tmp_path, 1.0, seed, options={"augment.name": "light", "optim.weight_decay": 0.3})
    answers = {task.letter: task.answer for task in tasks(analyse(tmp_path), {})}
    remedies = [sentence for sentence in answers["E"] if sentence.startswith("Remedy")]
    assert sorted(sentence.split(":")[0] for sentence in remedies) == [
        "Remedy augment=light",
        "Remedy n_train=200",
        "Remedy weight_decay=0.3",
    ]
    for sentence in remedies:
        assert "resnet18 finetune random" in sentence
        assert "AUROC" in sentence
    for letter, sentences in {"B": 1, "C": 1, "D": 3}.items():
        assert len(answers[letter]) == sentences, "arms with a remedy are no further answers"
    (overfitting,) = [sentence for sentence in answers["E"] if sentence.startswith("Overfitting")]
    assert overfitting.startswith("Overfitting of resnet18 finetune random: "), "the arm without a remedy"
    (learning,) = [sentence for sentence in answers["E"] if sentence.startswith("Training images")]
    assert "resnet18 finetune random: 50 give" in learning
    assert "200 give" in learning
    assert "AUROC +" in learning


def test_remedies_are_found_where_another_arm_is_the_best(tmp_path: Path) -> None:
    for seed in range(5):
        write_scored(tmp_path, 1.0, seed)
        write_scored(tmp_path, 1.2, seed, options={"augment.name": "light"})
        write_scored(tmp_path, 1.2, seed, options={"optim.lr": 0.1})
        write_scored(tmp_path, 4.0, seed, mode="frozen", metrics={"test": METRICS | {"auroc": 0.95}})
    answers = {task.letter: task.answer for task in tasks(analyse(tmp_path), {})}
    remedies = [sentence for sentence in answers["E"] if sentence.startswith("Remedy")]
    assert len(remedies) == 1, "a learning rate is none"
    assert remedies[0].startswith("Remedy augment=light: ")
    assert [sentence for sentence in answers["E"] if sentence.startswith("Overfitting of resnet18 finetune")]


def test_a_model_s_arm_is_chosen_on_validation_images(tmp_path: Path) -> None:
    for strength, val, option in ((3.0, 0.6, {}), (1.0, 0.9, {"augment.name": "light"})):
        for seed in range(2):
            history = [{"epoch": 0, "train_loss": 1, "val_loss": 1, "val_auroc": val, "lr": 1e-3}]
            metrics = {"test": METRICS | {"auroc": 0.6 + strength / 10}}
            write_scored(tmp_path, strength, seed, options=option, history=history, metrics=metrics)
            write_scored(tmp_path, 0.5, seed, options={"optim.lr": 0.1}, history=[])
    (answer,) = next(task.answer for task in tasks(analyse(tmp_path), {}) if task.letter == "A")
    assert "resnet18 finetune random, augment=light, best of 3 arms on validation images" in answer


NO_VERDICT = re.compile(r"differs|better|above|below|equivalent|undecided|p [=<]")


def test_what_no_question_names_has_an_interval_and_no_verdict(tmp_path: Path) -> None:
    for model, gain in (("resnet18", 4.0), ("vgg16", 0.1)):
        for seed in range(5):
            run = write_scored(tmp_path, 0.5 + gain, seed, model=model)
            write_scored(tmp_path, 0.5, seed, model=model, mode="frozen")
            write_evaluation(run, "shift=low_dose", scores(0.1, seed))
    answers = {task.letter: task.answer for task in tasks(analyse(tmp_path), {})}
    interaction = answers["D"][-1]
    assert interaction.startswith("What fine-tuning gains over freezing, resnet18 against vgg16")
    kinds = ("Overfitting", "Shift low_dose")
    found = [interaction, *(text for text in answers["E"] if text.startswith(kinds))]
    assert len(found) == 3
    for text in found:
        assert "(95 % CI " in text
        assert not NO_VERDICT.search(text), text


def test_what_a_question_names_has_its_verdict(tmp_path: Path) -> None:
    asked = [
        "resnet18_finetune - resnet18_frozen - vgg16_finetune + vgg16_frozen",
        {"contrast": "resnet18_finetune", "on": "train - test"},
        "resnet18_finetune - resnet18_frozen",
    ]
    answers = {task.letter: task.answer for task in tasks(analyse(write_planned(tmp_path, {"q": asked})), {})}
    assert answers["D"][-1].endswith("; planned: undecided.")
    (gap,) = [text for text in answers["E"] if text.startswith("Overfitting")]
    assert gap.endswith("; planned: undecided.")
    planned, explored, _ = answers["D"]
    assert "resnet18 finetune random is better than resnet18 frozen random" in planned
    assert "Explored" not in planned
    assert explored.endswith(" Explored, not planned.")


def test_without_remedies_there_is_no_sentence_on_them(tmp_path: Path) -> None:
    (answer,) = [task.answer for task in tasks(analyse(write_study(tmp_path)), {}) if task.letter == "E"]
    assert not [sentence for sentence in answer if "Remedy" in sentence]
