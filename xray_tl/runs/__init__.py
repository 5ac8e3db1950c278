"""What a run does, from its configuration to its record, and what can be done with it afterwards.

`run` claims a folder and records the outcome, `parts` builds, `steps` trains and tests; `finished` opens a
run again for `retest` and `score_films`. README.md beside this file draws the order.

Imports: config, data, data.quality, data.films, data.synthetic, models, observers, statistics, store,
study, training.
"""
