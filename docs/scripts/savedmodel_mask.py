"""Mark the tumour in a grey picture with a model exported as SavedModel. Needs TensorFlow and nothing else.

python savedmodel_mask.py MODEL_FOLDER MASK.png PICTURE.png     # of several modalities, a picture of each
"""

import json
import sys

import tensorflow as tf


def grey(path):
    """The pixels of a grey PNG of 8 or 16 bits, `(height, width)`."""
    file = tf.io.read_file(path)
    deep = tf.strings.substr(file, 24, 1) == b"\x10"  # where a PNG says how many bits a pixel has
    return tf.cast(tf.io.decode_png(file, 1, tf.uint16 if deep else tf.uint8)[..., 0], tf.float32)


if __name__ == "__main__":
    model, mask, *pictures = sys.argv[1:]
    loaded = tf.saved_model.load(model)
    serve, describe = loaded.signatures["serving_default"], loaded.signatures["describe"]
    info = json.loads(describe(requests=tf.constant([0]))["information"].numpy()[0])
    if len(pictures) != len(info["modalities"]):
        sys.exit(f"give a picture of each modality: {', '.join(info['modalities'])}")
    # (cases, slices, height, width, modalities): any number of slices, of any size.
    slices = tf.stack([grey(path) for path in pictures], axis=-1)[None, None]
    not_known = tf.fill((1, 1, 2), float("nan"))  # so the range of intensity is taken from these slices
    labels = serve(slices=slices, value_range=not_known)["mask"][0, 0]
    if len(info["recipe"]["model"]["regions"]) == 1:
        labels = labels * 255  # to be seen in any viewer
    tf.io.write_file(mask, tf.io.encode_png(labels[..., None]))
    print(f"{mask}: {tf.math.count_nonzero(labels)} of {tf.size(labels)} pixels are tumour")
