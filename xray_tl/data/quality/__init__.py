"""What is wrong with a data set before it is trained on: leaks, copies, give-aways, films that look wrong.

`faults.audit` finds all of it; `measures` looks at every image once; `near_copies` compares thumbnails.

Imports: data.films, statistics, store.
"""
