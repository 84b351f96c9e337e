#!/usr/bin/env python3
"""One optimiser step of PyTorch and transformers for each line on standard input.

    train_step.py MODEL BATCHxTOKENS THREADS BATCHES LABELS

fp32, scaled-dot-product attention, dropout 0.1, clipping at 1.0, and the fused AdamW, the quickest it has: the best
a user of the Hugging Face library gets on a CPU without other packages. Prints one JSON object when ready, one with `ms` and `cpu_ms` per step, and one with `peak_mib` at the end.
"""
import json
import os
import resource
import sys
import time

model_size, shape, threads, batches, labels = sys.argv[1:6]
threads, batches, labels = int(threads), int(batches), int(labels)
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402 (threads are set before the library starts)
from transformers import LayoutLMConfig, LayoutLMForTokenClassification  # noqa: E402

SIZES = {"minilm": (6, 384, 1536), "base": (12, 768, 3072)}


def make_batch(generator, windows, tokens):
    """Random tokens and boxes without padding, half of the tokens labelled."""
    ids = torch.randint(1000, 30000, (windows, tokens), generator=generator)
    low_high = torch.randint(0, 1001, (windows, tokens, 2, 2), generator=generator).sort(dim=2).values
    boxes = low_high.reshape(windows, tokens, 4)
    targets = torch.randint(0, 2 * labels, (windows, tokens), generator=generator)
    targets[targets >= labels] = -100
    return dict(input_ids=ids, bbox=boxes, attention_mask=torch.ones_like(ids), labels=targets)


def answer(**values):
    print(json.dumps(values), flush=True)


def main():
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    layers, hidden, inner = SIZES[model_size]
    config = LayoutLMConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=inner, num_attention_heads=12,
        num_labels=labels,
    )
    model = LayoutLMForTokenClassification(config)
    # Some versions refuse this by a missing flag in the constructor though the layers look it up in the table.
    model.config._attn_implementation = "sdpa"
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
    generator = torch.Generator().manual_seed(7)
    windows, tokens = map(int, shape.split("x"))
    data = [make_batch(generator, windows, tokens) for _ in range(batches)]
    answer(ready=True, torch=torch.__version__, attention=model.config._attn_implementation)
    for step, _ in enumerate(sys.stdin):
        start, cpu = time.perf_counter(), time.process_time()
        model(**data[step % batches]).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        answer(ms=(time.perf_counter() - start) * 1e3, cpu_ms=(time.process_time() - cpu) * 1e3)
    answer(peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


main()
