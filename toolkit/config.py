"""Recipes: what a run is made of, typed, with errors that name the key.

A recipe is a YAML file. Every key has a default except those of the data; an
unknown key is an error, so a typing mistake can't silently change a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from toolkit.errors import RecipeError, UsageError
from toolkit.recipe_files import find_shipped, override, read_mapping

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class Section(BaseModel):
    """A part of a recipe; unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class WindowRecipe(Section):
    """Slices of a window and the halo that gives context only (see `toolkit.data.windows`)."""

    slices: int = Field(4, ge=1, le=64, description="neighbouring slices the model sees at once")
    halo: int = Field(1, ge=0, description="slices at either side that give context only")
    shuffled: bool = Field(False, description="neighbours from anywhere in the case: shows what their order is worth")

    @model_validator(mode="after")
    def _some_slice_counts(self) -> WindowRecipe:
        if 2 * self.halo >= self.slices:
            raise ValueError(f"2 * halo must be below slices, got halo {self.halo} and slices {self.slices}")
        return self


class LayoutRecipe(Section):
    """Where a data set keeps its files: patterns of paths below its folder.

    `{patient}` and any other `{name}` in braces stand for a part of a folder or file name; each
    takes as much as it can, from left to right, and the same name always means the same text.
    Files that agree in all of them belong together; `{slice}` counts the slices of one case.
    """

    images: dict[str, str] = Field(min_length=1, description="pattern of each modality, in the model's order")
    mask: str | None = Field(None, description="pattern of the mask")
    labels: dict[str, Annotated[int, Field(ge=1, le=255)]] = Field(
        {"tumour": 1}, min_length=1, description="value of each label in the mask"
    )


class DataRecipe(Section):
    """Which slices train, which validate, and how they are put into batches."""

    store: Path | None = Field(None, description="folder written by bts-prepare; --data overrides it")
    layout: LayoutRecipe | None = Field(None, description="patterns of files for bts-prepare --recipe")
    allow_missing: bool = Field(False, description="cases may lack modalities; needs modality_dropout")
    split: Literal["by_patient", "folds", "by_slice_leaking"] = Field(
        "by_patient", description="the leaking one only shows what leaking does"
    )
    fold: int = Field(0, ge=0, le=4, description="validation fold where split is folds")
    training_patients: int = Field(
        0, ge=0, description="learn from so many patient groups of the training part, drawn by the seed; 0: all"
    )
    left_out_patients: tuple[Annotated[str, BeforeValidator(str)], ...] = Field(
        (),
        description="patient groups of the training part that are not learned from, such as those of a demonstration",
    )
    image_size: int = Field(128, ge=32, le=1024, multiple_of=32, description="height and width in pixels")
    spacing_mm: tuple[Positive, Positive, Positive] | None = Field(
        None, description="resample to slice, row, column distances; none: as stored"
    )
    window: WindowRecipe = WindowRecipe()
    batch_windows: int = Field(4, ge=1, description="windows in a batch")


class AugmentationRecipe(Section):
    """Ranges of the random changes; 0 (or false) switches one off."""

    probability: Fraction = Field(0.9, description="chance that a window is changed at all")
    rotation_degrees: float = Field(20.0, ge=0, le=180, description="largest angle, either way")
    flip: bool = Field(True, description="left-right")
    zoom: float = Field(0.15, ge=0, lt=1, description="scale is drawn from [1 - zoom, 1 + zoom]")
    shift: float = Field(0.08, ge=0, lt=1, description="fraction of the width")
    elastic_pixels: NonNegative = Field(3.0, description="largest displacement at 128 px, scaled with size")
    gamma: float = Field(0.3, ge=0, lt=1, description="exponent is drawn from [1 - gamma, 1 + gamma]")
    brightness: float = Field(0.15, ge=0, lt=1, description="factor is drawn from [1 - b, 1 + b]")
    noise: NonNegative = Field(0.03, description="largest standard deviation, of the range 0-1")
    bias_field: NonNegative = Field(0.2, description="largest relative amplitude")
    modality_dropout: float = Field(0.0, ge=0, lt=1, description="chance that a modality is blanked; one always stays")


Encoder = Literal[
    "efficientnet-b0",
    "efficientnet-b1",
    "efficientnet-b2",
    "efficientnet-b3",
    "efficientnet-b4",
    "efficientnet-b5",
    "efficientnet-b6",
    "efficientnet-b7",
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
    "efficientnetv2-b0",
    "efficientnetv2-b1",
    "efficientnetv2-b2",
    "efficientnetv2-b3",
    "efficientnetv2-s",
]


