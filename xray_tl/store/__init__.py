"""Files on disk: atomic writing, locks, CSV tables, records, folders of runs and sweeps, and the cache.

`files` writes files atomically, `locks` locks folders and files, `mounts` knows which disks are shared,
`csv_table` reads tables of other programs, `records` and `run_folder` read and write a run's folder,
`sweep_file` that of a sweep, `cache` keeps results that can be computed again in files of `array_file`,
`temporary` replaces it where it cannot be used, `allocator` makes glibc keep large blocks of memory.

Imports: config.
Never imports: torch.
"""
