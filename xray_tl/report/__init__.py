"""From a sweep's records and predictions to its page, tables and figures.

`page.write_report` writes everything; `answer` makes the three sentences; `style` says how figures look.

Imports: config, statistics, store, study.
Never imports: torch.
"""
