"""The runs of a sweep: composed, done one by one or side by side, counted, summarised.

`sweep` knows its start and its end, `jobs` does one run or queues it, `progress` counts, `atlas` keeps
pictures of the test images for the report.

Imports: config, data, data.films, data.synthetic, report, runs, store, study, training.
"""
