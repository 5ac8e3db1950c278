"""Synthetic chest radiographs: from an index to an image, its label and everything that is known about it.

`radiograph` renders images; `anatomy` and `organs` model the patient, `acquisition` the beam and the
detector, `findings` and `templates` the finding, `marker` a planted shortcut. `source_task` is the task of
pretraining; `rng` gives every image its own random numbers.

Imports: config.
"""
