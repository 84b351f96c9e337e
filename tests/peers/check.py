"""Same windows, same logits: transformers on the checkpoint folder, onnxruntime on the bundle.

usage: check.py CHECKPOINT BUNDLE WINDOWS.jsonl
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import onnx
import onnxruntime
import torch
from transformers import AutoTokenizer, LayoutLMForTokenClassification

checkpoint, bundle, windows = sys.argv[1:4]
model_file = os.path.join(bundle, "model.onnx")
onnx.checker.check_model(model_file, full_check=True)
session = onnxruntime.InferenceSession(model_file, providers=["CPUExecutionProvider"])
wanted = [i.name for i in session.get_inputs()]
assert wanted == ["input_ids", "bbox", "attention_mask", "token_type_ids"], wanted

model, info = LayoutLMForTokenClassification.from_pretrained(checkpoint, output_loading_info=True)
# Token classification has no use for the pooler, so checkpoints leave it out.
missing = [name for name in info["missing_keys"] if ".pooler." not in name]
assert not missing and not info["unexpected_keys"] and not info["mismatched_keys"], info
model.eval()
labels = json.load(open(os.path.join(bundle, "manifest.json")))["labels"]
assert [model.config.id2label[i] for i in range(model.config.num_labels)] == labels
tokenizer = AutoTokenizer.from_pretrained(checkpoint)

rows = [json.loads(line) for line in open(windows, encoding="utf-8")]
assert rows, "no windows"
worst = 0.0
for row in rows:
    ids = np.array([row["input_ids"]], np.int64)
    feed = {
        "input_ids": ids,
        "bbox": np.array([row["bbox"]], np.int64),
        "attention_mask": np.array([row["attention_mask"]], np.int64),
        "token_type_ids": np.zeros_like(ids),
    }
    (served,) = session.run(["logits"], feed)
    with torch.no_grad():
        trained = model(**{name: torch.tensor(value) for name, value in feed.items()}).logits.numpy()
    worst = max(worst, float(np.abs(served - trained).max()))
    assert (served.argmax(-1) == trained.argmax(-1)).all(), "a label differs"
    frame = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert [row["input_ids"][0], row["input_ids"][-1]] == frame, "the tokenizer's special tokens differ"
assert worst < 1e-3, worst
print(f"{len(rows)} windows: max |Δlogit| {worst:.1e} between transformers {checkpoint} and onnxruntime {bundle}")
