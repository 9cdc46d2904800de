"""Writing files so that nothing half-written is left behind: write beside, then rename."""

from __future__ import annotations

import csv
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from toolkit.errors import OutputError

# How the name of a file starts while it is being written.
PARTIAL = ".partial-"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place once the block is through.

    The temporary name keeps the last suffixes (`.nii.gz`, `.png`), as many
    writers choose the format by them. Missing parent folders are made. The
    block may also make a folder there, if `path` itself does not exist yet.

    Args:
        path: where the finished file shall be.

    Yields:
        The path to write to; removed if the block raises.

    Raises:
        OutputError: the file can't be written: no permission, disk full, a file
            in the way. An OSError about another file passes unchanged.
    """
    path = Path(path)
    # Only the suffixes, not the whole name: a name of the full 255 bytes must not grow.
    partial = path.parent / f"{PARTIAL}{secrets.token_hex(6)}{''.join(path.suffixes[-2:])}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if not _is_about_output(error, path, partial):
            raise
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: can't be written ({reason}); choose another place or free this one") from error
    finally:
        _remove(partial)


@contextmanager
def atomic_folder(path: Path | str, is_earlier: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` once the block is through, also of an earlier result there.

    Args:
        path: where the finished folder shall be.
        is_earlier: whether a folder that lies there is an earlier result; nothing else is replaced.

    Yields:
        The folder to write to; removed if the block raises, and what was there before stays.

    Raises:
        OutputError: something else lies there, or the folder can't be written.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and is_earlier(path)):
        raise OutputError(f"{path}: is no earlier result of ours; move it, or choose another place")
    before = path.parent / f"{PARTIAL}{secrets.token_hex(6)}"
    try:
        with atomic_path(path) as partial:
            partial.mkdir()
            yield partial
            if path.exists():
                path.replace(before)
    finally:
        if before.exists() and not path.exists():
            before.replace(path)
        _remove(before)


def write_json(path: Path | str, data: object) -> None:
    """Write `data` as JSON, atomically; NumPy values and paths are turned into plain ones.

    NaN and infinity become null, for which JSON has no other word.

    Raises:
        OutputError: the file can't be written.
    """
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as partial:
        # A file name that is not UTF-8 reaches us with surrogates; JSON knows them as \udcXX.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path: Path | str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write `rows` as CSV with a header, atomically.

    Columns are the keys of all rows in order of first appearance; a missing
    value, None and NaN are empty cells.

    Raises:
        OutputError: the file can't be written.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (
        atomic_path(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _is_about_output(error: OSError, path: Path, partial: Path) -> bool:
    """Whether the error concerns what we write; a full disk names no file at all."""
    if not isinstance(error.filename, str | bytes):
        return True
    named = Path(os.fsdecode(error.filename))
    return partial in (named, *named.parents) or named in (path, *path.parents)


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        try:
            partial.unlink(missing_ok=True)
        except OSError:  # The parent is no folder, so there is nothing to remove.
            return
