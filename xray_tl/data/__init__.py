"""Radiographs by index, in splits that share no image: generated (`synthetic`) or read from files (`films`).

A run uses `datamodule`; `sources` opens a data set from its configuration; `contact_sheet` draws its images.

Imports: config, data.films, data.synthetic, store.
"""
