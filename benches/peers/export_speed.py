"""Exported graphs side by side: every graph runs once, then every graph again, and the medians are compared.

usage: export_speed.py SIZE THREADS SECONDS SHAPES OUT.jsonl NAME=FILE... [torch=FOLDER]

SECONDS is the time for each graph at each shape (at least 5 runs); SHAPES is like 1x64,1x128. Prints a Markdown table of
milliseconds with the share of the GEMM peak, measured in the same process before and after, that each graph reaches.
"""

import os
import sys
import time

size, threads, seconds, shapes, out, *graphs = sys.argv[1:]
threads, seconds = int(threads), float(seconds)
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
# A core for each thread: on a busy machine the kernel may leave two of them on one. And none spins on idly.
os.environ["OMP_WAIT_POLICY"] = "passive"
if threads > 1:
    os.environ["GOMP_CPU_AFFINITY"] = f"0-{threads - 1}"
    os.sched_setaffinity(0, {0})
import json

import numpy as np
import onnx
import onnxruntime as ort
from export_common import inputs, work
from onnx import TensorProto as T
from onnx import helper, numpy_helper

LEAST_RUNS, PEAK_SIZE = 5, 2048


def session(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    if threads > 1:
        others = ";".join(str(cpu) for cpu in range(2, threads + 1))
        options.add_session_config_entry("session.intra_op_thread_affinities", others)
    # The threads of the graph that ran before must not spin on while the next one runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def product(kind):
    """A product of two square matrices in ONNX Runtime, to call."""
    n, random = PEAK_SIZE, np.random.default_rng(0)
    if kind == "fp32":
        weight = numpy_helper.from_array(random.standard_normal((n, n), np.float32), "w")
        x, inits, node = random.standard_normal((n, n), np.float32), [weight], ("MatMul", ["x", "w"])
        types = T.FLOAT, T.FLOAT
    else:
        weight = numpy_helper.from_array(random.integers(-120, 120, (n, n)).astype(np.int8), "w")
        zeros = [numpy_helper.from_array(np.uint8(128), "xz"), numpy_helper.from_array(np.int8(0), "wz")]
        x, inits = random.integers(0, 255, (n, n)).astype(np.uint8), [weight, *zeros]
        node, types = ("MatMulInteger", ["x", "w", "xz", "wz"]), (T.UINT8, T.INT32)
    value = lambda name, kind: helper.make_tensor_value_info(name, kind, [n, n])
    graph = helper.make_graph([helper.make_node(*node, ["y"])], "g", [value("x", types[0])], [value("y", types[1])], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    run = session(model.SerializeToString())
    return lambda: run.run(None, {"x": x})


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peaks(products):
    """Operations per second of each product, the best of some runs."""
    return {kind: 2 * PEAK_SIZE**3 / min(seconds_of(call) for _ in range(7)) for kind, call in products.items()}


def torch_call(folder):
    import torch
    from transformers import LayoutLMForTokenClassification

    torch.set_num_threads(threads)
    network = LayoutLMForTokenClassification.from_pretrained(folder).eval()
    # Some versions refuse this by a missing flag in the constructor though the layers look it up in the table.
    network.config._attn_implementation = "sdpa"

    def make(feed):
        tensors = {name: torch.tensor(value) for name, value in feed.items()}

        def call():
            with torch.inference_mode():
                network(**tensors)

        return call

    return make


def onnx_call(path):
    run = session(path)
    wanted = {i.name for i in run.get_inputs()}

    def make(feed):
        fed = {name: value for name, value in feed.items() if name in wanted}
        return lambda: run.run(None, fed)

    return make


makers = {}
for graph in graphs:
    name, path = graph.split("=", 1)
    makers[name] = torch_call(path) if name == "torch" else onnx_call(path)
products = {kind: product(kind) for kind in ("fp32", "int8")}
peaks(products)
before = peaks(products)
rows, columns = {name: [] for name in makers}, []
for shape in shapes.split(","):
    batch, tokens = map(int, shape.split("x"))
    calls = {name: make(inputs(batch, tokens)) for name, make in makers.items()}
    times, cpu = {name: [] for name in calls}, {name: 0.0 for name in calls}
    for call in calls.values():
        call()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds * len(calls) or len(next(iter(times.values()))) < LEAST_RUNS:
        for name, call in calls.items():
            used = time.process_time()
            times[name].append(seconds_of(call))
            cpu[name] += time.process_time() - used
    columns.append(shape)
    for name, measured in times.items():
        rows[name].append((np.median(measured), min(measured), cpu[name] / len(measured), len(measured), batch, tokens))
after = peaks(products)
peak = {kind: max(before[kind], after[kind]) for kind in before}

print(f"\n{size}, {threads} thread{'s' * (threads > 1)}: median ms (share of the GEMM peak); "
      f"peaks {peak['fp32'] / 1e9:.0f} GFLOP/s fp32, {peak['int8'] / 1e9:.0f} GOP/s int8\n")
print("| graph | " + " | ".join(columns) + " |\n| --- |" + " ---: |" * len(columns))
with open(out, "a", encoding="utf-8") as file:
    for name, row in rows.items():
        kind = "int8" if "int8" in name or "quantize" in name else "fp32"
        cells = []
        for shape, (median, least, used, runs, batch, tokens) in zip(columns, row):
            share = work(size, batch, tokens) / median / peak[kind]
            cells.append(f"{median * 1e3:.2f} ({share:.0%})")
            record = dict(size=size, threads=threads, graph=name, shape=shape, median_ms=median * 1e3, least_ms=least * 1e3,
                          cpu_ms=used * 1e3, runs=runs, share_of_peak=share, peak=peak[kind])
            file.write(json.dumps(record) + "\n")
        print(f"| {name} | " + " | ".join(cells) + " |")
medians = {name: [r[0] for r in row] for name, row in rows.items()}
if {"python export", "ours fp32", "ours int8"} <= medians.keys():
    python_int8 = [n for n in medians if n.startswith("quantize")]
    for title, top, bottom in [
        ("ours fp32 / Python export", medians["ours fp32"], medians["python export"]),
        ("Python export / ours int8", medians["python export"], medians["ours int8"]),
        *([("best Python int8 / ours int8", [min(t) for t in zip(*(medians[n] for n in python_int8))], medians["ours int8"])]
          if python_int8 else []),
    ]:
        print(f"| *{title}* | " + " | ".join(f"{a / b:.2f}" for a, b in zip(top, bottom)) + " |")
