"""The five questions, answered from a study."""

from pathlib import Path

from tests.evaluation.sweeps import write_scored, write_study
from xray_tl.evaluation.analysis import analyse
from xray_tl.report.tasks import tasks


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


def test_without_remedies_there_is_no_sentence_on_them(tmp_path: Path) -> None:
    (answer,) = [task.answer for task in tasks(analyse(write_study(tmp_path)), {}) if task.letter == "E"]
    assert not [sentence for sentence in answer if "Remedy" in sentence]
