"""The paper's own numbers, to stand beside ours and never to be taken for ours.

"Optimized LSTM-Driven MRI Preprocessing with Fine-Tuned U-Net for Accurate Brain Tumor Segmentation".
All are fractions; the paper prints percent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperScores:
    """A row of the paper's Table 3: mean Dice coefficient, Jaccard index and pixel accuracy."""

    model: str
    dsc: float
    ji: float
    accuracy: float


@dataclass(frozen=True)
class QuotedAccuracy:
    """An accuracy of the paper's Table 4, in its order.

    Args:
        work: whose it is.
        data: what it was measured on.
        split: of the patients, where known.
        accuracy: as a fraction.
    """

    work: str
    data: str
    split: str
    accuracy: float


TABLE3 = {
    "unet": PaperScores("U-Net", 0.8345, 0.8420, 0.8803),
    "attention_unet": PaperScores("Attention U-Net", 0.8612, 0.8550, 0.9180),
    "res_attention_unet": PaperScores("Residual attention U-Net", 0.9110, 0.8930, 0.9335),
    "proposed": PaperScores("Proposed", 0.9225, 0.9141, 0.9703),
}

_RELATED = (
    *(("figshare", value) for value in (0.8850, 0.9256, 0.9169, 0.9335)),
    *(("BraTS", value) for value in (0.8960, 0.8693, 0.8910, 0.9268)),
)
TABLE4 = (
    *(
        QuotedAccuracy(f"related work {number}", data, "not known", value)
        for number, (data, value) in enumerate(_RELATED, start=1)
    ),
    QuotedAccuracy("the paper's proposed model, in its Table 4", "figshare", "not stated", 0.9803),
    QuotedAccuracy("the paper's proposed model, in its Table 3", "figshare", "not stated", TABLE3["proposed"].accuracy),
)

CAUTION = (
    "The paper's rows are quoted, not reproduced: it does not state its split, and split by picture about 95 % of the "
    "figshare patients would sit on both sides.",
    "Jaccard = Dice / (2 - Dice) is never above Dice, for any mask and under any common average. The paper's U-Net "
    "(Jaccard 84.20, Dice 83.45) therefore can't be foreground Jaccard; averaged with the background it could be, "
    "which is a guess. Ours are of the foreground only.",
    "For the proposed model's accuracy the paper has two values: 97.03 in Table 3, 98.03 in Table 4. Both are quoted.",
)
