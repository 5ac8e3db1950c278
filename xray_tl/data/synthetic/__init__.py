"""Chest radiographs that are drawn: from an index to an image, its label and all that is known of it.

`radiograph` draws; `anatomy` and `organs` are the patient, `acquisition` the beam and the detector,
`findings` and `templates` what is looked for, `marker` a shortcut to plant; `source_task` is what source
weights are trained on; `rng` gives every image its own random numbers.

Imports: config.
"""
