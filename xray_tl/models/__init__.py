"""Backbones, their weights, and which of their stages train.

`registry.build_backbone` builds a backbone by name; `stages` has the class of all backbones; `freeze` decides
which stages train and hashes the others; `cut` and `fold` make the frozen part faster.

Imports: config, store.
Never imports: pandas.
"""
