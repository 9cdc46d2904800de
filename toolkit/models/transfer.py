"""Weights of a trained model taken over by a new one, also where it sees other modalities or marks other regions.

Weights are matched by the names of layer and weight, and by shape; batch statistics are weights, too. A layer
takes over all of them or none. Channels that belong to modalities are matched by the modality's name:

- Where a layer reads them, a modality that both models know keeps its kernels. Those of modalities that
  are gone are shared out evenly among the new ones, or among all where none is new. So a picture that is
  the same in all modalities gives the response it gave before, and a modality that only joins in starts
  without a say.
- Where a layer writes them, a new modality gets the mean of the source's.

The output layer is taken over only if the regions have the same names in the same order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Literal, NamedTuple

import keras
import numpy as np

from toolkit.errors import ModelError
from toolkit.layers.interpolated import Interpolated
from toolkit.models.model_file import load_model

# The layer with a filter for each region.
OUTPUT_LAYER = "logits"
NAMES_SHOWN = 6

# For each channel of a tensor the modality it belongs to, or None where it is a feature.
Channels = tuple[str | None, ...]


@dataclass(frozen=True)
class Transfer:
    """What a model has taken over.

    Args:
        source: the model file.
        loaded: weights as they were, by path (`encoder/stem_conv/kernel`).
        adapted: weights brought to other modalities.
        not_loaded: weights left at their start, each with the reason.
    """

    source: Path
    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    not_loaded: dict[str, str]

    def summary(self) -> str:
        """A few lines for the terminal: how many weights, and which layers were not simply loaded."""
        lines = [f"{self.source}: {len(self.loaded)} weights taken over"]
        if self.adapted:
            lines.append(f"  {len(self.adapted)} adapted to other modalities: {_layers(self.adapted)}")
        for reason in dict.fromkeys(self.not_loaded.values()):
            names = [name for name, given in self.not_loaded.items() if given == reason]
            lines.append(f"  {len(names)} left at their start ({reason}): {_layers(names)}")
        return "\n".join(lines)


def take_over(
    model: keras.Model,
    source: Path,
    modalities: Sequence[str],
    regions: Sequence[str],
    parts: Literal["all", "enhancer"] = "all",
) -> Transfer:
    """Give a new model the weights of a trained one, as far as they fit; how is said above.

    Args:
        model: from `build_segmenter` or `build_enhancer`; changed in place.
        source: run folder or `.keras` file.
        modalities: names of the model's modalities, in order.
        regions: names of the model's regions, in order.
        parts: everything, or the layers `enhancer*` only.

    Returns:
        What was loaded, adapted, and left as it was.

    Raises:
        ModelError: the source can't be read, or shares no weight with the model.
    """
    file = source / "best.keras" if source.is_dir() else source
    trained, info = load_model(file)
    same_regions = tuple(regions) == tuple(info.recipe.model.regions)
    givers = {weight.name: weight for weight in _weights(trained, info.modalities)}
    loaded: list[str] = []
    adapted: list[str] = []
    not_loaded: dict[str, str] = {}
    for layer, weights in groupby(_weights(model, tuple(modalities)), key=lambda weight: weight.layer):
        if parts == "enhancer" and not layer.startswith("enhancer"):
            continue
        takers = list(weights)
        values = "other regions" if layer == OUTPUT_LAYER and not same_regions else _values(takers, givers)
        if isinstance(values, str):
            not_loaded.update((taker.name, values) for taker in takers)
            continue
        for taker, value in zip(takers, values, strict=True):
            taker.variable.assign(value)
            (loaded if givers[taker.name].axes == taker.axes else adapted).append(taker.name)
    if not loaded and not adapted:
        what = "this enhancer" if parts == "enhancer" else "this model"
        raise ModelError(f"{file}: shares no weight with {what}; take another model, or the recipe it was made by")
    return Transfer(file, tuple(loaded), tuple(adapted), not_loaded)


class _Axis(NamedTuple):
    """An axis of a weight whose channels belong to modalities, where its layer reads them or writes them."""

    number: int
    channels: Channels
    reads: bool


class _Weight(NamedTuple):
    """A weight and its axes that belong to modalities, if there are such."""

    layer: str
    name: str
    variable: keras.Variable
    axes: tuple[_Axis, ...] = ()


def _weights(model: keras.Model, modalities: tuple[str, ...], parent: str = "") -> Iterator[_Weight]:
    """Weights of a model and of the models inside it."""
    read, written = ({}, {}) if parent else _modality_channels(model, modalities)
    automatic: Counter[str] = Counter()
    for layer in model.layers:
        name = parent + _stable_name(layer, automatic)
        if isinstance(layer, keras.Model):
            yield from _weights(layer, modalities, f"{name}/")
            continue
        for variable in layer.weights:
            path = f"{name}/{variable.path.rpartition(f'{layer.name}/')[2]}"
            yield _Weight(name, path, variable, _axes(variable, read.get(layer.name, ()), written.get(layer.name, ())))


def _axes(variable: keras.Variable, read: Channels, written: Channels) -> tuple[_Axis, ...]:
    """Axes of a layer's weight that are as long as what the layer reads, or writes, of the image."""
    shape, axes = variable.shape, []
    if read and len(shape) > 1 and shape[-2] == len(read) and "recurrent" not in variable.name:
        axes.append(_Axis(len(shape) - 2, read, reads=True))
    if written and shape[-1] == len(written):
        axes.append(_Axis(len(shape) - 1, written, reads=False))
    return tuple(axes)


