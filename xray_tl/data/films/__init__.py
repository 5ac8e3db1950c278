"""Radiographs that are read: listed, decoded once, checked, split.

`collection` opens a data set; `listing`, `folders`, `label_table` and `medmnist` say which images it has,
before any is read; `decode`, `pictures` and `dicom` make an image of a file; `decoded` keeps them; `names`
says when two names are one; `partition` splits by patient.

Imports: config, store.
"""
