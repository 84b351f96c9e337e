#!/usr/bin/env python3
"""Holds the graphs of a bundle against outside judges: onnx.checker and ONNX Runtime's Python package.

   check_onnx.py BUNDLE [--goldens FOLDER]

BUNDLE was exported with any of the variants fp32, fused, int8. FOLDER is the `encode` folder of the golden files; give
it when BUNDLE was made from the golden tiny model. Prints one line per check and exits 1 if any fails.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from safetensors.numpy import load_file

# Largest |Δlogit| on tokens; None: quantised, held to the error below. Whether labels survive int8 is the exporter's own
# certificate's business; a random model, as the golden one is, has no margins to speak of.
TOLERANCE = {"fp32": 1e-4, "fused": 1e-4, "int8": None}
# Root mean square of Δlogit over that of the logits around their mean.
INT8_ERROR = 0.25
SIGNATURE = {"input_ids": 2, "bbox": 3, "attention_mask": 2, "token_type_ids": 2}

failures = 0


def check(name, holds, detail=""):
    global failures
    failures += not holds
    print(f"{'ok  ' if holds else 'FAIL'} {name} {detail}", flush=True)


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def logits(run, ids, boxes, mask):
    arrays = dict(input_ids=ids, bbox=boxes, attention_mask=mask, token_type_ids=np.zeros_like(ids))
    return run.run(None, {i.name: np.asarray(arrays[i.name], np.int64) for i in run.get_inputs()})[0]


def structure(variant, path, entry, manifest):
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path), load_external_data=False)
    domains = {o.domain: o.version for o in model.opset_import}
    check(f"{variant} loads in ONNX Runtime 1.20 (opset, IR)", domains[""] <= 20 and model.ir_version <= 10, domains)
    if variant == "fp32":
        used = {n.domain for n in model.graph.node}
        check("fp32 holds standard operators only", used == {""} and set(domains) == {""})
    inputs = {i.name: len(i.type.tensor_type.shape.dim) for i in model.graph.input}
    symbolic = all(i.type.tensor_type.shape.dim[k].dim_param for i in model.graph.input for k in (0, 1))
    expected = SIGNATURE if entry["padding"] else {n: SIGNATURE[n] for n in ("input_ids", "bbox")}
    check(f"{variant} signature", inputs == expected and symbolic and [o.name for o in model.graph.output] == ["logits"])
    metadata = {p.key: p.value for p in model.metadata_props}
    labels = json.loads(metadata["layoutlm.labels"])
    same = metadata["layoutlm.fingerprint"] == manifest["fingerprint"] and labels == manifest["labels"]
    said = json.loads(metadata["layoutlm.metrics"]) == manifest["source"]["metrics"]
    said &= float(metadata["layoutlm.temperature"]) == manifest["encoding"]["temperature"]
    said &= metadata["layoutlm.variant"] == variant and (metadata["layoutlm.padding"] == "true") == entry["padding"]
    said &= metadata.get("layoutlm.job") == manifest["source"]["job_name"]
    check(f"{variant} metadata agrees with the manifest", same and said)


def judge(name, variant, pairs):
    """pairs: (reference, found) logits of tokens, [tokens, labels]"""
    difference = max(float(np.abs(a - b).max()) for a, b in pairs)
    flips = sum(int((a.argmax(-1) != b.argmax(-1)).sum()) for a, b in pairs)
    tokens = sum(len(a) for a, _ in pairs)
    limit = TOLERANCE[variant]
    finite = all(np.isfinite(b).all() for _, b in pairs)
    reference, found = (np.concatenate([p[i].ravel() for p in pairs]) for i in (0, 1))
    error = float(np.sqrt(np.mean((reference - found) ** 2)) / reference.std())
    holds = difference <= limit and flips == 0 if limit is not None else error <= INT8_ERROR
    detail = f"max |Δlogit| {difference:.2e}, error {error:.1e}, {flips} of {tokens} labels flip"
    check(f"{variant} {name}", holds and finite, detail)


def replay(variant, run, bundle):
    probe = load_file(bundle / "probe.safetensors")
    pairs = []
    while f"w{len(pairs)}.input_ids" in probe:
        w = f"w{len(pairs)}."
        ids = probe[w + "input_ids"][None]
        found = logits(run, ids, probe[w + "bbox"][None], np.ones_like(ids))[0]
        pairs.append((probe[w + "logits"][probe[w + "first"]], found[probe[w + "first"]]))
    judge(f"repeats the probe of {len(pairs)} windows", variant, pairs)


def against_goldens(variant, run, padding, goldens):
    arrays = load_file(goldens / "arrays.safetensors")
    pairs = []
    for receipt in json.loads((goldens / "receipts.json").read_text())["receipts"]:
        ids = np.array([receipt["input_ids"]])
        found = logits(run, ids, [receipt["bbox"]], [receipt["attention_mask"]])[0]
        pairs.append((arrays[receipt["key"] + ".logits"], found))
    judge(f"equals PyTorch on {len(pairs)} receipts", variant, pairs)
    if not padding:
        return
    batch = load_file(goldens / "padded_batch.safetensors")
    found = logits(run, batch["input_ids"], batch["bbox"], batch["attention_mask"])
    tokens = batch["attention_mask"] == 1
    judge("equals PyTorch on a padded batch", variant, [(batch["logits"][tokens], found[tokens])])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--goldens", type=pathlib.Path)
    args = parser.parse_args()
    manifest = json.loads((args.bundle / "manifest.json").read_text())
    for variant, entry in manifest["variants"].items():
        path = args.bundle / entry["file"]
        structure(variant, path, entry, manifest)
        run = session(path)
        replay(variant, run, args.bundle)
        if args.goldens:
            against_goldens(variant, run, entry["padding"], args.goldens)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
