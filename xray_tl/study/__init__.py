"""A sweep's folder, read as a study: seeds are readers, arms are treatments, test images are cases.

`study_folder` loads a sweep, `analysis` computes everything that a report shows, `run_table` and
`saved_predictions` read records and scores.

Imports: statistics, store.
Never imports: torch.
"""
