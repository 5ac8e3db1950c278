"""Training of a network: task, loss, optimizer, schedule, BatchNorm, checkpoints, device.

The modules here do not handle a run's record or the layout of its folder; `runs` combines them.

Imports: config, data, data.synthetic, models, statistics, store.
"""
