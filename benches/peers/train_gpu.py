#!/usr/bin/env python3
"""Hugging Face Trainer on one graphics card, over the windows of a frozen data set.

    train_gpu.py peak
    train_gpu.py windows SNAPSHOT
    train_gpu.py {as-run|tuned} SNAPSHOT MODEL OUTPUT BATCH EPOCHS LEARNING_RATE

`peak` measures the card's bf16 matrix rate. `as-run` pads every window to 512 tokens, recomputes activations and trains in
fp16; `tuned` pads to the longest of a batch of similar lengths and trains in bf16 with scaled-dot-product attention, the fused
AdamW and torch.compile. The model is written to OUTPUT beside MODEL's tokenizer, so that both are scored by the same program.
Prints one JSON object.
"""
import json
import os
import shutil
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

NO_WORD = 2**32 - 1


def read(snapshot, part):
    """Windows of a part as lists: input_ids, bbox, and the tag of each word's first token."""
    from safetensors import safe_open

    with safe_open(os.path.join(snapshot, part + ".safetensors"), "np") as file:
        tags = file.metadata()["tags"].split("\n")
        column = {name: file.get_tensor(name) for name in file.keys()}
    windows = []
    tokens, words = column["token_offsets"], column["word_offsets"]
    for i in range(len(tokens) - 1):
        span = slice(tokens[i], tokens[i + 1])
        own = [tags[t] for t in column["tags"][words[i]:words[i + 1]]]
        labels, seen = [], NO_WORD
        for word in column["word_ids"][span].tolist():
            first = word != NO_WORD and word != seen
            labels.append(own[word] if first and word < len(own) else None)
            seen = word
        boxes = column["bbox"][span].reshape(-1, 4).tolist()
        windows.append(dict(input_ids=column["input_ids"][span].tolist(), bbox=boxes, tags=labels))
    return windows


def peak():
    """Teraflops of bf16 products of 8192 square, the best of ten rounds."""
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 10 * 2 * 8192**3 / (time.perf_counter() - start) / 1e12)
    return dict(card=torch.cuda.get_device_name(), torch=torch.__version__, bf16_tflops=round(best, 1))


def collate(pad_to, pad_id):
    """Pads windows to `pad_to` tokens, or to the longest of the batch, rounded up to 8."""
    import torch

    def pad(batch):
        length = pad_to or -(-max(len(w["input_ids"]) for w in batch) // 8) * 8
        rows = {
            "input_ids": [w["input_ids"] + [pad_id] * (length - len(w["input_ids"])) for w in batch],
            "bbox": [w["bbox"] + [[0, 0, 0, 0]] * (length - len(w["bbox"])) for w in batch],
            "attention_mask": [[1] * len(w["input_ids"]) + [0] * (length - len(w["input_ids"])) for w in batch],
            "labels": [w["labels"] + [-100] * (length - len(w["labels"])) for w in batch],
        }
        return {name: torch.tensor(values) for name, values in rows.items()}

    return pad


def train(mode, snapshot, source, output, batch, epochs, rate):
    import torch
    from transformers import LayoutLMForTokenClassification, Trainer, TrainerCallback, TrainingArguments, set_seed

    set_seed(42)
    model = LayoutLMForTokenClassification.from_pretrained(source)
    ids = {tag: int(i) for i, tag in model.config.id2label.items()}
    windows = read(snapshot, "train")
    for window in windows:
        window["labels"] = [-100 if tag is None else ids[tag] for tag in window.pop("tags")]
        window["length"] = len(window["input_ids"])
    tuned = mode == "tuned"
    if tuned:
        # Some versions refuse this in the constructor though the layers look it up in the table.
        model.config._attn_implementation = "sdpa"
    torch.backends.cuda.matmul.allow_tf32 = True
    arguments = TrainingArguments(
        output_dir=output + ".work", num_train_epochs=epochs, per_device_train_batch_size=batch, learning_rate=rate,
        weight_decay=0.01, warmup_ratio=0.1, lr_scheduler_type="linear", max_grad_norm=1.0, seed=42,
        save_strategy="no", report_to=[], logging_steps=50, disable_tqdm=True, remove_unused_columns=False,
        fp16=not tuned, bf16=tuned, gradient_checkpointing=not tuned, torch_compile=tuned, tf32=True,
        optim="adamw_torch_fused" if tuned else "adamw_torch", group_by_length=True, length_column_name="length",
        dataloader_num_workers=2 if tuned else 0, dataloader_pin_memory=True,
    )
    seconds = []

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *_, **__):
            torch.cuda.synchronize()
            self.start = time.perf_counter()

        def on_epoch_end(self, *_, **__):
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - self.start)

    pad = collate(None if tuned else 512, model.config.pad_token_id)
    torch.cuda.reset_peak_memory_stats()
    Trainer(model=model, args=arguments, train_dataset=windows, data_collator=pad, callbacks=[Clock()]).train()
    shutil.copytree(source, output, dirs_exist_ok=True)
    model.save_pretrained(output)
    return dict(seconds=seconds, peak_mib=torch.cuda.max_memory_allocated() >> 20)


def main():
    mode, rest = sys.argv[1], sys.argv[2:]
    if mode == "peak":
        answer = peak()
    elif mode == "windows":
        lengths = [len(w["input_ids"]) for w in read(rest[0], "train")]
        answer = dict(windows=len(lengths), tokens=sum(lengths), squares=sum(n * n for n in lengths))
    else:
        snapshot, source, output, batch, epochs, rate = rest
        answer = train(mode, snapshot, source, output, int(batch), int(epochs), float(rate))
    print(json.dumps(answer), flush=True)


main()
