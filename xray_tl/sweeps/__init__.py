"""Execution of a sweep: compose its jobs, run them one by one or in parallel, and summarise them.

`sweep` handles the start and the end, `composition` composes the jobs, `jobs` runs or queues them,
`core_groups` divides the cores among them, `progress` counts them, `standings` says how they stand by the
sweep's folder alone, and `atlas` stores pictures of the test images for the report.

Imports: config, data, data.films, data.synthetic, report, runs, store, study, training.
"""
