"""Observers that know how images are made: what the best possible classifier would score."""
