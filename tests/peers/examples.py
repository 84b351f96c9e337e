"""Runs every example of docs/clients.md as it stands, with the server's address and the bundle put in.

usage: examples.py HOST:PORT BUNDLE NODE_FOLDER
"""

import json
import os
import re
import subprocess
import sys
import tempfile

address, bundle, node = sys.argv[1], os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
text = open("docs/clients.md", encoding="utf-8").read()
blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
kinds = [kind for kind, _ in blocks]
assert kinds == ["json", "sh", "python", "ts", "python"], kinds
receipt = json.loads(blocks[0][1])
model = json.load(open(os.path.join(bundle, "manifest.json"), encoding="utf-8"))["source"].get("job_name") or "layoutlm"
programs = os.path.abspath("target/release")

with tempfile.TemporaryDirectory() as folder:
    path = lambda name: os.path.join(folder, name)
    for name in ["receipt.json", "receipt.jsonl"]:
        with open(path(name), "w", encoding="utf-8") as file:
            json.dump(receipt, file)
    os.symlink(bundle, path("bundle"))
    os.symlink(os.path.join(node, "node_modules"), path("node_modules"))
    environment = dict(os.environ, PATH=programs + os.pathsep + os.environ["PATH"])

    def run(*command):
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
        return ran.stdout

    outputs = []
    for number, (kind, code) in enumerate(blocks[1:]):
        code = code.replace("localhost:8080", address).replace('client.infer("layoutlm"', f'client.infer("{model}"')
        name = path(f"example{number}.{ {'sh': 'sh', 'python': 'py', 'ts': 'mts'}[kind] }")
        with open(name, "w", encoding="utf-8") as file:
            file.write(code)
        if kind == "sh":
            outputs.append(run("sh", "-e", name))
        elif kind == "python":
            outputs.append(run(sys.executable, name))
        else:
            tsc = os.path.join(node, "node_modules", ".bin", "tsc")
            strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node"]
            run(tsc, *strict, name)
            outputs.append(run("node", name[: -len("mts")] + "mjs"))

curl, python, typescript, logits = outputs
answer = json.loads(curl)
rows = [(word["text"], word["label"]) for word in answer["words"]]
assert len(rows) == len(receipt["words"]) and answer["arithmetic"]["outcome"], answer
for output in [python, typescript]:
    said = [tuple(line.split()[:2]) for line in output.splitlines()]
    assert said[: len(rows)] == rows, (said, rows)
assert logits.strip().startswith("[["), logits
print(f"{len(outputs)} examples ran and gave the same labels")
