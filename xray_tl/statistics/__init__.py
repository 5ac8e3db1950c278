"""Statistics: metrics, estimates and verdicts, as pure functions on arrays and long tables of scores.

`readings` holds a study's scores, `mrmc` estimates differences, `verdict` decides whether they are real,
`families` judges those that were planned, question by question, `ladder` and `ladder_verdict` do so at
several looks, `comparison` does all of this for one table. `bounds` gives the best possible result, `floors`
the result without learned features. Run folders are not read here.

Imports: store.
Never imports: torch.
"""