class EnhancerRecipe(Section):
    """The slice-sequence enhancer in front of the U-Net (see `toolkit.models.enhancer`)."""

    kind: Literal["convlstm", "lstm", "cnn", "none"] = Field(
        "convlstm",
        description="convlstm: over slices; lstm: over rows and columns of each slice; cnn: as large as convlstm, "
        "but each slice alone; none",
    )
    parts: Literal["both", "gain", "detail"] = Field(
        "both",
        description="gain: evens out bias fields and drift; detail: noise and the rest; both: one, then the other",
    )
    filters: int = Field(6, ge=1, le=128, description="of each direction")
    layers: int = Field(1, ge=1, le=3, description="recurrent layers, one behind the other")
    convolution_filters: int = Field(
        0, ge=0, le=128, description="of a convolution before the recurrent layers and one behind them; 0: none"
    )
    residual_blocks: int = Field(
        0, ge=0, le=8, description="of two convolutions each, behind the convolution before and the one behind; 0: none"
    )
    bidirectional: bool = Field(True, description="read the sequence both ways")
    resolution: Literal["full", "half"] = Field("half", description="half: wavelets of 2 x 2 pixels, nothing lost")
    weights: Path | tuple[Path, ...] | None = Field(
        None, description="run or model file whose enhancer is the start, or several, such as one for each part"
    )

    @model_validator(mode="after")
    def _blocks_have_filters(self) -> EnhancerRecipe:
        if self.residual_blocks and not self.convolution_filters:
            raise ValueError("residual_blocks are of convolution_filters, which are 0")
        return self

    @property
    def sources(self) -> tuple[Path, ...]:
        """What `weights` names, in order."""
        if self.weights is None:
            return ()
        return self.weights if isinstance(self.weights, tuple) else (self.weights,)


class ModelRecipe(Section):
    """Enhancer and the network behind it."""

    enhancer: EnhancerRecipe = EnhancerRecipe()
    network: Literal["proposed", "unet", "attention_unet", "res_attention_unet", "deeplabv3plus"] = Field(
        "proposed", description="proposed: attention U-Net with a pre-trained encoder; the plain U-Nets have none"
    )
    filters: int = Field(24, ge=1, le=128, description="of the first level of the plain U-Nets; doubled at each level")
    encoder: Encoder = Field("efficientnet-lite0", description="see bts-train --list-models; lite0 is fastest")
    encoder_weights: Literal["imagenet", "none"] = Field(
        "imagenet", description="those of lite0-2 come from packages, others are downloaded by Keras"
    )
    self_attention: bool = Field(False, description="self-attention between all places of the deepest level")
    start: Path | None = Field(None, description="run or model file whose weights are taken over, matched by name")
    decoder_filters: tuple[int, int, int, int, int] = Field(
        (128, 64, 48, 32, 16), description="filters from the deepest level up to full resolution"
    )
    attention: bool = Field(True, description="attention gate on each skip connection")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of channels dropped after each decoder level")
    regions: dict[str, tuple[Annotated[int, Field(ge=1, le=255)], ...]] = Field(
        {"tumour": ()}, min_length=1, description="labels that make up each region; none: any label above 0"
    )
    exclusive: bool = Field(False, description="softmax: a pixel is in one region at most; else regions may overlap")

    @model_validator(mode="after")
    def _paintable(self) -> ModelRecipe:
        labels = [label for region in self.regions.values() for label in region]
        if self.exclusive and (len(labels) != len(set(labels)) or not all(self.regions.values())):
            raise ValueError("exclusive regions need labels of their own each")
        _ = self.painted_labels
        return self

    @property
    def painted_labels(self) -> tuple[int, ...]:
        """The label each region leaves in a mask, when regions are painted one over the other in their order.

        It is the first label of the region that no later region has: of whole tumour (1, 2, 3),
        tumour core (1, 3) and enhancing tumour (3) that is 2, 1 and 3.
        """
        regions = list(self.regions.items())
        painted = []
        for position, (name, labels) in enumerate(regions):
            later = {label for _, others in regions[position + 1 :] for label in others}
            own = [label for label in labels or (1,) if label not in later]
            if not own:
                raise ValueError(f"region {name} has no label that later regions leave to it; put it behind them")
            painted.append(own[0])
        if len(set(painted)) < len(painted):
            raise ValueError("two regions have the same labels")
        return tuple(painted)


