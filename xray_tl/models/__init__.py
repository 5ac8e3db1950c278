"""Backbones, their weights, and what of them trains."""
