"""The base-size model that all images of compare.py get: random weights, a real vocabulary, one checkpoint, one ONNX file.

make_models.py VOCABULARY_FOLDER OUTPUT: VOCABULARY_FOLDER holds vocab.txt or tokenizer.json of an uncased BERT.
"""

import json
import pathlib
import shutil
import sys

import torch
from transformers import BertTokenizerFast, LayoutLMConfig, LayoutLMForTokenClassification

source, output = map(pathlib.Path, sys.argv[1:])
if (source / "vocab.txt").is_file():
    vocabulary = source / "vocab.txt"
else:
    ids = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    vocabulary = output / "vocab.txt"
    vocabulary.write_text("".join(f"{token}\n" for token, _ in sorted(ids.items(), key=lambda i: i[1])))
tokenizer = BertTokenizerFast(vocab_file=str(vocabulary), do_lower_case=True)

tags = ["O"] + [f"{p}-{e}" for e in ("COMPANY", "DATE", "ADDRESS", "TOTAL") for p in "BI"]
torch.manual_seed(1)
config = LayoutLMConfig(
    vocab_size=len(tokenizer), id2label=dict(enumerate(tags)), label2id={t: i for i, t in enumerate(tags)}
)
model = LayoutLMForTokenClassification(config).eval()
for name in ("torch", "onnxruntime"):
    folder = output / name / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    config.save_pretrained(folder)
model.save_pretrained(output / "torch/model")
(output / "torch/model/model.safetensors").chmod(0o644)


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, input_ids, bbox, attention_mask, token_type_ids):
        given = dict(input_ids=input_ids, bbox=bbox, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return self.model(**given).logits


ids = torch.ones(1, 16, dtype=torch.long)
inputs = (ids, torch.zeros(1, 16, 4, dtype=torch.long), ids, ids * 0)
names = ["input_ids", "bbox", "attention_mask", "token_type_ids"]
torch.onnx.export(
    Plain(), inputs, str(output / "onnxruntime/model/model.onnx"), input_names=names, output_names=["logits"],
    dynamic_axes={n: {0: "batch", 1: "length"} for n in names}, opset_version=17, dynamo=False,
)
