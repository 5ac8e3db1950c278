"""From a configuration to a trained, tested and recorded model."""
