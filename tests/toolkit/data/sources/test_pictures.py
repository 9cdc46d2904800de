"""A picture gives the grey values it was saved with; a bomb or a torn file gives one line."""

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2gray

from toolkit.data.sources import pictures
from toolkit.data.sources.pictures import read_colours, read_picture
from toolkit.errors import SourceError


def grey(dtype=np.uint8, shape=(40, 48)):
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1000
    return (np.random.default_rng(0).random(shape) * top).astype(dtype)


def save(path, picture):
    assert cv2.imwrite(str(path), picture)
    return path


def save_pages(path, pages):
    assert cv2.imwritemulti(str(path), list(pages))
    return path


def png_that_declares(path, width, height):
    """A few bytes of PNG whose header, checksum and all, promises `width` x `height`."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def bare_tiff(width, height, next_directory=0, order="<"):
    """A TIFF of one directory that declares a size and nothing else."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHII", 256, 4, 1, width) + struct.pack(order + "HHII", 257, 4, 1, height)
    return magic + struct.pack(order + "IH", 8, 2) + entries + struct.pack(order + "I", next_directory)


def refused(path):
    """The message of the SourceError: one line that begins with the file."""
    with pytest.raises(SourceError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", [".png", ".tif", ".TIFF"])
def test_8_and_16_bit_values_come_through_unchanged(tmp_path, dtype, ending):
    read = read_picture(save(tmp_path / f"slice{ending}", grey(dtype)))
    np.testing.assert_array_equal(read, grey(dtype)[np.newaxis])
    assert read.dtype == dtype


def test_a_jpeg_is_read_to_within_its_own_loss(tmp_path):
    smooth = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8)
    read = read_picture(save(tmp_path / "slice.jpg", smooth))
    assert read.shape == (1, 40, 48)
    assert np.abs(read[0].astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_pages_of_a_tiff_are_slices_in_their_order(tmp_path, dtype):
    stack = grey(dtype, (5, 40, 48))
    read = read_picture(save_pages(tmp_path / "stack.tif", stack))
    np.testing.assert_array_equal(read, stack)
    assert read.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4], ids=["colours", "with transparency"])
def test_equal_channels_are_the_grey_picture_itself(tmp_path, dtype, channels):
    picture = np.repeat(grey(dtype)[..., np.newaxis], channels, axis=-1)
    if channels == 4:
        picture[..., 3] = grey(dtype)[::-1]
    np.testing.assert_array_equal(read_picture(save(tmp_path / "rgb.png", picture))[0], grey(dtype))


def test_colours_become_luminance_by_the_weights_of_television(tmp_path):
    pure = np.zeros((1, 3, 3), np.uint8)
    pure[0, 0, 2] = pure[0, 1, 1] = pure[0, 2, 0] = 255  # red, green, blue
    read = read_picture(save(tmp_path / "pure.png", pure))
    # 255 times 0.299, 0.587 and 0.114 (BT.601), rounded by hand.
    np.testing.assert_array_equal(read[0, 0], [76, 150, 29])


def test_luminance_is_near_what_another_library_says(tmp_path):
    picture = grey(np.uint16, (40, 48, 3))
    read = read_picture(save(tmp_path / "colour.png", picture))
    # scikit-image weighs by BT.709, so it agrees on the whole and not to the digit.
    assert np.corrcoef(read.ravel(), rgb2gray(picture[..., ::-1]).ravel())[0, 1] > 0.95


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_the_colours_of_a_tiff_are_channels_red_first(tmp_path, dtype, planes):
    stack = grey(dtype, (2, 40, 48, 3))
    stored = stack if planes == "contig" else np.moveaxis(stack, -1, 1)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planes)
    if planes == "separate" and dtype != np.uint8:
        assert "can't be decoded" in refused(path)  # OpenCV mixes the planes up and does not say so
        return
    read = read_colours(path)
    np.testing.assert_array_equal(read, stack)
    assert read.dtype == dtype


def test_colours_of_a_png_are_what_another_library_reads_without_its_transparency(tmp_path):
    path = save(tmp_path / "colour.png", grey(shape=(40, 48, 4)))
    np.testing.assert_array_equal(read_colours(path)[0], np.asarray(Image.open(path))[..., :3])


def test_a_grey_picture_has_three_equal_colours(tmp_path):
    read = read_colours(save(tmp_path / "grey.png", grey()))
    np.testing.assert_array_equal(read, np.repeat(grey()[np.newaxis, ..., np.newaxis], 3, axis=-1))


def test_luminance_takes_little_more_memory_than_the_picture(tmp_path):
    flat = np.zeros((4096, 2048, 3), np.uint8)
    flat[0, 0] = 1, 2, 3
    path = save(tmp_path / "flat.png", flat)
    tracemalloc.start()
    read_picture(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * flat.nbytes


def test_a_picture_within_the_limit_is_read_and_one_beyond_is_not(tmp_path, monkeypatch):
    stack = save_pages(tmp_path / "stack.tif", grey(shape=(3, 40, 48)))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 3 * 40 * 48)
    assert read_picture(stack).shape == (3, 40, 48)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 3 * 40 * 48 - 1)
    assert "pixels" in refused(stack)


