"""What runs of file numbers are in the figshare set: the study behind docs/reference/figshare-runs.md.

    python benchmarks/figshare_runs.py FOLDER --patients 30 --seed 1 --out DIR

FOLDER holds the .mat files. Prints how alike neighbours are, how often runs were put in order
and broken, the weights of the plane's regression, and how it agrees with the labels made by eye.
DIR gets a contact sheet of all runs of each patient drawn, to be looked at. Takes about a minute.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import minimize

from toolkit.data.sources.figshare import patient_stem, read_slice, slice_files
from toolkit.data.sources.figshare_planes import SURE, WEIGHTS, name_plane, plane_features
from toolkit.data.sources.figshare_runs import JUMP, UNLIKE, correlation, sequences, thumbnail

BY_EYE = Path(__file__).parents[1] / "docs/results/figshare_runs_by_eye.csv"
PENALTY = 1e-4  # on the squares of the regression's standardised weights
FALSE_BREAKS = 0.005  # of the links at most, when thresholds are chosen


@dataclass(frozen=True)
class Run:
    """Consecutive file numbers of one patient, with a thumbnail each."""

    patient: str
    numbers: list[int]
    thumbnails: list[np.ndarray]

    def order(self) -> list[int]:
        """Indices of the slices in order, breaks aside."""
        return [index for part in sequences(self.thumbnails) for index in part]

    def links(self) -> list[tuple[float, int]]:
        """Likeness of neighbours in order, with the file number before the link."""
        return [(self.likeness(a, b), self.numbers[a]) for a, b in pairwise(self.order())]

    def likeness(self, one: int, other: int) -> float:
        """Correlation of two slices."""
        return correlation(self.thumbnails[one], self.thumbnails[other])


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = read_runs(arguments.folder)
    with BY_EYE.open(encoding="utf-8") as stream:
        labels = {int(row["first_file"]): row for row in csv.DictReader(stream)}
    drawn = draw_patients(runs, arguments.seed)
    print(f"{sum(len(run.numbers) for run in runs)} slices, {len(runs)} runs, {len(drawn)} patients")
    print_likeness(runs)
    print_order(runs)
    print_breaks(runs, labels, drawn, arguments.patients)
    print_weights([(run, labels[run.numbers[0]]["plane"]) for run in runs if labels[run.numbers[0]]["draw"] != "check"])
    for draw in ("first", "rest", "check"):
        print_planes(draw, [run for run in runs if labels[run.numbers[0]]["draw"] == draw], labels)
    write_sheets(runs, drawn[: arguments.patients], arguments.out)


def read_runs(folder: Path) -> list[Run]:
    """All runs; a patient is the PID without its letter, but a run is of one PID."""
    runs: list[Run] = []
    last = ("", 0)
    for path in slice_files(folder):
        item, number = read_slice(path), int(path.stem)
        if last != (item.patient, number - 1):
            runs.append(Run(patient_stem(item.patient), [], []))
        runs[-1].numbers.append(number)
        runs[-1].thumbnails.append(thumbnail(item.image))
        last = (item.patient, number)
    return runs


def draw_patients(runs: list[Run], seed: int) -> list[str]:
    """All patients in the order drawn: the first to be looked at, the next for the check."""
    patients = sorted({run.patient for run in runs})
    return [patients[index] for index in np.random.default_rng(seed).permutation(len(patients))]


def print_likeness(runs: list[Run]) -> None:
    """Quantiles of the correlation of thumbnails: neighbours by number, and others."""
    of_patient = defaultdict(list)
    for run in runs:
        of_patient[run.patient].append(run)
    rng = np.random.default_rng(0)
    strangers = [rng.choice(len(runs), 2, replace=False) for _ in range(3000)]
    ends = [pair for group in of_patient.values() for pair in pairwise(group)]
    others = [(runs[a], runs[b]) for a, b in strangers if runs[a].patient != runs[b].patient]
    in_order = [link for run in runs for link, _ in run.links()]
    groups = {
        "neighbours in order": in_order,
        "neighbours by number": [run.likeness(i, i + 1) for run in runs for i in range(len(run.numbers) - 1)],
        **{
            f"{gap} apart in order": [
                run.likeness(*pair) for run in runs for pair in zip(run.order(), run.order()[gap:], strict=False)
            ]
            for gap in (2, 3, 5)
        },
        "last and first of two runs of a patient": [correlation(a.thumbnails[-1], b.thumbnails[0]) for a, b in ends],
        "first of two patients": [correlation(a.thumbnails[0], b.thumbnails[0]) for a, b in others],
    }
    print("\nlikeness: quantiles 0.01 0.05 0.25 0.5 0.75 0.95 | AUC of neighbours in order against them")
    for name, group in groups.items():
        _print_quantiles(name, np.array(group), np.array(in_order))


def _print_quantiles(name: str, values: np.ndarray, neighbours: np.ndarray) -> None:
    quantiles = " ".join(f"{value:.2f}" for value in np.quantile(values, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95]))
    auc = np.mean(neighbours[:, None] > values[None]) + np.mean(neighbours[:, None] == values[None]) / 2
    print(f"{name:42} n={len(values):5} {quantiles} | {auc:.3f}")


def print_order(runs: list[Run]) -> None:
    """Runs long enough to show it that were put into another order."""
    long = [run for run in runs if len(run.numbers) > 10]
    moved = [run for run in long if run.order() != sorted(run.order())]
    print(f"\nof {len(long)} runs of more than ten slices, {len(moved)} were put into another order")
    for run in long:
        parts = [[run.numbers[i] - run.numbers[0] for i in part] for part in sequences(run.thumbnails)]
        print(f"  {run.patient} {run.numbers[0]}-{run.numbers[-1]}: {parts}")


def print_breaks(runs: list[Run], labels: dict[int, dict[str, str]], drawn: list[str], looked_at: int) -> None:
    """False breaks of runs and missed breaks between joined runs of two planes, for several thresholds."""
    chosen_on = set(drawn[2 * looked_at :][: (len(drawn) - 2 * looked_at) // 2])
    known = {int(number) for row in labels.values() for number in row["breaks_after"].split()}
    for name, inside in (("half", lambda p: p in chosen_on), ("others", lambda p: p not in chosen_on)):
        print(f"\nbreaks, {name}: UNLIKE JUMP | links broken by mistake | joints of two planes missed")
        group = [run for run in runs if inside(run.patient)]
        links = [link for run in group for link in _links(run) if link[2] not in known]
        joints = list(_joints(group, labels))
        for unlike in (0.6, 0.65, 0.7, 0.75, 0.8):
            for jump in (1.0, 1.5, 2.0):
                false = sum(_breaks(link, unlike, jump) for link in links)
                missed = sum(not _breaks(link, unlike, jump) for link in joints)
                mark = " <- used" if (unlike, jump) == (UNLIKE, JUMP) else ""
                fit = "ok" if false <= FALSE_BREAKS * len(links) else "  "
                print(f"  {unlike:.2f} {jump:.1f} | {false}/{len(links)} {fit} | {missed}/{len(joints)}{mark}")
    broken = [link[2] for run in runs for link in _links(run) if _breaks(link, UNLIKE, JUMP)]
    print(f"broken after: {broken}; by eye: {sorted(known)}")


def _links(run: Run) -> list[tuple[float, float | None, int]]:
    """Of each link in order: likeness, the least likeness of the links beside it, number before it."""
    links = run.links()
    values = [link for link, _ in links]
    sides = [[values[j] for j in (i - 1, i + 1) if 0 <= j < len(values)] for i in range(len(values))]
    return [(link, min(side, default=None), number) for (link, number), side in zip(links, sides, strict=True)]


def _joints(runs: list[Run], labels: dict[int, dict[str, str]]) -> Iterator[tuple[float, float | None, int]]:
    """What the link would be if two following runs of a patient, in two planes, had no gap between their numbers."""
    for one, other in pairwise(runs_by_patient(runs)):
        planes = {labels[run.numbers[0]]["plane"] for run in (one, other)}
        if one.patient == other.patient and len(planes) == 2 and len(one.numbers) + len(other.numbers) > 2:
            link = correlation(one.thumbnails[-1], other.thumbnails[0])
            beside = [*(x for x, _ in one.links()[-1:]), *(x for x, _ in other.links()[:1])]
            yield link, min(beside), one.numbers[-1]


def runs_by_patient(runs: list[Run]) -> list[Run]:
    """Runs of a patient side by side, by number."""
    return sorted(runs, key=lambda run: (run.patient, run.numbers[0]))


def _breaks(link: tuple[float, float | None, int], unlike: float, jump: float) -> bool:
    value, beside, _ = link
    return beside is not None and value < unlike and 1 - value > jump * (1 - beside)


def print_weights(labelled: list[tuple[Run, str]]) -> None:
    """Fit the regression on the runs not kept for the check, and print its weights."""
    planes = list(WEIGHTS)
    features = np.array([plane_features(run.thumbnails) for run, _ in labelled])
    truth = np.eye(3)[[planes.index(plane) for _, plane in labelled]]
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    inputs = np.c_[(features - mean) / deviation, np.ones(len(features))]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(5, 3)
        scores = inputs @ weights
        logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        slope = inputs.T @ (np.exp(logs) - truth) / len(truth)
        slope[:-1] += 2 * PENALTY * weights[:-1]
        return float(-(logs * truth).sum(axis=1).mean() + PENALTY * (weights[:-1] ** 2).sum()), slope.ravel()

    fitted = minimize(loss, np.zeros(15), jac=True).x.reshape(5, 3).T
    slopes = fitted[:, :4] / deviation
    biases = fitted[:, 4] - slopes @ mean
    table = np.c_[slopes, biases - biases.mean()]
    print(f"\nweights from {len(labelled)} runs (in use: {WEIGHTS})")
    for plane, row in zip(planes, table, strict=True):
        print(f'    "{plane}": ({", ".join(f"{value:.2f}" for value in row)}),')


def print_planes(draw: str, runs: list[Run], labels: dict[int, dict[str, str]]) -> None:
    """Confusion of names given and labels by eye, with 95 % intervals by drawing patients again."""
    pairs = [(run.patient, labels[run.numbers[0]]["plane"], name_plane(run.thumbnails)) for run in runs]
    print(
        f"\nplanes, {draw}: {len(pairs)} runs of {len({p for p, _, _ in pairs})} patients; rows by eye, sure at {SURE}"
    )
    counts = Counter((truth, given) for _, truth, given in pairs)
    names = [*WEIGHTS, "unknown"]
    print(" " * 10 + " ".join(f"{name:>8}" for name in names))
    for truth in WEIGHTS:
        print(f"{truth:10}" + " ".join(f"{counts[truth, given]:8}" for given in names))
    wrong = [run.numbers[0] for run, (_, t, g) in zip(runs, pairs, strict=True) if g not in (t, "unknown")]
    print("wrong:", wrong)
    shares: dict[str, Callable[[list[tuple[str, str, str]]], float]] = {
        "right of all": lambda rows: float(np.mean([t == g for _, t, g in rows])),
        "right of named": lambda rows: float(np.mean([t == g for _, t, g in rows if g != "unknown"])),
        "unknown": lambda rows: float(np.mean([g == "unknown" for *_, g in rows])),
    }
    for name, share in shares.items():
        low, high = bootstrap(pairs, share)
        print(f"{name}: {share(pairs):.3f} ({low:.3f} to {high:.3f})")


def bootstrap(
    pairs: list[tuple[str, str, str]], share: Callable[[list[tuple[str, str, str]]], float]
) -> tuple[float, float]:
    """95 % percentile interval of 2000 draws of patients with replacement."""
    of_patient = defaultdict(list)
    for pair in pairs:
        of_patient[pair[0]].append(pair)
    groups = list(of_patient.values())
    rng = np.random.default_rng(0)
    draws = [[groups[i] for i in rng.integers(0, len(groups), len(groups))] for _ in range(2000)]
    low, high = np.quantile([share([pair for group in draw for pair in group]) for draw in draws], [0.025, 0.975])
    return float(low), float(high)


def write_sheets(runs: list[Run], patients: list[str], out: Path) -> None:
    """One picture a patient: a row for each run, by file number."""
    out.mkdir(parents=True, exist_ok=True)
    for patient in patients:
        group = [run for run in runs if run.patient == patient]
        width = max(4, *(len(run.numbers) for run in group)) * 96
        rows = []
        for run in group:
            tiles = [cv2.resize((255 * small).astype(np.uint8), (96, 96)) for small in run.thumbnails]
            row = np.zeros((112, width), np.uint8)
            row[16:, : 96 * len(tiles)] = np.hstack(tiles)
            cv2.putText(row, f"{run.numbers[0]}-{run.numbers[-1]}", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 255)
            rows.append(row)
        cv2.imwrite(str(out / f"{patient}.png"), np.vstack(rows))


if __name__ == "__main__":
    main()
