"""Makes what is measured, one step to a process so that its memory can be told.

usage: export_make.py model SIZE FOLDER        a Hugging Face folder with random weights
       export_make.py export FOLDER OUT.onnx   torch.onnx.export, opset 17, symbolic batch and length
       export_make.py optimize SIZE IN OUT     onnxruntime.transformers.optimizer
       export_make.py quantize IN OUT MODE     quantize_dynamic; MODE: default or qint8-per-channel
"""

import logging
import os
import sys
import time
import warnings

from export_common import LABELS, SIZES, inputs, peak_mib, say

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def model(size, folder):
    import torch
    from transformers import BertTokenizerFast, LayoutLMConfig, LayoutLMForTokenClassification

    torch.manual_seed(3)
    ids = dict(enumerate(LABELS))
    config = LayoutLMConfig(vocab_size=30522, max_2d_position_embeddings=1024, id2label=ids,
                            label2id={l: i for i, l in ids.items()}, **SIZES[size])
    network = LayoutLMForTokenClassification(config).eval()
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "LayerNorm.weight" in name:
                p.copy_(1 + 0.1 * torch.randn(p.shape))
            elif p.dim() == 1 or "embeddings" in name:
                p.copy_(0.05 * torch.randn(p.shape))
            else:
                p.copy_(torch.randn(p.shape) / p.shape[1] ** 0.5)
    network.save_pretrained(folder)
    # Receipts' words are not needed for speed: pieces with numbers stand for a vocabulary of the usual size.
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(33, 127)] + [f"##{chr(c)}" for c in range(33, 127)]
    vocab = special + letters + [f"word{i}" for i in range(30522 - len(special) - len(letters))]
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(vocab) + "\n")
    BertTokenizerFast(os.path.join(folder, "vocab.txt")).save_pretrained(folder)


def export(folder, out):
    import torch
    from transformers import LayoutLMForTokenClassification

    network = LayoutLMForTokenClassification.from_pretrained(folder, attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, input_ids, bbox, attention_mask, token_type_ids):
            return self.network(input_ids=input_ids, bbox=bbox, attention_mask=attention_mask,
                                token_type_ids=token_type_ids).logits

    feed = {name: torch.tensor(value) for name, value in inputs(2, 48).items()}
    feed["attention_mask"][1, 30:] = 0
    names = ["input_ids", "bbox", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "sequence"} for name in [*names, "logits"]}
    torch.onnx.export(Logits(), tuple(feed[n] for n in names), out, input_names=names, output_names=["logits"],
                      dynamic_axes=axes, opset_version=17, dynamo=False, do_constant_folding=True)


def optimize(size, source, out):
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    c = SIZES[size]
    made = optimizer.optimize_model(source, model_type="bert", num_heads=c["num_attention_heads"],
                                    hidden_size=c["hidden_size"], optimization_options=FusionOptions("bert"))
    made.save_model_to_file(out)


def quantize(source, out, mode):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if mode == "default":
        quantize_dynamic(source, out)
    else:
        quantize_dynamic(source, out, weight_type=QuantType.QInt8, per_channel=True)


if __name__ == "__main__":
    start = time.perf_counter()
    {"model": model, "export": export, "optimize": optimize, "quantize": quantize}[sys.argv[1]](*sys.argv[2:])
    say(step=" ".join(sys.argv[1:2] + sys.argv[4:5]), seconds=round(time.perf_counter() - start, 1), peak_mib=peak_mib())
