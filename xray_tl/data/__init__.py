"""Radiographs by index, in splits that share no image, whether generated (`synthetic`) or read (`films`).

`datamodule` is what a run uses; `sources` opens a data set from its configuration; `contact_sheet` shows
it.

Imports: config, data.films, data.synthetic, store.
"""
