"""How a network trains: task, loss, optimizer, schedule, BatchNorm, checkpoints, device.

Nothing here knows of a run's folder or record; `runs` puts these parts together.

Imports: config, data, data.synthetic, models, statistics, store.
"""