class LossRecipe(Section):
    """Weighted sum of Dice and focal loss."""

    dice: NonNegative = Field(1.0, description="weight of the Dice loss")
    focal: NonNegative = Field(1.0, description="weight of the focal loss")
    focal_gamma: NonNegative = Field(2.0, description="how much less easy pixels count")
    focal_alpha: Fraction = Field(0.75, description="weight of tumour pixels; 1 - alpha of the rest")
    class_weights: tuple[Positive, ...] | None = Field(None, description="one for each region")
    correction: NonNegative = Field(
        0.0, description="weight of the enhancer's mean absolute correction: keeps the enhanced image an image"
    )

    @model_validator(mode="after")
    def _some_loss(self) -> LossRecipe:
        if self.dice + self.focal == 0:
            raise ValueError("dice and focal can't both be 0")
        return self


class DegradationRecipe(Section):
    """What is done to clean slices when an enhancer is pre-trained; intensities are of the range 0-1."""

    probability: Fraction = Field(0.6, description="chance of each kind but noise, drawn for each on its own")
    noise: NonNegative = Field(0.15, description="largest sigma of Rician noise; one window in four has none")
    bias_field: float = Field(0.3, ge=0, lt=1, description="largest relative amplitude of a smooth field")
    drift: float = Field(0.3, ge=0, lt=1, description="largest relative change of a slice's intensity")
    ghosting: float = Field(0.15, ge=0, lt=1, description="largest amplitude of shifted copies, as motion leaves them")
    blur: bool = Field(True, description="half the resolution in plane, then interpolated (super-resolution x2)")
    dropped: bool = Field(True, description="inner slices missing, filled by linear interpolation of their neighbours")


class PretrainingRecipe(Section):
    """Learning to undo damage: used where `task` is `enhance`."""

    degradation: DegradationRecipe = DegradationRecipe()
    crop: int = Field(0, ge=0, multiple_of=16, description="side in pixels of squares to learn from; 0: whole slices")
    l1: NonNegative = Field(1.0, description="weight of the mean absolute error")
    ssim: NonNegative = Field(0.2, description="weight of 1 - SSIM")
    logarithm: bool = Field(
        False, description="learn from the logarithm of both: a tenth off counts alike in slight and heavy damage"
    )

    @model_validator(mode="after")
    def _some_loss(self) -> PretrainingRecipe:
        if self.l1 + self.ssim == 0:
            raise ValueError("l1 and ssim can't both be 0")
        return self


class RatesRecipe(Section):
    """Learning rate of each part, as a factor of `learning_rate`."""

    enhancer: NonNegative = Field(1.0, description="0: never trained")
    gain: NonNegative = Field(1.0, description="of the enhancer's gain, times that of the enhancer")
    encoder: NonNegative = Field(1.0, description="0: never trained")
    decoder: NonNegative = Field(1.0, description="and what else is neither enhancer nor encoder")


class FreezingRecipe(Section):
    """Parts that wait before they are trained, so that new layers do not spoil what was pre-trained."""

    enhancer_epochs: NonNegative = Field(0.0, description="epochs before the enhancer is trained")
    encoder_epochs: NonNegative = Field(0.0, description="epochs before the encoder's deepest stage is trained")
    stage_epochs: NonNegative = Field(0.0, description="epochs between one stage and the next; 0: all at once")


class TrainingRecipe(Section):
    """Optimiser, schedule and stopping."""

    epochs: int = Field(30, ge=1, description="passes over the training windows; not read where minutes is set")
    minutes: NonNegative = Field(
        0.0, description="train so long; without a GPU these are CPU time over cores; 0: by epochs"
    )
    optimizer: Literal["adamw", "rmsprop"] = Field("adamw", description="rmsprop is the paper's for the LSTM")
    learning_rate: float = Field(1e-3, gt=0, description="after the warm-up")
    warmup_epochs: NonNegative = Field(1.0, description="linear rise of the learning rate; cosine decay follows")
    final_learning_rate: Fraction = Field(0.01, description="fraction of learning_rate at the end of the cosine")
    weight_decay: NonNegative = Field(1e-4, description="of AdamW; not on biases and norms")
    momentum: float = Field(0.0, ge=0, lt=1, description="of RMSprop; steps grow 1 / (1 - momentum) times as long")
    rates: RatesRecipe = RatesRecipe()
    freezing: FreezingRecipe = FreezingRecipe()
    gradient_clip_norm: float = Field(1.0, gt=0, description="largest global norm of a step's gradient")
    early_stopping_epochs: int = Field(0, ge=0, description="stop after so many epochs without gain; 0: never")
    mixed_precision: Literal[False, "float16", "bfloat16"] = Field(
        False,
        description="compute in float16, which pays on GPUs, or in bfloat16, which pays also on CPUs that multiply it "
        "(`avx512_bf16` or `amx_bf16` in /proc/cpuinfo); false: float32",
    )


