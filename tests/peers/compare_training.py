"""Holds a run to what same_draws.py made of the same draws with transformers: losses and weights.

usage: compare_training.py START RUN OUTPUT
"""

import json
import os
import sys

from safetensors.torch import load_file

start, run, output = sys.argv[1:4]
theirs = json.load(open(os.path.join(output, "losses.json")))
(*_, last) = sorted((name for name in os.listdir(run) if name.startswith("checkpoint-")), key=lambda n: int(n.split("-")[1]))
state = json.load(open(os.path.join(run, last, "trainer_state.json")))
ours = [epoch["train_loss"] for epoch in state["epoch_metrics"]]
apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
print(f"{len(ours)} epochs, {state['global_step']} steps: losses {apart:.1e} apart")
assert apart < 1e-5, (ours, theirs)

before, trained, reference = (
    load_file(os.path.join(folder, "model.safetensors"))
    for folder in (start, os.path.join(run, last), os.path.join(output, f"epoch-{len(ours)}"))
)
assert trained.keys() == reference.keys()
furthest = lambda a, b, name: float((a[name] - b[name]).abs().max())
moved = max(furthest(trained, before, name) for name in trained)
# Softmax does not see a bias of all keys, so its gradient is rounding alone, which AdamW makes steps of.
worst, where = max((furthest(trained, reference, name), name) for name in trained if not name.endswith("key.bias"))
print(f"weights moved by up to {moved:.1e}, are at most {worst:.1e} apart ({where})")
assert worst < moved / 50, (worst, moved, where)
