#!/usr/bin/env python3
"""The table of bench_gpu.sh from what its parts left in a folder.

    train_gpu_table.py FOLDER

Seconds are medians of all epochs but the first, in which programs compile and memory is first asked for. The share of the peak
counts the products of real tokens only, forward and twice that backward: padding and recomputation are no work. Exit code 3
where a goal is missed.
"""
import json
import statistics
import sys
from pathlib import Path

GOALS = {"Hugging Face as run": 8.0, "Hugging Face tuned": 1.2}
MOST_APART = 0.01


def load(name):
    # Other libraries may print before: the answer is the last line.
    return json.loads((folder / name).read_text().strip().splitlines()[-1])


folder = Path(sys.argv[1])
peak, windows, config = load("peak.json"), load("windows.json"), json.loads((folder / "start/config.json").read_text())
run = json.loads((folder / "runs/ours/run.json").read_text())
hidden, inner, layers = (config[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers"))
forward = layers * ((8 * hidden * hidden + 4 * hidden * inner) * windows["tokens"] + 4 * hidden * windows["squares"])

rows = {"ours": ([e["train_seconds"] for e in run["epoch_metrics"]], run["hardware"]["peak_device_memory_mib"])}
for name, file in [("Hugging Face as run", "as-run"), ("Hugging Face tuned", "tuned")]:
    answer = load(file + ".json")
    rows[name] = (answer["seconds"], answer["peak_mib"])
scores = {name: load(file)["f1"] for name, file in zip(rows, ("ours.f1", "as-run.f1", "tuned.f1"))}

print(f"{peak['card']}: {peak['bf16_tflops']} Tflop/s in bf16 products; {run['hardware']}; PyTorch {peak['torch']}")
print(f"{windows['windows']} windows of {windows['tokens']} tokens an epoch; batch {run['config']['batch_size']}")
print(f"{'':<22}{'s/epoch':>9}{'tokens/s':>11}{'peak MiB':>10}{'of peak':>9}{'F1':>8}{'ours is':>10}")
own, missed = statistics.median(rows["ours"][0][1:]), []
for name, (seconds, memory) in rows.items():
    epoch = statistics.median(seconds[1:])
    share = 3 * forward / epoch / (peak["bf16_tflops"] * 1e12)
    ratio = epoch / own
    print(f"{name:<22}{epoch:>9.2f}{windows['tokens'] / epoch:>11.0f}{memory:>10}{share:>9.1%}{scores[name]:>8.4f}{ratio:>9.2f}x")
    if ratio < GOALS.get(name, 0.0):
        missed.append(f"{name}: {ratio:.2f} x, the goal is {GOALS[name]}")
    if abs(scores[name] - scores["ours"]) > MOST_APART:
        missed.append(f"{name}: F1 {scores[name]:.4f} and ours {scores['ours']:.4f} are more than {MOST_APART} apart")
for line in missed:
    print("missed:", line)
sys.exit(3 if missed else 0)
