#!/usr/bin/env python3
"""A LayoutLM of base size with random weights, and what Python users make of it for serving.

    model_for_serving.py TOKENIZER_FOLDER OUTPUT [--layers 12 --hidden 768]

Writes OUTPUT/checkpoint (a Hugging Face folder), OUTPUT/python/fp32.onnx (torch.onnx, dynamic axes) and
OUTPUT/python/int8.onnx (onnxruntime's quantize_dynamic with its defaults).
"""
import argparse
import json
import os
import shutil
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from onnxruntime.quantization import quantize_dynamic  # noqa: E402
from transformers import LayoutLMConfig, LayoutLMForTokenClassification  # noqa: E402

LABELS = ["O"] + [f"{p}-{e}" for e in ["ADDRESS_LINE", "DATE", "GRAND_TOTAL", "MERCHANT_NAME"] for p in "BI"]
TOKENIZER_FILES = ["vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]


class LogitsOnly(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, bbox, attention_mask, token_type_ids):
        return self.model(
            input_ids=input_ids, bbox=bbox, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).logits


def export(model, path):
    names = ["input_ids", "bbox", "attention_mask", "token_type_ids"]
    ids = torch.randint(5, 1000, (2, 16))
    example = (ids, torch.zeros(2, 16, 4, dtype=torch.long), torch.ones_like(ids), torch.zeros_like(ids))
    axes = {name: {0: "batch", 1: "sequence"} for name in names + ["logits"]}
    torch.onnx.export(
        LogitsOnly(model), example, str(path), input_names=names, output_names=["logits"], dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    options = parser.parse_args()
    torch.manual_seed(1)
    config = LayoutLMConfig(
        num_hidden_layers=options.layers, hidden_size=options.hidden, intermediate_size=4 * options.hidden,
        num_attention_heads=12, id2label=dict(enumerate(LABELS)), label2id={l: i for i, l in enumerate(LABELS)},
        attn_implementation="eager",
    )
    model = LayoutLMForTokenClassification(config).eval()
    checkpoint, python = options.output / "checkpoint", options.output / "python"
    python.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(checkpoint)
    for name in TOKENIZER_FILES:
        shutil.copyfile(options.tokenizer / name, checkpoint / name)
    with torch.inference_mode():
        export(model, python / "fp32.onnx")
    quantize_dynamic(python / "fp32.onnx", python / "int8.onnx")
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}))


main()
