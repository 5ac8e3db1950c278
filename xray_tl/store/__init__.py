"""What lies on disk: whole files, CSV tables, run records, run folders, and the cache.

`files` writes, `csv_table` reads tables from outside, `records` and `run_folder` know a run's folder,
`cache` keeps what can be made again; `temporary` stands in where the cache cannot be used, `allocator`
keeps large blocks of memory.

Imports: config.
Never imports: torch.
"""
