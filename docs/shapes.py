"""An extension of griffe: shapes such as [N, 1, S, S] in docstrings are text, not links."""

import re
from typing import Any

import griffe


class Shapes(griffe.Extension):
    """Escape brackets of shapes, which Markdown would read as a reference where two stand in a row."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401  (griffe's own)
        """Change a docstring once its object is read."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"\] \[", r"], \\[", obj.docstring.value)
