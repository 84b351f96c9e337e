"""What the measurements of exported graphs share: model sizes, inputs, counting work."""

import json
import os
import resource

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import numpy as np

TYPES = ["MERCHANT_NAME", "PHONE_NUMBER", "ADDRESS_LINE", "DATE", "TIME", "PRODUCT_NAME", "AMOUNT"]
LABELS = ["O"] + [f"B-{t}" for t in TYPES] + [f"I-{t}" for t in TYPES]
SIZES = {
    "minilm": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}


def work(size, batch, tokens):
    """Floating-point operations of all matrix products of one run: two for a multiply-add."""
    c = SIZES[size]
    hidden, inner, layers = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
    linear = layers * (8 * hidden * hidden + 4 * hidden * inner) * batch * tokens
    attention = layers * 4 * tokens * tokens * hidden * batch
    return linear + attention + 2 * hidden * len(LABELS) * batch * tokens


def inputs(batch, tokens):
    """A batch without padding; boxes on the 0..=1000 grid."""
    random = np.random.default_rng(5)
    ids = random.integers(1000, 30000, (batch, tokens))
    corners = np.sort(random.integers(0, 1001, (batch, tokens, 2, 2)), axis=2).reshape(batch, tokens, 4)
    return dict(input_ids=ids, bbox=corners, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def say(**values):
    print(json.dumps(values), flush=True)
