"""What TensorBoard, the tables and the reports draw with: overlays, panels, sheets, curves.

Pure functions on NumPy arrays; pictures are RGB uint8. The two colours are from
the palette of Okabe and Ito ("Color Universal Design", 2008), which people with
any kind of colour blindness can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from toolkit.errors import OutputError
from toolkit.files import atomic_path

PREDICTION_COLOUR = (230, 159, 0)
TRUTH_COLOUR = (86, 180, 233)
BACKGROUND = 24
INK = 235
FILL_OPACITY = 0.35
HEAT_OPACITY = 0.7
PANEL_HEIGHT = 256
SYNTHETIC_LABEL = "SYNTHETIC"

_TITLE_HEIGHT = 26
_GAP = 4
_FONT = cv2.FONT_HERSHEY_DUPLEX
_CONTOUR_ZOOM = 4
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_QUALITY = {".jpg": (cv2.IMWRITE_JPEG_QUALITY, 85), ".webp": (cv2.IMWRITE_WEBP_QUALITY, 60)}


def to_grey(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low` to black and `high` to white, and clip.

    Args:
        image: `(height, width)`, any real type; NaN is shown black.
        low: value shown as 0.
        high: value shown as 255. Where it is not above `low`, `low + 1` is used.

    Returns:
        `(height, width)` uint8.
    """
    high = high if high > low else low + 1.0
    unit = (np.asarray(image, np.float32) - np.float32(low)) / np.float32(high - low)
    return np.rint(np.clip(np.nan_to_num(unit), 0.0, 1.0) * 255.0).astype(np.uint8)


def overlay(
    grey: np.ndarray,
    prediction: np.ndarray | None,
    truth: np.ndarray | None = None,
    height: int | None = None,
    synthetic: bool = False,
) -> np.ndarray:
    """A slice with the prediction as translucent fill and outline, the truth as outline.

    Outlines are drawn after resizing, on the innermost pixels of the mask, so
    they stay crisp whatever the size. Where both outlines meet, truth is on top.

    Args:
        grey: `(height, width)` uint8.
        prediction: `(height, width)` labels (above 0 is tumour) or, if of float
            type, probabilities (0.5 and above is tumour); None draws none.
        truth: the same for the truth.
        height: height of the picture in pixels; that of `grey` if None.
        synthetic: write "SYNTHETIC" onto the picture.

    Returns:
        `(height, width, 3)` uint8.
    """
    size = _size_at(grey, height)
    rgb = _as_rgb(_resize_picture(grey, size))
    if prediction is not None:
        inside = _resize_mask(tumour(prediction), size)
        shades = (1 - FILL_OPACITY) * np.arange(256)[:, np.newaxis] + FILL_OPACITY * np.array(PREDICTION_COLOUR)
        shaded = cv2.LUT(rgb, np.rint(shades)[np.newaxis].astype(np.uint8))
        rgb = cv2.copyTo(shaded, inside.astype(np.uint8), rgb)
        rgb[_outline(inside)] = PREDICTION_COLOUR
    if truth is not None:
        rgb[_outline(_resize_mask(tumour(truth), size))] = TRUTH_COLOUR
    return label_synthetic(rgb) if synthetic else rgb


def tumour(mask_or_probability: np.ndarray) -> np.ndarray:
    """Where the tumour is: labels above 0, or probabilities (float type) of 0.5 and above.

    Args:
        mask_or_probability: any shape.

    Returns:
        Same shape, bool.
    """
    values = np.asarray(mask_or_probability)
    return values >= 0.5 if np.issubdtype(values.dtype, np.floating) else values > 0