@pytest.mark.parametrize("name", ["grey.png", "colour.png", "deep.tif", "colour.jpg"])
def test_the_limit_counts_the_bytes_that_a_picture_has_when_it_is_decoded(tmp_path, monkeypatch, name):
    channels = (3,) if "colour" in name else ()
    picture = np.zeros((40, 48, *channels), np.float64 if name == "deep.tif" else np.uint8)
    assert cv2.imwrite(str(tmp_path / name), picture)
    monkeypatch.setattr(pictures, "MAX_BYTES", picture.nbytes)
    assert read_picture(tmp_path / name).shape == (1, 40, 48)
    monkeypatch.setattr(pictures, "MAX_BYTES", picture.nbytes - 1)
    assert "bytes decoded" in refused(tmp_path / name)


def test_a_bomb_is_refused_before_it_unfolds(tmp_path):
    tracemalloc.start()
    bomb = png_that_declares(tmp_path / "bomb.png", 100_000, 100_000)
    assert "declares 10000000000 pixels" in refused(bomb)
    for order in "<>":
        (tmp_path / "bomb.tif").write_bytes(bare_tiff(1 << 20, 1 << 20, order=order))
        assert "declares 1099511627776 pixels" in refused(tmp_path / "bomb.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_a_tiff_whose_pages_go_round_in_a_circle_ends(tmp_path):
    (tmp_path / "circle.tif").write_bytes(bare_tiff(8, 8, next_directory=8))
    assert "circle" in refused(tmp_path / "circle.tif")


def test_a_jpeg_that_declares_too_much_is_refused(tmp_path):
    path = save(tmp_path / "bomb.jpg", grey())
    data = bytearray(path.read_bytes())
    frame = data.find(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    path.write_bytes(data)
    assert "declares 3600000000 pixels" in refused(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_in_a_float_tiff_are_refused(tmp_path, bad):
    picture = grey(np.float32)
    picture[3, 3] = bad
    assert "NaN" in refused(save(tmp_path / "nan.tif", picture))


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path, ending, keep):
    path = save(tmp_path / f"cut{ending}", grey())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    refused(path)


def test_a_jpeg_without_its_end_is_refused_whatever_the_decoder_makes_of_it(tmp_path):
    path = save(tmp_path / "cut.jpg", grey())
    path.write_bytes(path.read_bytes()[:-2])
    assert "the end of the JPEG is missing" in refused(path)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_stack_that_lost_its_last_pages_is_refused_not_read_in_part(tmp_path, keep):
    path = save_pages(tmp_path / "stack.tif", grey(shape=(4, 40, 48)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    refused(path)


def test_pages_of_unlike_size_are_refused(tmp_path):
    path = save_pages(tmp_path / "mixed.tif", [grey(), grey(shape=(20, 24))])
    assert "unlike size" in refused(path)


def test_what_is_no_picture_is_refused_whatever_its_ending(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    assert "not a whole PNG, TIFF or JPEG" in refused(tmp_path / "text.png")
    assert "can't be opened" in refused(tmp_path / "missing.png")
    (tmp_path / "folder.png").mkdir()
    assert "can't be opened" in refused(tmp_path / "folder.png")


def damaged(path, dtype):
    """A compressed TIFF with its first half overwritten, its directory whole."""
    data = bytearray(save(path, grey(dtype)).read_bytes())
    data[8 : len(data) // 2] = bytes(len(data) // 2 - 8)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_with_damage_in_its_middle_is_refused_not_read_as_black(tmp_path, dtype):
    assert "damaged" in refused(damaged(tmp_path / "damaged.tif", dtype))


def test_opencv_prints_nothing_of_its_own_about_a_damaged_tiff(tmp_path, capfd):
    refused(damaged(tmp_path / "damaged.tif", np.uint16))
    assert capfd.readouterr().err == ""


def test_no_damaged_picture_raises_anything_but_our_own_error(tmp_path):
    """Random bytes over true files: read or refused, never a traceback."""
    random = np.random.default_rng(0)
    outcomes = set()
    for ending in (".png", ".jpg", ".tif"):
        path = save(tmp_path / f"fuzzed{ending}", grey(shape=(16, 16)))
        whole = path.read_bytes()
        for _ in range(60):
            block = np.frombuffer(whole, np.uint8).copy()
            # The directory of a TIFF lies at the end, the other headers at the start.
            reach = random.integers(0, 200, 3)
            block[-1 - reach if ending == ".tif" else reach] = random.integers(0, 256, 3)
            path.write_bytes(block.tobytes())
            outcomes.add((ending, outcome(path)))
    assert {ending for ending, read in outcomes if not read} == {".png", ".jpg", ".tif"}


def test_no_byte_of_the_directory_of_a_stack_makes_it_raise_anything_else(tmp_path):
    """Each set to 255 in turn; among them are some that OpenCV takes and Pillow stumbles over."""
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, grey(shape=(3, 16, 16)), photometric="minisblack")
    whole = path.read_bytes()
    outcomes = set()
    for position in range(min(len(whole), 600)):
        path.write_bytes(whole[:position] + b"\xff" + whole[position + 1 :])
        outcomes.add(outcome(path))
    assert outcomes == {True, False}


def outcome(path):
    try:
        return read_picture(path).size > 0
    except SourceError:
        return False
