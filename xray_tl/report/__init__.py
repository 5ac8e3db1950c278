"""Report of a sweep: page, tables and figures, made from its records and predictions.

`page.write_report` writes everything; `answer` writes the three sentences, `tasks` the
answers to the course report's questions (`gap_answer` that of task E); `style` is the look of figures.

Imports: config, statistics, store, study.
Never imports: torch.
"""
