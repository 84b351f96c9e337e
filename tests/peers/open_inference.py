"""Triton's own HTTP client against the server: metadata, readiness, inference in JSON and binary, errors.

usage: open_inference.py HOST:PORT BUNDLE
"""

import json
import os
import sys
import tempfile
import subprocess

import numpy as np
import onnxruntime
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, bundle = sys.argv[1:3]
client = triton.InferenceServerClient(address)
assert client.is_server_live() and client.is_server_ready()
server = client.get_server_metadata()
assert "binary_tensor_data" in server["extensions"], server
manifest = json.load(open(os.path.join(bundle, "manifest.json"), encoding="utf-8"))
model = manifest["source"].get("job_name") or "layoutlm"
metadata = client.get_model_metadata(model)
version = metadata["versions"][0]
assert client.is_model_ready(model) and client.is_model_ready(model, version)
assert not client.is_model_ready("another") and not client.is_model_ready(model, "0")
assert client.get_model_metadata(model, version) == metadata

words = [{"line_id": 0, "word_id": i, "text": text, "box": [i * 90, 10, i * 90 + 80, 30]}
         for i, text in enumerate(["Corner", "Bakery", "03/14/2024", "6.50"])]
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "receipt.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"image_id": "r", "width": 400, "height": 40, "words": words}, file)
    encoded = subprocess.check_output(["target/release/layoutlm-cli", "encode", "--model", bundle, "--input", path])
window = json.loads(encoded)
length, longest = len(window["input_ids"]), len(window["input_ids"]) + 5
feed = {
    "input_ids": np.zeros((2, longest), np.int64),
    "bbox": np.zeros((2, longest, 4), np.int64),
    "attention_mask": np.zeros((2, longest), np.int64),
    "token_type_ids": np.zeros((2, longest), np.int64),
}
for row in range(2):
    for name in ["input_ids", "bbox", "attention_mask"]:
        feed[name][row, :length] = window[name]
session = onnxruntime.InferenceSession(os.path.join(bundle, "model.onnx"), providers=["CPUExecutionProvider"])
(expected,) = session.run(["logits"], {name: value[:1, :length] for name, value in feed.items()})


def tensors(binary):
    out = []
    for spec in metadata["inputs"]:
        value = feed[spec["name"]]
        tensor = triton.InferInput(spec["name"], list(value.shape), spec["datatype"])
        tensor.set_data_from_numpy(value, binary_data=binary)
        out.append(tensor)
    return out


worst = 0.0
for binary_in in [False, True]:
    for outputs in [None, [triton.InferRequestedOutput("logits", binary_data=False)], [triton.InferRequestedOutput("logits")]]:
        result = client.infer(model, tensors(binary_in), outputs=outputs, request_id="42", model_version=version)
        response = result.get_response()
        assert response["id"] == "42" and response["model_name"] == model, response
        logits = result.as_numpy("logits")
        assert logits.shape == (2, longest, len(manifest["labels"])) and logits.dtype == np.float32, logits.shape
        worst = max(worst, float(np.abs(logits[:, :length] - expected).max()))
        assert not logits[:, length:].any()
assert worst < 1e-3, worst

for wrong, part in [
    (lambda: client.infer("another", tensors(True)), "no model"),
    (lambda: client.infer(model, tensors(True)[1:]), "input_ids is missing"),
    (lambda: client.infer(model, tensors(False), outputs=[triton.InferRequestedOutput("labels")]), "unknown output"),
    (lambda: client.get_model_metadata("another"), "no model"),
]:
    try:
        wrong()
    except InferenceServerException as error:
        assert part in error.message(), error
    else:
        raise AssertionError(f"{part}: nothing was refused")
print(f"tritonclient: metadata, readiness, JSON and binary tensors (max |Δlogit| {worst:.1e}), errors")
