"""The same job as layoutlm-server, as it is usually done in Python: FastAPI in front of PyTorch or of onnxruntime.

BACKEND (torch, onnxruntime) chooses; MODEL is a Hugging Face folder, for onnxruntime with a model.onnx in it. One process,
threads as many as the container's share of the processor.
"""

import math
import os
import pathlib

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel


class Word(BaseModel):
    text: str
    box: list[float]


class Receipt(BaseModel):
    width: float
    height: float
    words: list[Word]


def processors():
    """What cgroups allow, v2 or v1; else all cores."""
    try:
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except OSError:
        try:
            folder = pathlib.Path("/sys/fs/cgroup/cpu")
            quota, period = ((folder / f"cpu.cfs_{n}_us").read_text().strip() for n in ("quota", "period"))
        except OSError:
            quota = "max"
    if quota in ("max", "-1"):
        return os.cpu_count()
    return max(1, math.ceil(int(quota) / int(period)))


MODEL = os.environ["MODEL"]

if os.environ["BACKEND"] == "torch":
    import torch
    from transformers import AutoTokenizer, LayoutLMForTokenClassification

    torch.set_num_threads(processors())
    tokenizer = AutoTokenizer.from_pretrained(MODEL, use_fast=True)
    model = LayoutLMForTokenClassification.from_pretrained(MODEL).eval()
    labels = model.config.id2label

    def encode(texts):
        coded = tokenizer(texts, is_split_into_words=True, truncation=True, max_length=512)
        return coded["input_ids"], coded.word_ids()

    def forward(ids, boxes):
        with torch.inference_mode():
            return model(input_ids=torch.tensor([ids]), bbox=torch.tensor([boxes])).logits[0].numpy()

else:
    import json

    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = processors()
    session = onnxruntime.InferenceSession(f"{MODEL}/model.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(f"{MODEL}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    labels = {int(k): v for k, v in json.load(open(f"{MODEL}/config.json"))["id2label"].items()}

    def encode(texts):
        coded = tokenizer.encode(texts, is_pretokenized=True)
        return coded.ids, coded.word_ids

    def forward(ids, boxes):
        ones = np.ones((1, len(ids)), np.int64)
        feeds = {"input_ids": np.array([ids]), "bbox": np.array([boxes]), "attention_mask": ones, "token_type_ids": ones * 0}
        return session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})[0][0]


app = FastAPI()


@app.get("/health/ready")
def ready():
    return {}


@app.post("/v1/classify")
def classify(receipt: Receipt):
    scale = [1000 / receipt.width, 1000 / receipt.height] * 2
    boxes = [[min(1000, max(0, int(v * s))) for v, s in zip(w.box, scale)] for w in receipt.words]
    ids, word_ids = encode([w.text for w in receipt.words])
    logits = forward(ids, [[0, 0, 0, 0] if i is None else boxes[i] for i in word_ids])
    best, first = logits.argmax(-1), {}
    for position, word in enumerate(word_ids):
        if word is not None:
            first.setdefault(word, labels[int(best[position])])
    return {"words": [{"text": w.text, "label": first.get(i, "O")} for i, w in enumerate(receipt.words)]}
