"""From a sweep's records to figures and pages; no torch."""
