"""Options of commands that ask a model: how often, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from toolkit.inference.predictor import Settings

Flips = Annotated[bool, typer.Option("--tta", help="Ask about the mirrored scan, too, and take the mean.")]
DropoutSamples = Annotated[
    int,
    typer.Option("--mc-dropout", min=0, metavar="N", help="Ask N times more with dropout on; needs a .keras file."),
]
Tiles = Annotated[
    bool, typer.Option("--tiles", help="Look at slices larger than the model's grid in tiles of full resolution.")
]


def settings(post_processing: bool, flips: bool, dropout_samples: int, tiles: bool) -> Settings:
    """What these options say."""
    from toolkit.inference.predictor import Settings

    return Settings(post_processing, flips, dropout_samples, tiles)
