"""Our image beside Python's, in one run: size, time to the first answer, warm answers, receipts/s and memory.

    make bench-docker            builds all images and prints the tables
    compare.py --images ours-int8,ours-fp32,onnxruntime,torch --cpus 1,2 --output target/bench-docker

The model is base size with random weights and a real vocabulary, the same weights for everybody; receipts are SROIE's
when $LAYOUTLM_SHARED is there. Standard library only, but for making the model (torch, transformers, onnx: --python).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
MB = 1e6
# More options of `docker run`, e.g. --cgroup-parent on a machine whose other containers are held back.
EXTRA = os.environ.get("DOCKER_RUN_OPTIONS", "").split()


def sh(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


def receipts():
    path = pathlib.Path(os.environ.get("LAYOUTLM_SHARED", ROOT.parent / "shared")) / "data/sroie/test.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for receipt in found:
        for word in receipt["words"]:
            word.pop("label", None)
    return [json.dumps(r).encode() for r in found]


def build(name, work):
    """Builds an image; its name in the engine."""
    tag = f"layoutlm-bench-{name}"
    if name.startswith("ours"):
        bundle = work / "bundles" / name.removeprefix("ours-")
        sh("docker", "build", "-q", "-f", ROOT / "docker/bundle.Dockerfile", "-t", tag, bundle)
    else:
        context = work / name
        sh("cp", HERE / "peer_server.py", context)
        sh("docker", "build", "-q", "-f", HERE / f"{name}.Dockerfile", "-t", tag, context)
    return tag


def size(tag):
    """MB on disk and compressed as a registry would keep it."""
    disk = int(sh("docker", "image", "inspect", "--format", "{{.Size}}", tag)) / MB
    packed = int(sh("bash", "-c", f"set -o pipefail; docker save {tag} | gzip -4 | wc -c")) / MB
    return disk, packed


class Running:
    def __init__(self, tag, cpus, memory):
        self.begun = time.monotonic()
        limits = ["--cpus", cpus, "--memory", memory, "--memory-swap", memory]
        self.id = sh("docker", "run", "-d", "-p", "127.0.0.1::8080", *limits, *EXTRA, tag)
        self.base = "http://" + sh("docker", "port", self.id, "8080/tcp").splitlines()[0]

    def ask(self, body):
        request = urllib.request.Request(self.base + "/v1/classify", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def first(self, body, limit=180):
        while True:
            try:
                self.ask(body)
                return time.monotonic() - self.begun
            except (urllib.error.URLError, ConnectionError, OSError):
                if time.monotonic() - self.begun > limit or sh("docker", "inspect", "-f", "{{.State.Running}}", self.id) != "true":
                    raise SystemExit(f"no answer: {sh('docker', 'logs', '--tail', '20', self.id)}")
                time.sleep(0.01)

    def peak(self):
        """The most resident memory that the container's main process had, in MB."""
        pid = sh("docker", "inspect", "-f", "{{.State.Pid}}", self.id)
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return next(int(l.split()[1]) for l in status.splitlines() if l.startswith("VmHWM")) / 1000

    def __enter__(self):
        return self

    def __exit__(self, *_):
        sh("docker", "rm", "-f", "-v", self.id)


def load(server, bodies, clients, seconds):
    """Receipts per second of so many callers who ask again as soon as they are answered."""
    until, begun = time.monotonic() + seconds, time.monotonic()

    def caller(start):
        count = 0
        while time.monotonic() < until:
            server.ask(bodies[(start + count * clients) % len(bodies)])
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        answered = sum(pool.map(caller, range(clients)))
    return answered / (time.monotonic() - begun)


def measure(tag, cpus, bodies, options):
    with Running(tag, cpus, options.memory) as server:
        first = server.first(bodies[0])
        warm = []
        for body in bodies[1 : options.warm + 1]:
            begun = time.monotonic()
            server.ask(body)
            warm.append(time.monotonic() - begun)
        idle = server.peak()
        rate = load(server, bodies, options.clients, options.seconds)
        return {"cpus": cpus, "first_s": first, "warm_ms": statistics.median(warm) * 1e3, "one_caller_mb": idle,
                "receipts_per_s": rate, "loaded_mb": server.peak()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="ours-int8,ours-fp32,onnxruntime,torch")
    parser.add_argument("--cpus", default="1,2,4")
    parser.add_argument("--memory", default="4g")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--warm", type=int, default=15)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "target/bench-docker")
    options = parser.parse_args()
    bodies = receipts()
    names = options.images.split(",")
    tags = {name: build(name, options.output) for name in names}
    found = {}
    print("| image | MB | compressed MB |\n|---|---:|---:|")
    for name, tag in tags.items():
        disk, packed = size(tag)
        found[name] = {"mb": disk, "compressed_mb": packed, "runs": []}
        print(f"| {name} | {disk:.0f} | {packed:.0f} |", flush=True)
    print("\n| vCPU | image | first answer s | warm ms | receipts/s | peak MB, one caller | peak MB, loaded |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for cpus in options.cpus.split(","):
        for name, tag in tags.items():
            # Once for the page cache, as after a pull; then what counts.
            with Running(tag, cpus, options.memory) as server:
                server.first(bodies[0])
            r = measure(tag, cpus, bodies, options)
            found[name]["runs"].append(r)
            print(f"| {cpus} | {name} | {r['first_s']:.2f} | {r['warm_ms']:.0f} | {r['receipts_per_s']:.2f} "
                  f"| {r['one_caller_mb']:.0f} | {r['loaded_mb']:.0f} |", flush=True)
    (options.output / "compare.json").write_text(json.dumps(found, indent=1))


main()
