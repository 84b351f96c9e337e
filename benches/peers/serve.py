#!/usr/bin/env python3
"""What a Python user serves a LayoutLM with: FastAPI on uvicorn around onnxruntime or PyTorch.

    serve.py onnx MODEL.onnx CHECKPOINT PORT THREADS
    serve.py torch - CHECKPOINT PORT THREADS

`POST /v1/classify` takes the same receipt as our server and answers a label and a confidence for every word. Long
receipts are cut by the tokenizer itself (512 tokens, stride 128); the windows of one receipt are one batch. One
inference runs at a time with all threads: several at once fight for the same cores and are slower.
"""
import json
import os
import sys
import threading

kind, model_path, checkpoint, port, threads = sys.argv[1:6]
port, threads = int(port), int(threads)
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from transformers import LayoutLMTokenizerFast  # noqa: E402

tokenizer = LayoutLMTokenizerFast.from_pretrained(checkpoint)
labels = {int(i): l for i, l in json.load(open(f"{checkpoint}/config.json"))["id2label"].items()}
one_at_a_time = threading.Lock()

if kind == "onnx":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])

    def run(inputs):
        return session.run(["logits"], inputs)[0]
else:
    import torch
    from transformers import LayoutLMForTokenClassification

    torch.set_num_threads(threads)
    model = LayoutLMForTokenClassification.from_pretrained(checkpoint)
    model.config._attn_implementation = "sdpa"
    model.eval()

    def run(inputs):
        with torch.inference_mode():
            return model(**{name: torch.from_numpy(value) for name, value in inputs.items()}).logits.numpy()


class Word(BaseModel):
    text: str
    box: list[float]


class Receipt(BaseModel):
    width: float
    height: float
    words: list[Word]


app = FastAPI()


@app.get("/health/ready")
def ready():
    return {"status": "ready"}


def scaled(receipt):
    """Boxes in 0..1000, `[words, 4]`, with a row of zeros at the end for special tokens."""
    boxes = np.array([w.box for w in receipt.words], dtype=np.float64).reshape(-1, 4)
    page = np.array([receipt.width, receipt.height] * 2)
    boxes = np.clip(boxes / page * 1000, 0, 1000).astype(np.int64)
    return np.vstack([boxes, np.zeros((1, 4), dtype=np.int64)])


@app.post("/v1/classify")
def classify(receipt: Receipt):
    if not receipt.words:
        return {"words": []}
    encoded = tokenizer(
        [[w.text for w in receipt.words]], is_split_into_words=True, truncation=True, max_length=512, stride=128,
        return_overflowing_tokens=True, padding=True, return_tensors="np",
    )
    boxes = scaled(receipt)
    word_ids = [[-1 if w is None else w for w in encoded.word_ids(i)] for i in range(len(encoded["input_ids"]))]
    inputs = {
        "input_ids": encoded["input_ids"].astype(np.int64),
        "bbox": boxes[np.array(word_ids)],
        "attention_mask": encoded["attention_mask"].astype(np.int64),
        "token_type_ids": np.zeros_like(encoded["input_ids"], dtype=np.int64),
    }
    with one_at_a_time:
        logits = run(inputs)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = shifted / shifted.sum(-1, keepdims=True)
    best = {}
    for row, ids in enumerate(word_ids):
        previous = -1
        for position, word in enumerate(ids):
            if word >= 0 and word != previous and word not in best:
                best[word] = probabilities[row, position]
            previous = word
    words = []
    for index, word in enumerate(receipt.words):
        p = best.get(index)
        label = 0 if p is None else int(p.argmax())
        words.append({"text": word.text, "label": labels[label], "confidence": 0.0 if p is None else float(p[label])})
    return {"words": words}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
