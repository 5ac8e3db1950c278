"""The ideal observer: what the best possible classifier would score on generated images.

`ideal` is exact; `ideal_scores` keeps what it computed; `difficulty` finds the task of a stated ceiling.

Imports: config, data.synthetic, statistics, store.
"""
