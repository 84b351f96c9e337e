"""Keeps the first layers of a Hugging Face encoder, for experiments that must be cheap.

    python3 benches/cut_layers.py FOLDER LAYERS OUTPUT

FOLDER holds config.json, model.safetensors and the tokenizer; OUTPUT gets the same with LAYERS encoder layers.
Needs nothing but Python.
"""

import json
import pathlib
import re
import shutil
import struct
import sys


def cut(tensors: bytes, layers: int) -> bytes:
    (size,) = struct.unpack("<Q", tensors[:8])
    header, data = json.loads(tensors[8 : 8 + size]), tensors[8 + size :]
    kept, blob = {}, bytearray()
    for name, entry in header.items():
        layer = re.search(r"encoder\.layer\.(\d+)\.", name)
        if name == "__metadata__" or (layer and int(layer.group(1)) >= layers):
            continue
        begin, end = entry["data_offsets"]
        kept[name] = {**entry, "data_offsets": [len(blob), len(blob) + end - begin]}
        blob += data[begin:end]
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(blob)


def main() -> None:
    source, layers, target = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.safetensors").write_bytes(cut((source / "model.safetensors").read_bytes(), layers))
    config = json.loads((source / "config.json").read_text())
    config["num_hidden_layers"] = layers
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"]:
        if (source / name).is_file():
            shutil.copy(source / name, target)


if __name__ == "__main__":
    main()
