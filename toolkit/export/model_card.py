"""The model card: what a model is, what it learned from, how good it is and where it ends, for people."""

from __future__ import annotations

from typing import Any

from toolkit.export.rendering import render
from toolkit.export.run_facts import RunFacts
from toolkit.models.model_file import DEFAULT_THRESHOLD, ModelInfo, PostProcessing

LEVELS = {"per_image_mean": "per picture", "pooled": "pooled", "per_patient_mean": "per patient"}
METRICS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "hd95": "HD95",
    "nsd": "NSD",
}
WITH_ENCODER = ("proposed", "deeplabv3plus")


def model_card(info: ModelInfo, facts: RunFacts) -> str:
    """The model card as Markdown. What is not known is said to be unknown, and no number is made up.

    Args:
        info: of the model.
        facts: what its run left behind.
    """
    recipe, metrics, manifest = info.recipe, facts.metrics or {}, facts.manifest or {}
    judged = metrics if metrics.get("per_image_mean") else None
    return render(
        "MODEL_CARD.md.j2",
        info=info,
        recipe=recipe,
        split=f"folds, fold {recipe.data.fold}" if recipe.data.split == "folds" else recipe.data.split,
        leaks=recipe.data.split == "by_slice_leaking",
        encoder=recipe.model.encoder if recipe.model.network in WITH_ENCODER else None,
        started_from=[str(path) for path in (recipe.model.start, *recipe.model.enhancer.sources) if path is not None],
        manifest=manifest,
        minutes=_minutes(manifest),
        metrics=judged,
        rows=_rows(judged) if judged else [],
        levels=list(LEVELS.values()),
        post_processing=_steps(info.post_processing),
        measured_otherwise=bool(judged and _settings(judged) != (info.threshold, info.post_processing.model_dump())),
        chosen_on_these=bool(judged and judged.get("part") == "val" and judged.get("trained_on_this_store")),
    )


def _steps(post_processing: PostProcessing) -> list[str]:
    """What is done to a mask, in words."""
    steps = ["holes within a slice are filled"] if post_processing.fill_holes else []
    if post_processing.smallest_component:
        share = post_processing.smallest_component
        steps.append(f"components go whose largest section covers less than {share:g} of the model's grid")
    return [*steps, "only the largest component is kept"] if post_processing.largest_only else steps


def _settings(metrics: Any) -> tuple[Any, Any]:
    """Threshold and post-processing that metrics were measured with; before there was any, none."""
    none = PostProcessing().model_dump()
    return metrics.get("threshold", DEFAULT_THRESHOLD), metrics.get("post_processing", none)


def _minutes(manifest: Any) -> float | None:
    seconds = manifest.get("seconds_training")
    return None if seconds is None else seconds / 60


def _rows(metrics: Any) -> list[list[str]]:
    """A row a metric: its name, and its value at each level, the first with its 95 % interval."""
    rows = []
    for metric, title in METRICS.items():
        unit = f" ({metrics['distance_unit']})" if metric == "hd95" and metrics.get("distance_unit") else ""
        values = [_number((metrics.get(level) or {}).get(metric)) for level in LEVELS]
        interval = (metrics.get("confidence_95") or {}).get(metric)
        if interval:
            values[0] += f" ({_number(interval[0])} to {_number(interval[1])})"
        rows.append([title + unit, *values])
    return rows


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
