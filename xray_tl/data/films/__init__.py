"""Radiographs in files (films): listing, decoding, checking and splitting.

`collection` opens a data set; `listing`, `folders`, `label_table` and `medmnist` list its images before any
is read; `decode`, `pictures` and `dicom` decode a file to an image; `decoded` stores decoded images; `names`
compares names; `partition` splits by patient.

Imports: config, store.
"""
