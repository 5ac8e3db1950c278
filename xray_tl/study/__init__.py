"""A sweep's folder, read as a study: seeds are readers, arms are treatments, test images are cases.

`study_folder` loads a sweep, `analysis` computes everything that a report shows, `questions` tells what was
planned before the runs, `run_table` and `saved_predictions` read records and scores, `depths` finds the arms
that differ in `model.depth` alone, `draws` which runs are one reader, `scope` what a verdict holds for,
`variance` where variance lies, `planned_file` reads questions on a table of scores, `climbed` judges seeds
that come in rungs, and `rung_decision` tells which arms go on to the next one.

Imports: config, statistics, store.
Never imports: torch.
"""