def _stable_name(layer: keras.Layer, automatic: Counter[str]) -> str:
    """A layer's name; one that Keras made up (`normalization_3`) counts on in each process, so it is counted anew."""
    kind = type(layer).__name__.lower()
    if re.sub(r"_\d+$", "", layer.name).replace("_", "") != kind:
        return layer.name
    automatic[kind] += 1
    return f"{kind}_{automatic[kind]}"


def _modality_channels(
    model: keras.Model, modalities: tuple[str, ...]
) -> tuple[dict[str, Channels], dict[str, Channels]]:
    """Channels of the image in what layers with weights read, and in what they write.

    The image is followed through layers without weights: in groups (pixel blocks, moments), and
    behind the features it is joined to. A layer writes modalities if what it gives is added to or
    multiplied with the image.

    Returns:
        By layer name: channels read, channels written.
    """
    images: dict[int, Channels] = {id(model.inputs[0]): modalities}
    makers: dict[int, list[tuple[str, int]]] = {}
    read: dict[str, Channels] = {}
    written: dict[str, Channels] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        inputs, outputs = keras.tree.flatten(layer.input), keras.tree.flatten(layer.output)
        image = next((images[id(tensor)] for tensor in inputs if id(tensor) in images), None)
        made = [maker for tensor in inputs for maker in makers.get(id(tensor), [])]
        if layer.weights:
            makers.update((id(tensor), [(layer.name, tensor.shape[-1])]) for tensor in outputs)
            if image:
                read[layer.name] = image
        elif not image:
            makers.update((id(tensor), made) for tensor in outputs)
        elif isinstance(layer, keras.layers.Concatenate):
            parts = [images.get(id(tensor), (None,) * tensor.shape[-1]) for tensor in inputs]
            images[id(outputs[0])] = tuple(chain.from_iterable(parts))
        elif isinstance(layer, Interpolated):  # says something of slices, whatever their modalities
            images[id(outputs[0])] = (None,)
        else:
            images[id(outputs[0])] = _regrouped(image, outputs[0].shape[-1])
            written.update((maker, _regrouped(image, n_channels)) for maker, n_channels in made)
    return read, written


def _regrouped(image: Channels, n_channels: int) -> Channels:
    """The image's channels where a layer makes more or fewer groups of them; the modality always runs fastest."""
    if n_channels == len(image):
        return image
    group = tuple(dict.fromkeys(image))
    whole_groups = None not in group and n_channels % len(group) == 0
    return group * (n_channels // len(group)) if whole_groups else (None,) * n_channels


def _values(takers: list[_Weight], givers: dict[str, _Weight]) -> list[np.ndarray] | str:
    """Values for the weights of a layer, or the reason why it can't take them over.

    All or none: a bias or a norm means nothing behind a kernel it was not trained with.
    """
    values = []
    for taker in takers:
        giver = givers.get(taker.name)
        if giver is None:
            return "not in the source"
        if (fitted := _fitted(giver, taker)) is None:
            return "another shape"
        values.append(fitted)
    return values


def _fitted(giver: _Weight, taker: _Weight) -> np.ndarray | None:
    """Values of a weight for another model; None if they do not fit."""
    values = keras.ops.convert_to_numpy(giver.variable)
    if [axis[::2] for axis in giver.axes] != [axis[::2] for axis in taker.axes]:
        return None
    for source, target in zip(giver.axes, taker.axes, strict=True):
        if source.channels == target.channels:
            continue
        given, taken = _slots(source.channels), _slots(target.channels)
        if {place for _, place in given} != {place for _, place in taken}:
            return None
        shares = (_reading_shares if source.reads else _writing_shares)(_modalities(source), _modalities(target))
        mix = np.array([[shares[t, g] if here == there else 0.0 for g, there in given] for t, here in taken])
        values = np.moveaxis(np.tensordot(mix, values, (1, source.number)), 0, source.number)
    return values if values.shape == tuple(taker.variable.shape) else None


def _slots(channels: Channels) -> list[tuple[str | None, tuple[bool, int]]]:
    """Each channel's modality, and its place: whether it is a feature, and how many of its kind come before it."""
    before: Counter[str | None] = Counter()
    slots = []
    for modality in channels:
        slots.append((modality, (modality is None, before[modality])))
        before[modality] += 1
    return slots


def _modalities(axis: _Axis) -> list[str]:
    return [modality for modality in dict.fromkeys(axis.channels) if modality is not None]


def _reading_shares(given: list[str], taken: list[str]) -> dict[tuple[str | None, str | None], float]:
    """How much of a source's modality goes into one of the model's, by (model's, source's), where a layer reads."""
    heirs = [name for name in taken if name not in given] or taken
    shares: dict[tuple[str | None, str | None], float] = {(None, None): 1.0}
    for target in taken:
        for source in given:
            inherits = source not in taken and target in heirs
            shares[target, source] = 1.0 if source == target else inherits / len(heirs)
    return shares


def _writing_shares(given: list[str], taken: list[str]) -> dict[tuple[str | None, str | None], float]:
    """The same where a layer writes."""
    shares: dict[tuple[str | None, str | None], float] = {(None, None): 1.0}
    for target in taken:
        for source in given:
            shares[target, source] = float(source == target) if target in given else 1 / len(given)
    return shares


def _layers(names: Sequence[str]) -> str:
    """The layers of some weights, the first few by name; those of a model inside are named after it."""
    layers = list(dict.fromkeys(name.split("/")[0] for name in names))
    more = f" and {len(layers) - NAMES_SHOWN} more layers" if len(layers) > NAMES_SHOWN else ""
    return ", ".join(layers[:NAMES_SHOWN]) + more
