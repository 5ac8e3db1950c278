"""Questions that were declared for a table of scores: families of contrasts of its treatments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yaml import YAMLError, safe_load

from xray_tl.config.planned import parse_families
from xray_tl.errors import InputError
from xray_tl.statistics.families import Contrast


def planned_contrasts(given: object, treatments: Sequence[str]) -> dict[str, list[Contrast]]:
    """Return families of contrasts of treatments.

    Args:
        given: Question -> list of contrasts, such as `arm - other`; or the path of a YAML file that holds
            them; `None`: none.
        treatments: Names of the treatments.

    Raises:
        InputError: The file cannot be read, or they are no such families of these treatments.
    """
    families = parse_families(_read(given) if isinstance(given, str) else given or {}, lambda name: name)
    found: dict[str, list[Contrast]] = {}
    for question, asked in families.items():
        for contrast in asked:
            where = f'planned: {question}: "{contrast.text}"'
            unknown = [name for name, _ in contrast.weights if name not in treatments]
            if unknown:
                raise InputError(
                    f"{where} names no treatment: {unknown[0]} is not one of {', '.join(treatments)}"
                )
            if not contrast.is_main:
                raise InputError(
                    f"{where}: a table has one metric and one set of cases, which metric= chooses"
                )
            weights = {name: float(factor) for name, factor in contrast.weights}
            found.setdefault(question, []).append(
                Contrast(contrast.text, weights, of_best=tuple(weights) if contrast.of_best else ())
            )
    return found


def _read(path: str) -> object:
    try:
        return safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"planned={path} is not a file of questions") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"planned={path} is no YAML: {' '.join(str(error).split())}") from error
