"""A sweep's folder, read as a study: its runs as readers, its arms as treatments, its test images as cases.

`study_folder` opens one, `analysis` computes all that a report says of it, `run_table` and
`saved_predictions` read records and scores.

Imports: statistics, store.
Never imports: torch.
"""
