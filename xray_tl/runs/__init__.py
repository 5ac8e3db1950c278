"""Execution of one run, from its configuration to its record, and later use of the finished run.

`run` claims a folder and records the outcome, `parts` builds, `steps` trains and tests; `finished` opens a
run again for `retest` and `score_films`. README.md beside this file shows the order of the steps.

Imports: config, data, data.quality, data.films, data.synthetic, models, observers, statistics, store,
study, training.
"""
