#!/usr/bin/env bash
# Public clients and the examples of docs/clients.md against a running server. Called by run.sh.
#
# usage: clients.sh PYTHON BUNDLE
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1 bundle=$2
node=target/peers-node

"$python" -m pip install -q 'tritonclient[http]==2.73.0' amazon-textract-response-parser==1.0.3 requests==2.34.2
if [ ! -x "$node/node_modules/.bin/tsc" ]; then
  npm install --silent --no-fund --no-audit --prefix "$node" typescript@5.9.3 @types/node@20.19.0
fi

log=$(mktemp)
target/release/layoutlm-server --bundle "$bundle" --port 0 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 300); do
  address=$(sed -n 's|.*ready at http://||p' "$log")
  [ -n "$address" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$address" ] || { echo "the server was not ready within 30 s" >&2; cat "$log" >&2; exit 1; }

echo "== tritonclient"
"$python" tests/peers/open_inference.py "$address" "$bundle"
echo "== Textract's response parser"
"$python" tests/peers/textract.py "$address"
echo "== the examples of docs/clients.md"
"$python" tests/peers/examples.py "$address" "$bundle" "$node"
