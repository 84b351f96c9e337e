"""Checks the files that deploy, beyond their syntax. Run by scripts/lint-deploy.sh.

Dockerfiles: bases pinned by a tag that is no `latest`, nothing fetched by ADD, a user without privileges, an entry point
and a health check without a shell. Task definition: as cfn-lint sees it, and equal to the template's where both speak of
the same thing. Compose: the specification's own model, unknown keys refused, images pinned. Dashboard: every panel has a
query and a title.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml
from compose_spec import ComposeSpecification, Service
from dockerfile_parse import DockerfileParser

ROOT = pathlib.Path(__file__).parent
failures = []


def check(holds, message):
    if not holds:
        failures.append(message)


def pinned(image):
    """True for name:tag with a tag that is meant to stay, and for names that a build argument brings."""
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    return "@sha256:" in image or (tag != "" and tag != "latest")


def dockerfile(path):
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "Dockerfile"
        copy.write_text(path.read_text())
        steps = DockerfileParser(str(copy)).structure
    defaults, stages, last = {}, {"scratch"}, []
    for step in steps:
        kind, value = step["instruction"], step["value"]
        where = f"{path.name}:{step['startline'] + 1}"
        if kind == "ARG" and "=" in value:
            name, default = value.split("=", 1)
            defaults.setdefault(name, default.strip('"'))
        elif kind == "FROM":
            parts = value.split()
            image = re.sub(r"\$\{(\w+)\}", lambda m: defaults.get(m[1], ""), parts[0])
            own = image.startswith("layoutlm-server")
            check(image in stages or own or pinned(image), f"{where}: {image!r} is not pinned by a tag")
            stages.update(parts[2:3] if len(parts) > 2 else [])
            last = []
        check(kind != "ADD", f"{where}: ADD may fetch what nobody checked; use COPY")
        check("--mount" not in value and "<<" not in value, f"{where}: the classic builder can't do this")
        last.append((kind, value))
    return last


def program(path, user=None):
    """An image that runs one program without a shell; as `user`, if said, and then with a health check."""
    last = dict(dockerfile(path))
    check(isinstance(json.loads(last.get("ENTRYPOINT", '""')), list), f"{path.name}: the entry point goes through a shell")
    if user:
        check(last.get("USER", "").split(":")[0] == user, f"{path.name}: the user is {last.get('USER')!r}, expected {user}")
        command = last.get("HEALTHCHECK", "").partition("CMD ")[2]
        check(command.startswith("["), f"{path.name}: the health check goes through a shell")


def pascal(value):
    """The API's names (camelCase) as CloudFormation's (PascalCase); a log driver's options keep theirs."""
    if isinstance(value, list):
        return [pascal(v) for v in value]
    if isinstance(value, dict):
        return {k[0].upper() + k[1:]: v if k == "options" else pascal(v) for k, v in value.items()}
    return value


class Template(yaml.SafeLoader):
    """CloudFormation's YAML; !Ref and its kin become {tag: value}."""


def tagged(loader, suffix, node):
    read = {"scalar": loader.construct_scalar, "sequence": loader.construct_sequence, "mapping": loader.construct_mapping}
    value = read[node.id](node) if node.id == "scalar" else read[node.id](node, deep=True)
    return {suffix: value}


Template.add_multi_constructor("!", tagged)


def task_definition(cfn_lint):
    task = json.loads((ROOT / "fargate/task-definition.json").read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        resource = {"Type": "AWS::ECS::TaskDefinition", "Properties": pascal(task)}
        json.dump({"Resources": {"Task": resource}}, file)
        file.flush()
        done = subprocess.run([cfn_lint, file.name], capture_output=True, text=True)
        check(done.returncode == 0, f"task-definition.json: {done.stdout}{done.stderr}")
    template = yaml.load((ROOT / "fargate/service.yaml").read_text(), Template)
    server = template["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0]
    mine = pascal(task["containerDefinitions"][0])
    for field in ("User", "ReadonlyRootFilesystem", "HealthCheck", "StopTimeout", "PortMappings", "MountPoints"):
        check(mine[field] == server[field], f"task-definition.json: {field} differs from service.yaml")
    drain = {e["Name"]: e["Value"] for e in mine["Environment"]}["LAYOUTLM_DRAIN_SECONDS"]
    check(mine["StopTimeout"] > int(drain), "task-definition.json: stopTimeout must be longer than the drain")


def compose(path):
    document = yaml.safe_load(path.read_text())
    ComposeSpecification.model_validate(document)
    known = {f.alias or name for name, f in Service.model_fields.items()}
    for name, service in document["services"].items():
        check(not set(service) - known, f"{path.name}: {name} has unknown keys {set(service) - known}")
        image = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"])
        check(image == "layoutlm-server:latest" or pinned(image), f"{path.name}: {image!r} is not pinned")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                check((path.parent / source).exists(), f"{path.name}: {name} mounts {source}, which is not there")


def dashboard(path):
    for panel in json.loads(path.read_text())["panels"]:
        if panel["type"] != "row":
            check(panel.get("title") and panel.get("targets"), f"{path.name}: panel {panel.get('id')} shows nothing")
            check(all(t.get("expr") for t in panel["targets"]), f"{path.name}: {panel['title']} has an empty query")


program(ROOT / "inference.Dockerfile", user="10001")
program(ROOT / "trainer.Dockerfile")
dockerfile(ROOT / "bundle.Dockerfile")
task_definition(sys.argv[1])
compose(ROOT / "compose.yaml")
for found in (ROOT / "grafana/dashboards").glob("*.json"):
    dashboard(found)
for failure in failures:
    print(failure, file=sys.stderr)
sys.exit(bool(failures))
