"""The optimiser of a recipe: schedule, own learning rates of the model's parts, and freezing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras import ops

from toolkit.config import Recipe, TrainingRecipe


class Pace(NamedTuple):
    """How a variable is trained.

    Args:
        factor: of the learning rate.
        first_step: steps before it are not taken.
    """

    factor: float = 1.0
    first_step: int = 0


def build_optimizer(recipe: Recipe, model: keras.Model, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) or RMSprop, as the recipe's `training` says.

    The learning rate warms up and decays over the run's epochs; where `training.minutes` is
    set it is a plain number instead, which `toolkit.training.budget.Budget` moves.

    Parts wait by `training.freezing`: what is frozen keeps its weights to the bit, decay
    included, while the optimiser's moments already follow its gradients. Started at zero when
    the part thaws, long after Adam's bias correction has faded, they would make its first steps
    three times too large. Its gradients count in the clipped norm. Statistics of batch norms
    are no weights: also in a frozen encoder they go on following the data.

    Args:
        recipe: its `training` section is read.
        model: built; its layers `enhancer*` are the enhancer, its sub-model `encoder` the
            encoder, all else the decoder.
        steps_per_epoch: batches in an epoch.

    Returns:
        Keras' own optimiser where all parts are trained alike from the start.
    """
    training = recipe.training
    arguments: dict[str, Any] = {
        "learning_rate": training.learning_rate if training.minutes else _schedule(training, steps_per_epoch),
        "global_clipnorm": training.gradient_clip_norm,
    }
    if training.optimizer == "adamw":
        arguments["weight_decay"] = training.weight_decay
    else:
        arguments["momentum"] = training.momentum
    paces = variable_paces(training, model, steps_per_epoch)
    if all(pace == Pace() for pace in paces):
        plain = {"adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop}
        optimizer = plain[training.optimizer](**arguments)
    else:
        paced = {"adamw": PacedAdamW, "rmsprop": PacedRMSprop}
        optimizer = paced[training.optimizer](paces=paces, **arguments)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def variable_paces(training: TrainingRecipe, model: keras.Model, steps_per_epoch: int) -> list[Pace]:
    """Pace of each of the model's trainable variables, in their order."""
    rates, freezing = training.rates, training.freezing
    paces: dict[int, Pace] = {}
    for layer in model.layers:
        if layer.name == "encoder":
            for variable, height in _heights(layer):
                epochs = freezing.encoder_epochs + height * freezing.stage_epochs
                paces[id(variable)] = Pace(rates.encoder, round(epochs * steps_per_epoch))
            continue
        pace = Pace(rates.decoder)
        if layer.name.startswith("enhancer"):
            factor = rates.enhancer * (rates.gain if layer.name.startswith("enhancer_gain") else 1)
            pace = Pace(factor, round(freezing.enhancer_epochs * steps_per_epoch))
        paces.update((id(variable), pace) for variable in layer.trainable_variables)
    return [paces[id(variable)] for variable in model.trainable_variables]


def _heights(encoder: keras.Model) -> Iterator[tuple[keras.Variable, int]]:
    """Trainable variables of an encoder, with how many stages each lies above the deepest one.

    A layer's stage is the stride of its output, the product of the strides on the way to it;
    from shapes it could not be told, as squeeze-and-excitation pools to one pixel at any depth.
    What comes before the first stride belongs to the first stage.
    """
    stages: dict[int, int] = {}
    for layer in encoder.layers:
        stage = max((stages.get(id(tensor), 0) for tensor in keras.tree.flatten(layer.input)), default=0)
        stage += max(keras.tree.flatten(getattr(layer, "strides", 1))).bit_length() - 1
        stages.update((id(tensor), stage) for tensor in keras.tree.flatten(layer.output))
    deepest = max(stages.values())
    for layer in encoder.layers:
        stage = max(stages[id(tensor)] for tensor in keras.tree.flatten(layer.output))
        for variable in layer.trainable_variables:
            yield variable, deepest - max(stage, 1)


def _schedule(training: TrainingRecipe, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from a hundredth, then cosine decay (Loshchilov and Hutter 2017) over the whole run."""
    warmup = round(training.warmup_epochs * steps_per_epoch)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=training.learning_rate / 100 if warmup else training.learning_rate,
        decay_steps=max(1, training.epochs * steps_per_epoch - warmup),
        alpha=training.final_learning_rate,
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


class Paced(keras.optimizers.Optimizer):
    """Mixin: an optimiser that trains each variable at its own pace.

    Keras has one learning rate for all. The pace is no part of the optimiser's config: a run is
    resumed from its variables (`toolkit.training.state`), and models are saved without it.

    Args:
        paces: of each trainable variable of the model, in their order.
        **kwargs: of the optimiser.
    """

    def __init__(self, paces: list[Pace], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factors = [pace.factor for pace in paces]
        self._first_steps = [pace.first_step for pace in paces]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay a variable and move it, both at its own rate."""
        number = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self._factors[number]
        if first_step := self._first_steps[number]:
            rate = ops.where(self.iterations >= first_step, rate, ops.zeros_like(rate))
        if self.weight_decay is not None and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * (self.weight_decay * rate))
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        """Nothing: Keras decays all variables at one rate; `update_step` does each at its own."""


class PacedAdamW(Paced, keras.optimizers.AdamW):
    """AdamW with a pace for each variable."""


class PacedRMSprop(Paced, keras.optimizers.RMSprop):
    """RMSprop with a pace for each variable."""
