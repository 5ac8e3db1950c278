"""Report of a sweep: page, tables and figures, made from its records and predictions.

`page.write_report` writes everything; `answer` writes the three sentences; `style` is the look of figures.

Imports: config, statistics, store, study.
Never imports: torch.
"""
