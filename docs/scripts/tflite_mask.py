"""Mark the tumour in a sequence of slices with LiteRT: `pip install ai-edge-litert numpy`, and nothing else.

python tflite_mask.py MODEL.tflite SLICES.npy MASK.npy     # a model exported with --size of the slices
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def value_range(pixels):
    """1st percentile of all pixels and 99th of those above the mean, that is of the head; values that occur."""
    head = pixels[pixels > pixels.mean(dtype=np.float64)]
    head = head if head.size else np.sort(pixels)[:1]
    low, high = (np.sort(p)[max(-(-n * p.size // 100) - 1, 0)] for p, n in ((pixels, 1), (head, 99)))
    return low, high if high > low else low + 1


if __name__ == "__main__":
    model, scan, mask = sys.argv[1:]
    info = json.loads(zipfile.ZipFile(model).read("bts.json"))
    size, halo = info["recipe"]["data"]["window"]["slices"], info["recipe"]["data"]["window"]["halo"]
    images = np.load(scan).astype(np.float32)
    images = images.reshape(*images.shape[:3], -1)  # (slices, height, width, modalities)
    limits = np.array([[value_range(images[..., m].ravel()) for m in range(images.shape[3])]], np.float32)
    ask = Interpreter(model).get_signature_runner("serving_default")
    last, answers, done = max(len(images) - size, 0), [], 0
    for start in [*range(0, last, size - 2 * halo), last]:
        seen = np.minimum(np.arange(start, start + size), len(images) - 1)
        end = len(images) if start == last else start + size - halo  # this window decides the slices done to end
        answer = ask(slices=images[seen][None], value_range=limits)["probability"][0]
        answers.append(answer[done - start : end - start])
        done = end
    tumour = np.concatenate(answers)[..., 0] >= info["threshold"]  # of several regions, each has a channel
    np.save(mask, tumour.astype(np.uint8) * 255)
    print(f"{mask}: {tumour.sum()} of {tumour.size} pixels are tumour")
