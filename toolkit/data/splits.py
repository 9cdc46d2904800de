"""Named splits: by patient group, stratified by class, seeded; and the check that none leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from toolkit.errors import StoreError

PARTS = {"train": 0.70, "val": 0.15, "test": 0.15}
N_FOLDS = 5


def split_by_patient(classes: Mapping[str, str], seed: int) -> dict[str, list[str]]:
    """Deal patient groups into train, val and test.

    Args:
        classes: class of each patient group; each part gets its share of each class.
        seed: decides who goes where.

    Returns:
        Part to sorted groups; every group is in exactly one part.
    """
    return dict(zip(PARTS, _deal(classes, list(PARTS.values()), seed), strict=True))


def split_folds(classes: Mapping[str, str], seed: int) -> list[list[str]]:
    """Deal patient groups into five folds of equal share of each class; fold k validates run k."""
    return _deal(classes, [1 / N_FOLDS] * N_FOLDS, seed)


def split_by_slice_leaking(
    slices: Sequence[tuple[str, int]], classes: Sequence[str], seed: int
) -> dict[str, list[tuple[str, int]]]:
    """Deal single slices, whoever they belong to: the same patient on both sides.

    Only to show what leaking does to a score.

    Args:
        slices: (case, slice index) of every slice.
        classes: class of each.
        seed: decides which goes where.
    """
    keys = {f"{position:09d}": name for position, name in enumerate(classes)}
    dealt = _deal(keys, list(PARTS.values()), seed)
    return {part: [slices[int(key)] for key in keys] for part, keys in zip(PARTS, dealt, strict=True)}


def check_no_leak(splits: Mapping[str, Sequence[str]], origin: str) -> None:
    """Refuse parts that share a patient group.

    Raises:
        StoreError: a group is in two parts; `origin` names the store and split.
    """
    seen: dict[str, str] = {}
    for part, groups in splits.items():
        for group in groups:
            if group in seen:
                raise StoreError(
                    f"{origin}: patient group {group} is in {seen[group]} and in {part}, so results would "
                    "be too good; prepare the store again with bts-prepare"
                )
            seen[group] = part


def _deal(classes: Mapping[str, str], shares: list[float], seed: int) -> list[list[str]]:
    """Deal one by one, class after class, each time to the part furthest below its share.

    This keeps the parts' sizes within one group of the shares, and the classes
    within a part within one and a half.
    """
    rng = np.random.default_rng([seed, len(shares)])
    parts: list[list[str]] = [[] for _ in shares]
    done = 0
    for name in sorted(set(classes.values())):
        groups = sorted(group for group, of in classes.items() if of == name)
        for group in rng.permutation(groups):
            done += 1
            shortfall = [share * done - len(part) for share, part in zip(shares, parts, strict=True)]
            parts[int(np.argmax(shortfall))].append(str(group))
    return [sorted(part) for part in parts]
