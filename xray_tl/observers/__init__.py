"""The ideal observer: the scores of the best possible classifier on generated images.

`ideal` computes exact likelihood ratios; `ideal_scores` caches them; `difficulty` finds the d0 of a ceiling.

Imports: config, data.synthetic, statistics, store.
"""
