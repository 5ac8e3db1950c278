"""Quality of a data set before training: leaks, copies, acquisition shortcuts, images that look wrong.

`faults.audit` returns all findings; `measures` reads every image once; `near_copies` compares thumbnails.

Imports: data.films, statistics, store.
"""
