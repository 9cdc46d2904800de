"""Brain-tumour segmentation in MRI: an LSTM enhancer and an attention U-Net.

Importing this package imports nothing heavy; import the room you need, e.g.
``toolkit.data.store`` or ``toolkit.models.segmenter``.
"""

__version__ = "0.1.0"
