"""Transfer learning on radiographs, with a known ceiling and honest comparisons."""

__version__ = "0.1.0"
