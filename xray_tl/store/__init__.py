"""Files on disk: atomic writing, CSV tables, run records, run folders, and the cache.

`files` writes files atomically, `csv_table` reads tables of other programs, `records` and `run_folder` read
and write a run's folder, `cache` keeps results that can be computed again, `temporary` replaces it where it
cannot be used, `allocator` makes glibc keep large blocks of memory.

Imports: config.
Never imports: torch.
"""
