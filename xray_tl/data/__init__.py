"""Radiographs and their loaders."""
