#!/bin/sh
# Lists what is in the server image's root file system, as CycloneDX 1.6 in usr/share/sbom/, inside the build.
#
#   sbom.sh ROOT
#
# syft finds the crates written into the binary and Debian's packages in status.d; ONNX Runtime, which carries no such
# notes, is added by name, version and hash.
set -eu

root=$1
list=$root/usr/share/sbom/layoutlm-server.cdx.json
mkdir -p "$root/usr/share/sbom"
syft scan "dir:$root" --quiet --source-name layoutlm-server -o "cyclonedx-json@1.6=$list.found"

python3 - "$root" "$list.found" "$list" <<'PY'
import glob, hashlib, json, sys

root, found, target = sys.argv[1:]
(library,) = [p for p in glob.glob(root + "/usr/local/lib/libonnxruntime.so.*") if p.count(".") > 2]
version = library.rsplit(".so.", 1)[1]
document = json.load(open(found))
document["components"].append({
    "type": "library",
    "bom-ref": f"pkg:generic/onnxruntime@{version}",
    "name": "onnxruntime",
    "version": version,
    "purl": f"pkg:generic/onnxruntime@{version}",
    "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(open(library, "rb").read()).hexdigest()}],
    "licenses": [{"license": {"id": "MIT"}}],
})
# Files of the build's own folder say nothing to a reader.
document["components"] = [c for c in document["components"] if c["type"] != "file"]
kinds = [c.get("purl", "").split("/")[0] for c in document["components"]]
for kind in ("pkg:cargo", "pkg:deb", "pkg:generic"):
    if kind not in kinds:
        sys.exit(f"sbom: no component of kind {kind}")
json.dump(document, open(target, "w"), indent=1, sort_keys=True)
print(f"sbom: {len(kinds)} components")
PY
rm "$list.found"
