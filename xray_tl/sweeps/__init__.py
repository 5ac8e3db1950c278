"""Execution of a sweep: compose its jobs, run them one by one or in parallel, and summarise them.

`sweep` handles the start and the end, `composition` composes the jobs, `job` does one, `shared_work` finds
what they share, `side_by_side` does many on the `places` of one machine (`capacity` says how many), `climb`
adds seeds by rungs, `progress` counts runs, `standings` tells how each stands by its folder alone, and
`atlas` stores pictures of the test images for the report.

Imports: config, data, data.films, data.synthetic, report, runs, store, study, training.
"""
