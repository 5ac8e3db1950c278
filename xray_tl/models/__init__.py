"""Backbones, their weights, and which of their stages train.

`registry.build_backbone` builds one by name; `stages` is what every backbone has in common; `freeze` says
what trains, and proves what did not; `cut` and `fold` make the part that never changes fast.

Imports: config, store.
Never imports: pandas.
"""
