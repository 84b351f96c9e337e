#!/usr/bin/env python3
"""The table of bench_quality.sh; exit code 3 where the mean F1 of ours is too far from one of the others.

    quality_table.py FOLDER NAME SEED…
"""
import json
import statistics
import sys
from pathlib import Path

MOST_APART = 0.015
WAYS = {"ours": "ours", "same": "transformers, same draws", "theirs": "reference, draws of its own"}

folder, name, *seeds = sys.argv[1:]


def scores(way):
    """F1 of each seed, over all and for each label."""
    for seed in seeds:
        answer = json.loads((Path(folder) / f"{name}-{seed}.{way}").read_text())
        if way == "theirs":
            parts = {label: f1 for label, f1 in answer["test"]["per_label"].items() if not label.endswith(" avg")}
            yield {"**all**": answer["test"]["f1"], **parts}
        else:
            yield {"**all**": answer["f1"], **{label: part["f1"] for label, part in answer["labels"].items()}}


table = {way: list(scores(way)) for way in WAYS}
print(f"{name}, seeds {', '.join(seeds)}: F1 on the test receipts\n")
print("| | " + " | ".join(f"{title} | mean" for title in WAYS.values()) + " |")
print("| --- |" + " --- | ---: |" * len(WAYS))
for row in table["theirs"][0]:
    cells = []
    for way in WAYS:
        each = [seed[row] for seed in table[way]]
        cells.append(", ".join(f"{f1:.3f}" for f1 in each) + f" | {statistics.mean(each):.3f}")
    print(f"| {row} | " + " | ".join(cells) + " |")

means = {way: statistics.mean(seed["**all**"] for seed in table[way]) for way in WAYS}
missed = False
for way in ("same", "theirs"):
    apart = abs(means["ours"] - means[way])
    missed |= apart > MOST_APART
    print(f"\nours and {WAYS[way]}: means {apart:.4f} apart, {'more than' if apart > MOST_APART else 'within'} {MOST_APART}")
sys.exit(3 if missed else 0)
