"""What predictions are worth: metrics and tables; no torch."""
