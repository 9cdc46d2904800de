from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from toolkit.config import Encoder
from toolkit.models.zoo import ZOO

REPOSITORY = Path(__file__).parents[2]


def test_it_prints_every_model_and_encoder_with_size_cost_and_licence(run_command):
    code, out, err = run_command("train", "--list-models")
    assert (code, err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert {row[0] for row in rows} - {""} == set(ZOO)
    assert {row[1] for row in rows if not row[0]} == set(get_args(Encoder))
    by_name = {row[0] or row[1]: row[2:] for row in rows}
    # Lite0's 4.65 M parameters (published) less those of its head: 320 x 1280, norm of 1280, 1280 x 1000 + 1000;
    # and the moving averages of its 17 blocks, which are counted here.
    parameters, gflops, start, licence = by_name["efficientnet-lite0"]
    assert int(parameters.replace(",", "")) == 2_998_304
    assert 0.1 < float(gflops) < 0.4
    assert (start, licence) == ("ImageNet, by package", "Apache-2.0")
    assert by_name["unet"][2:] == ["random", "-"]
    # The reference shows the same figures.
    reference = (REPOSITORY / "docs/reference/models.md").read_text(encoding="utf-8")
    for name, (parameters, gflops, *_) in by_name.items():
        assert re.search(rf"^\| `{name}` \|.* {parameters} \| {gflops} \|", reference, re.MULTILINE), name


def test_neither_a_recipe_nor_a_list_is_a_wrong_use(run_command):
    code, out, err = run_command("train")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--list-models" in err