def heat(values: np.ndarray) -> np.ndarray:
    """A map of attention or probability in colours that rise evenly in brightness (inferno).

    Args:
        values: `(height, width)` in [0, 1]; clipped, NaN is shown as 0.

    Returns:
        `(height, width, 3)` uint8.
    """
    return cv2.cvtColor(cv2.applyColorMap(to_grey(values, 0.0, 1.0), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def map_overlay(
    grey: np.ndarray,
    values: np.ndarray,
    prediction: np.ndarray | None = None,
    height: int | None = None,
    synthetic: bool = False,
) -> np.ndarray:
    """A slice under the heat of a map, the more opaque the higher its value, with the prediction as outline.

    The outline is white with a black one around it: heat passes through the prediction's own colour.

    Args:
        grey: `(height, width)` uint8.
        values: `(height, width)` in [0, 1].
        prediction: as for `overlay`; None draws none.
        height: height of the picture in pixels; that of `grey` if None.
        synthetic: write "SYNTHETIC" onto the picture.

    Returns:
        `(height, width, 3)` uint8.
    """
    size = _size_at(grey, height)
    unit = np.clip(_resize_picture(np.asarray(values, np.float32), size), 0.0, 1.0)
    opacity = HEAT_OPACITY * unit[..., None]
    rgb = np.rint((1 - opacity) * _as_rgb(_resize_picture(grey, size)) + opacity * heat(unit)).astype(np.uint8)
    if prediction is not None:
        inside = _resize_mask(tumour(prediction), size)
        rgb[~inside & (cv2.dilate(inside.astype(np.uint8), _CROSS) > 0)] = 0
        rgb[_outline(inside)] = 255
    return label_synthetic(rgb) if synthetic else rgb


def panel(columns: Sequence[tuple[str, np.ndarray]], height: int = PANEL_HEIGHT, synthetic: bool = False) -> np.ndarray:
    """Pictures side by side, each under its title.

    Args:
        columns: title and `(height, width)` or `(height, width, 3)` uint8 picture.
        height: height in pixels to which every picture is brought.
        synthetic: write "SYNTHETIC" onto each picture.

    Returns:
        `(height + title bar, sum of widths and gaps, 3)` uint8.
    """
    parts: list[np.ndarray] = []
    for title, image in columns:
        picture = _as_rgb(_resize_picture(image, _size_at(image, height)))
        if synthetic:
            picture = label_synthetic(picture)
        if parts:
            parts.append(_canvas(height + _TITLE_HEIGHT, _GAP))
        parts.append(np.concatenate([_title_bar(title, picture.shape[1]), picture]))
    return np.concatenate(parts, axis=1)


def stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures below each other, flush left, on a dark ground as wide as the widest.

    Args:
        rows: `(height, width, 3)` uint8 each.

    Returns:
        `(sum of heights and gaps, greatest width, 3)` uint8.
    """
    width = max(row.shape[1] for row in rows)
    parts: list[np.ndarray] = []
    for row in rows:
        if parts:
            parts.append(_canvas(_GAP, width))
        parts.append(np.concatenate([row, _canvas(len(row), width - row.shape[1])], axis=1))
    return np.concatenate(parts)


def contact_sheet(
    tiles: Sequence[tuple[str, np.ndarray]],
    n_columns: int = 4,
    height: int = PANEL_HEIGHT,
    synthetic: bool = False,
) -> np.ndarray:
    """Several slices of a case (or several cases) in rows of `n_columns`.

    Args:
        tiles: title and picture, as `panel` takes them.
        n_columns: pictures in a row.
        height: height in pixels of each picture.
        synthetic: write "SYNTHETIC" onto each picture.

    Returns:
        `(height, width, 3)` uint8.
    """
    rows = [tiles[start : start + n_columns] for start in range(0, len(tiles), n_columns)]
    return stack([panel(row, height, synthetic) for row in rows])


def label_synthetic(rgb: np.ndarray) -> np.ndarray:
    """A copy of the picture with "SYNTHETIC" in the lower left corner.

    Args:
        rgb: `(height, width)` or `(height, width, 3)` uint8.
    """
    rgb = np.array(rgb, order="C")  # OpenCV draws on no other memory layout.
    height, width = rgb.shape[:2]
    (full_width, full_height), _ = cv2.getTextSize(SYNTHETIC_LABEL, _FONT, 1.0, 1)
    scale = min(0.4 * width / full_width, 0.06 * height / full_height)
    (text_width, text_height), _ = cv2.getTextSize(SYNTHETIC_LABEL, _FONT, scale, 1)
    margin = max(1, round(text_height / 2))
    cv2.rectangle(rgb, (0, height - text_height - 2 * margin), (text_width + 2 * margin, height), (0,) * 3, cv2.FILLED)
    cv2.putText(rgb, SYNTHETIC_LABEL, (margin, height - margin), _FONT, scale, (255,) * 3, 1, cv2.LINE_AA)
    return rgb


class OutlinePath(NamedTuple):
    """An outline as SVG.

    Args:
        data: path data such as `M3 4L7 4L7 9Z`; empty for an empty mask.
        left_out: pieces that are not in it.
    """

    data: str
    left_out: int


def outline_path(mask: np.ndarray, most: int) -> OutlinePath:
    """The outline of a mask as SVG path data, for pictures that can be zoomed.

    One unit is one pixel; pixel (row, column) covers [column, column + 1] by
    [row, row + 1]. Holes come out right with `fill-rule: evenodd`. The line
    runs at most half a pixel from the pixels' edges.

    Args:
        mask: `(height, width)`, labels or probabilities as in `tumour`.
        most: corners that are drawn, of the largest pieces first; a mask of noise has many thousands.
    """
    inside = tumour(mask)
    rows, columns = np.nonzero(inside)
    if not rows.size:
        return OutlinePath("", 0)
    top, left = rows.min(), columns.min()
    crop = np.pad(inside[top : rows.max() + 1, left : columns.max() + 1], 1).astype(np.float32)
    zoom = _CONTOUR_ZOOM
    fine = cv2.resize(crop, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR) >= 0.5
    contours, hierarchy = cv2.findContours(fine.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [cv2.approxPolyDP(contour, 1.0, True)[:, 0] for contour in contours]
    # A piece stays with its holes or not at all: filled without them, it would cover what is not marked.
    pieces: dict[int, list[np.ndarray]] = {}
    for number, (ring, parent) in enumerate(zip(rings, hierarchy[0, :, 3], strict=True)):
        pieces.setdefault(number if parent < 0 else int(parent), []).append(ring)
    path, left_out = "", 0
    for number in sorted(pieces, key=lambda number: cv2.contourArea(rings[number]), reverse=True):
        corners = sum(map(len, pieces[number]))
        if corners > most:
            left_out += 1
            continue
        most -= corners
        for ring in pieces[number]:
            path += "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in (ring + 0.5) / zoom - 1 + (left, top)) + "Z"
    return OutlinePath(path, left_out)


def training_curve(history: Sequence[Mapping[str, object]]) -> np.ndarray:
    """The course of a training: losses on the left, Dice on the right.

    Args:
        history: a row an epoch, as in history.csv. Drawn are the columns whose
            name ends in `loss` or holds `dice`; `val_…` is drawn bold.
            Cells that are not numbers are left out.

    Returns:
        `(height, width, 3)` uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    loss_axes, dice_axes = figure.subplots(1, 2)
    names = list(dict.fromkeys(name for row in history for name in row))
    losses = [name for name in names if name.endswith("loss")]
    _draw_columns(loss_axes, history, losses, "Loss")
    _draw_columns(dice_axes, history, [n for n in names if "dice" in n and n not in losses], "Dice")
    dice_axes.set_ylim(0, 1)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def curve_png(history: Sequence[Mapping[str, object]], path: Path | str) -> None:
    """Write `training_curve` as PNG.

    Raises:
        OutputError: the file can't be written.
    """
    save_png(path, training_curve(history))


def save_png(path: Path | str, picture: np.ndarray) -> None:
    """Write a picture as PNG, atomically.

    Args:
        path: where to write.
        picture: `(height, width)` or `(height, width, 3)` RGB, uint8 or uint16.

    Raises:
        OutputError: the file can't be written.
    """
    data = encode(picture, ".png", path)
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def encode(picture: np.ndarray, suffix: str, path: Path | str = "picture") -> bytes:
    """The picture as the bytes of a PNG, JPEG or WebP file; WebP is the smallest, of thumbnails a third of JPEG.

    Args:
        picture: `(height, width)` or `(height, width, 3)` RGB, uint8 (PNG: also uint16).
        suffix: `.png`, `.jpg` (quality 85) or `.webp` (quality 60).
        path: named in the error.

    Raises:
        OutputError: the picture has no pixels, or a type the format can't hold.
    """
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    try:
        done, data = cv2.imencode(suffix, bgr, _QUALITY.get(suffix, ()))
    except cv2.error as error:
        raise OutputError(f"{path}: {picture.dtype} {picture.shape} can't be written as {suffix}") from error
    if not done:
        raise OutputError(f"{path}: {picture.dtype} {picture.shape} can't be written as {suffix}")
    return data.tobytes()


def fit(image: np.ndarray, longest: int) -> np.ndarray:
    """Shrink a picture until no side is longer than `longest` pixels; never enlarge it."""
    factor = min(1.0, longest / max(image.shape[:2]))
    rows, columns = (max(1, round(side * factor)) for side in image.shape[:2])
    return _resize_picture(image, (rows, columns))


def _size_at(image: np.ndarray, height: int | None) -> tuple[int, int]:
    rows, columns = image.shape[:2]
    return (rows, columns) if height is None else (height, max(1, round(columns * height / rows)))


def _resize_picture(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    smaller = size[0] < image.shape[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _resize_mask(inside: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if inside.shape == size:
        return inside
    if size[0] < inside.shape[0]:
        # Any coverage counts, lest a lesion of a few pixels vanish from a small picture.
        return cv2.resize(inside.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) > 0
    return cv2.resize(inside.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5


def _outline(inside: np.ndarray) -> np.ndarray:
    """Mask pixels with a side outside the mask or at the picture's edge; two deep on large pictures."""
    depth = max(1, round(inside.shape[0] / 512))
    core = cv2.erode(inside.astype(np.uint8), _CROSS, iterations=depth, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return inside & (core == 0)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image.copy()


def _canvas(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def _title_bar(title: str, width: int) -> np.ndarray:
    """A bar with the title, in letters OpenCV has, cut to what fits."""
    bar = _canvas(_TITLE_HEIGHT, width)
    text = title.encode("ascii", "replace").decode()
    scale, margin = 0.45, 6
    while len(text) > 1 and cv2.getTextSize(text, _FONT, scale, 1)[0][0] > width - 2 * margin:
        text = text[:-4].rstrip(".") + "..." if len(text) > 4 else text[:-1]
    cv2.putText(bar, text, (margin, _TITLE_HEIGHT - 9), _FONT, scale, (INK,) * 3, 1, cv2.LINE_AA)
    return bar


def _draw_columns(axes, history: Sequence[Mapping[str, object]], names: list[str], title: str) -> None:
    for index, name in enumerate(names):
        held_out = name.startswith("val_")
        colour = "#0072B2" if held_out else ("#999999", "#CC79A7", "#009E73")[index % 3]
        points = [(_number(row.get("epoch"), i), _number(row.get(name), math.nan)) for i, row in enumerate(history)]
        axes.plot(*zip(*points, strict=True), label=name, color=colour, linewidth=2.2 if held_out else 1.2)
    axes.set_title(title, loc="left")
    axes.set_xlabel("Epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        axes.legend(frameon=False)


def _number(value: object, otherwise: float) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return otherwise
