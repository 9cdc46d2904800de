"""What a served model takes and gives, and whether that is what this toolkit exports."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.errors import ModelError

SERVE, DESCRIBE = "serving_default", "describe"
SLICES, VALUE_RANGE, SPACING, PROBABILITY = "slices", "value_range", "spacing_mm", "probability"
REQUESTS, INFORMATION = "requests", "information"

_NEEDED = {SERVE: ({SLICES, VALUE_RANGE}, {PROBABILITY}), DESCRIBE: ({REQUESTS}, {INFORMATION})}


@dataclass(frozen=True)
class Signature:
    """One function of a served model.

    Args:
        inputs: name to shape; -1 is any length, an empty shape an unknown one.
        outputs: names.
    """

    inputs: dict[str, tuple[int, ...]]
    outputs: frozenset[str]


def check_signatures(signatures: dict[str, Signature], url: str) -> None:
    """See that a served model can be asked for all that is needed.

    Raises:
        ModelError: it is no segmenter of this toolkit.
    """
    nothing = Signature({}, frozenset())
    for name, (inputs, outputs) in _NEEDED.items():
        there = signatures.get(name, nothing)
        missing = sorted((inputs - there.inputs.keys()) | (outputs - there.outputs))
        if missing:
            raise ModelError(
                f"{url}: serves no segmenter of this toolkit: its signature {name} has no {', '.join(missing)}; serve "
                "a SavedModel written by bts-export"
            )


def check_modalities(signatures: dict[str, Signature], modalities: tuple[str, ...], url: str) -> None:
    """See that the graph takes the modalities that the model says it was made for.

    Raises:
        ModelError: it takes another number of them.
    """
    shape = signatures[SERVE].inputs[SLICES]
    if shape[-1:] != (len(modalities),):
        raise ModelError(
            f"{url}: takes slices of shape {shape}, but says it is for {len(modalities)} modalities "
            f"({', '.join(modalities)}); serve a SavedModel as bts-export wrote it"
        )
