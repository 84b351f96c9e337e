"""Trains transformers' LayoutLM with the draws of one of our runs: its start, windows, order and dropout masks.

usage: same_draws.py START SNAPSHOT RUN OUTPUT

RUN was trained on SNAPSHOT from START. Order and masks are worked out here anew from the run's seed and put into
LayoutLMForTokenClassification; everything else is PyTorch's and transformers' own: model, backward, AdamW, clipping,
schedule. OUTPUT gets a checkpoint folder for each epoch and losses.json, the mean loss of each.
"""

import json
import math
import os
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, softmax
from transformers import LayoutLMConfig, LayoutLMForTokenClassification, get_linear_schedule_with_warmup
from transformers.models.layoutlm import modeling_layoutlm

GOLDEN, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
IGNORED = -100


def mix(z):
    """The finaliser of SplitMix64, of one number or an array."""
    z = np.atleast_1d(np.asarray(z, np.uint64))  # numbers warn where arrays wrap around
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def child(state, index):
    """The stream of its own that `index` has below `state`."""
    return mix(state + mix(np.uint64((index + 0xD1B54A32D192ED03) & MASK)))


class Shuffle:
    """SplitMix64 drawing Fisher-Yates from the end."""

    def __init__(self, state):
        self.state = state

    def below(self, bound):
        while True:
            self.state = (self.state + GOLDEN) & MASK
            value = mix(self.state).item()
            if value < MASK - MASK % bound:
                return value % bound

    def __call__(self, items):
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]


def batches_of(lengths, config, epoch):
    """Batches of windows as the trainer cuts them, of like lengths where the run had them."""
    size, shuffle = config["batch_size"], Shuffle(config["seed"] ^ (epoch * GOLDEN & MASK))
    order = list(range(len(lengths)))
    shuffle(order)
    if config["group_by_length"]:
        group = 50 * size
        order = [w for i in range(0, len(order), group) for w in sorted(order[i : i + group], key=lengths.__getitem__)]
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    if config["group_by_length"]:
        shuffle(batches)
    return batches


class Masks:
    """The trainer's dropout masks of one step: a hash of seed, step, site, row among real tokens, and column."""

    def __init__(self, seed, rate):
        self.root, self.rate = mix(seed ^ GOLDEN), rate

    def start(self, step, lengths, labelled):
        self.step, self.lengths, self.labelled = child(self.root, step << 20), lengths, labelled

    def rows(self, site, first, count, columns):
        """Factors, [count, columns]."""
        row = np.arange(first, first + count, dtype=np.uint64) * np.uint64(GOLDEN)
        bits = mix(child(self.step, site) ^ row)[:, None]
        h = np.arange(columns, dtype=np.uint32) * np.uint32(0x9E3779B9) + bits.astype(np.uint32)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x21F0AAAD) ^ (bits >> np.uint64(32)).astype(np.uint32)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x735A2D97)
        h ^= h >> np.uint32(15)
        kept = h >= np.uint32(int(self.rate * 2**32))
        return torch.from_numpy(kept / np.float32(1 - self.rate))

    def hidden(self, site, x, labelled_only):
        """Rows are tokens that count: padding is no row, and after the last layer's products only labelled ones are."""
        count = torch.zeros(x.shape[:2], dtype=torch.bool)
        for window, length in enumerate(self.lengths):
            count[window, :length] = True
        if labelled_only:
            count = self.labelled
        factors = torch.ones_like(x)
        factors[count] = self.rows(site, 0, int(count.sum()), x.shape[-1])
        return x * factors

    def attention(self, site, weights):
        """Rows are tokens by heads, columns the keys of the token's own window."""
        heads, factors, first = weights.shape[1], torch.ones_like(weights), 0
        for window, length in enumerate(self.lengths):
            drawn = self.rows(site, first, length * heads, length).view(length, heads, length)
            factors[window, :, :length, :length] = drawn.transpose(0, 1)
            first += length * heads
        return weights * factors


class HiddenDropout(torch.nn.Module):
    def __init__(self, masks, site, labelled_only=False):
        super().__init__()
        self.masks, self.site, self.labelled_only = masks, site, labelled_only

    def forward(self, x):
        return self.masks.hidden(self.site, x, self.labelled_only)