class Recipe(Section):
    """A whole run."""

    name: str = Field("run", pattern=NAME_PATTERN, description="default folder of the run: runs/NAME")
    seed: int = Field(1, ge=0, lt=2**31, description="of initial weights, order, augmentation and dropout")
    task: Literal["segment", "enhance"] = Field("segment", description="enhance: pre-train the enhancer alone")
    data: DataRecipe = DataRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    model: ModelRecipe = ModelRecipe()
    loss: LossRecipe = LossRecipe()
    pretraining: PretrainingRecipe = PretrainingRecipe()
    training: TrainingRecipe = TrainingRecipe()

    @model_validator(mode="after")
    def _one_weight_a_class(self) -> Recipe:
        weights = self.loss.class_weights
        if weights is not None and len(weights) != len(self.model.regions):
            raise ValueError(f"loss.class_weights needs {len(self.model.regions)} values, got {len(weights)}")
        return self

    @model_validator(mode="after")
    def _missing_modalities_are_learned(self) -> Recipe:
        if self.data.allow_missing and not self.augmentation.modality_dropout:
            raise ValueError("data.allow_missing needs augmentation.modality_dropout above 0, or nothing teaches it")
        return self

    @model_validator(mode="after")
    def _an_enhancer_to_train(self) -> Recipe:
        if self.task == "enhance" and self.model.enhancer.kind == "none":
            raise ValueError("task enhance needs a model.enhancer.kind other than none")
        return self

    @model_validator(mode="after")
    def _squares_inside_slices(self) -> Recipe:
        if self.pretraining.crop > self.data.image_size:
            raise ValueError(f"pretraining.crop is larger than data.image_size ({self.data.image_size})")
        return self

    def to_yaml(self) -> str:
        """The resolved recipe, every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_recipe(name: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe, apply `key=value` overrides, and check it.

    Args:
        name: YAML file, or the name of a recipe that ships.
        overrides: such as `["training.epochs=3", "model.attention=false"]`.

    Raises:
        RecipeError: not readable, unknown key, or a value that is not allowed.
    """
    path = find_shipped(name, "recipe")
    values = read_mapping(path, "recipe")
    for text in overrides or []:
        override(values, text, example="training.epochs=3")
    return check_recipe(values, str(path))


def layout_from_patterns(patterns: list[str]) -> LayoutRecipe:
    """Layout from `NAME=PATTERN` texts; NAME is a modality or `mask`.

    Raises:
        UsageError: a text has another form, or no modality is named.
    """
    pairs = [pattern.partition("=") for pattern in patterns]
    if any(not name or not rest for name, _, rest in pairs):
        raise UsageError("--pattern: write it as NAME=PATTERN, e.g. t1c='{patient}_T1.nii.gz'")
    images = {name: rest for name, _, rest in pairs}
    if len(images) < len(pairs):
        raise UsageError("--pattern: names a modality or the mask twice")
    mask = images.pop("mask", None)
    if not images:
        raise UsageError("--pattern: name at least one modality, e.g. t1c='{patient}_T1.nii.gz'")
    return LayoutRecipe(images=images, mask=mask)


def check_recipe(values: dict[str, Any], origin: str) -> Recipe:
    """Recipe from plain values; `origin` names them in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{origin}: " + "; ".join(_explain(e) for e in error.errors())) from error


def check_name(name: str) -> None:
    """Refuse a `--name` that could not be a file's, or part of a URL.

    Raises:
        UsageError: it has other characters than a recipe's name may have.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"--name {name}: take letters, digits, '-', '_' and '.', a letter or digit first")


def differences(before: Recipe, now: Recipe) -> dict[str, tuple[Any, Any]]:
    """Keys in which two recipes differ, dotted, with both values."""
    old, new = (flat_values(recipe.model_dump(mode="json")) for recipe in (before, now))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def flat_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested sections under dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flat_values(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "recipe"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed here: {', '.join(_allowed_keys(error['loc'][:-1]))}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {error['input']!r})" if error["type"] != "value_error" else f"{key}: {message}"


def _allowed_keys(sections: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Recipe
    for section in sections:
        annotation = model.model_fields[str(section)].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return list(model.model_fields)
