"""Is a difference real? Pure functions on arrays and long tables: metrics, estimates, verdicts.

`readings` lays a study out, `mrmc` estimates, `verdict` judges, `comparison` does all of it for one table,
`bounds` and `floors` say what is possible at best and without learning. No folder of a run is read here.

Imports: store.
Never imports: torch.
"""