def use_masks(model, masks):
    """Puts the masks in place of every nn.Dropout, and of the dropout of attention weights."""
    model.layoutlm.embeddings.dropout = HiddenDropout(masks, 0)
    model.dropout = HiddenDropout(masks, 1, labelled_only=True)
    layers = model.layoutlm.encoder.layer
    for index, layer in enumerate(layers):
        last = index == len(layers) - 1
        layer.attention.self.site = 4 + 4 * index
        layer.attention.output.dropout = HiddenDropout(masks, 5 + 4 * index, labelled_only=last)
        layer.output.dropout = HiddenDropout(masks, 6 + 4 * index, labelled_only=last)

    def attend(module, query, key, value, attention_mask, scaling, **_):
        scores = query @ key.transpose(2, 3) * scaling + attention_mask[:, :, :, : key.shape[2]]
        weights = masks.attention(module.site, softmax(scores, dim=-1))
        return (weights @ value).transpose(1, 2).contiguous(), weights

    model.config._attn_implementation = "eager"
    modeling_layoutlm.eager_attention_forward = attend


def windows_of(snapshot, label2id):
    """Token ids, boxes and targets (the first piece of a word has its label) of every training window."""
    path = os.path.join(snapshot, "train.safetensors")
    tables = load_file(path)
    names = safe_open(path, "pt").metadata()["tags"].split("\n")
    tokens, words = tables["token_offsets"].tolist(), tables["word_offsets"].tolist()
    for i, (start, end) in enumerate(zip(tokens, tokens[1:])):
        tags = tables["tags"][words[i] : words[i + 1]].tolist()
        targets, before = [], None
        for word in tables["word_ids"][start:end].long().tolist():
            labelled = word < len(tags) and word != before
            targets.append(label2id[names[tags[word]]] if labelled else IGNORED)
            before = word
        yield tables["input_ids"][start:end].long(), tables["bbox"][start:end].long(), torch.tensor(targets)


def optimizer_of(model, config):
    decayed, exempt = [], []
    for name, parameter in model.named_parameters():
        (exempt if name.endswith("bias") or "LayerNorm" in name else decayed).append(parameter)
    groups = [dict(params=decayed, weight_decay=config["weight_decay"]), dict(params=exempt, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=config["learning_rate"])


def tensors_of(windows, batch):
    """Token ids, boxes, attention mask and targets of a batch, padded to its longest window."""
    parts = zip(*(windows[i] for i in batch))
    pad = torch.nn.utils.rnn.pad_sequence
    ids, boxes, targets = (pad(part, True, fill) for part, fill in zip(parts, (0, 0, IGNORED)))
    real = torch.tensor([[j < len(windows[i][0]) for j in range(ids.shape[1])] for i in batch])
    return ids, boxes, real.long(), targets


def epochs_of(model, windows, config):
    """Trains, and yields the mean loss after each epoch."""
    masks = Masks(config["seed"], model.config.hidden_dropout_prob)
    use_masks(model, masks)
    model.train()
    lengths = [len(ids) for ids, _, _ in windows]
    plans = [batches_of(lengths, config, epoch) for epoch in range(config["epochs"])]
    steps = sum(map(len, plans))
    optimizer = optimizer_of(model, config)
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(config["warmup_ratio"] * steps), steps)
    step = 0
    for batches in plans:
        losses = []
        for batch in batches:
            ids, boxes, mask, targets = tensors_of(windows, batch)
            masks.start(step, [lengths[i] for i in batch], targets != IGNORED)
            logits = model(input_ids=ids, bbox=boxes, attention_mask=mask).logits
            loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=config["label_smoothing"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config["max_grad_norm"])
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            step += 1
        yield sum(losses) / len(losses)


def model_of(start):
    """The folder's model; its encoder may be stored without the prefix, as BERT's is."""
    model = LayoutLMForTokenClassification(LayoutLMConfig.from_pretrained(start))
    prefixed = ("layoutlm.", "classifier.")
    stored = load_file(os.path.join(start, "model.safetensors")).items()
    weights = {name if name.startswith(prefixed) else "layoutlm." + name: value for name, value in stored}
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert all(".pooler." in name for name in missing), missing
    return model


def main(start, snapshot, run, output):
    config = json.load(open(os.path.join(run, "run.json")))["config"]
    torch.set_num_threads(config["threads"])
    model = model_of(start)
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob > 0, "no dropout to compare"
    windows = list(windows_of(snapshot, model.config.label2id))
    losses = []
    for epoch, loss in enumerate(epochs_of(model, windows, config), 1):
        losses.append(loss)
        folder = os.path.join(output, f"epoch-{epoch}")
        shutil.copytree(os.path.join(run, "best"), folder)  # tokenizer, labels, encoding
        weights = {name: value.contiguous() for name, value in model.state_dict().items() if ".pooler." not in name}
        save_file(weights, os.path.join(folder, "model.safetensors"))
    json.dump(losses, open(os.path.join(output, "losses.json"), "w"))


main(*sys.argv[1:])
