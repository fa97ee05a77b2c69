#!/usr/bin/env bash
# Build what a release ships into DIR (default: dist/): the wheel, a CycloneDX SBOM of every lock, and their checksums.
# With a second argument, the file of an SSH key, the checksums are signed by it.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist}
key=${2:-}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

mkdir -p "$out"
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet cyclonedx-bom==7.5.0
"$tools/bin/pip" wheel --quiet --no-deps --wheel-dir "$out" .
for lock in requirements/*.lock; do
  "$tools/bin/cyclonedx-py" requirements "$lock" --pyproject pyproject.toml --output-reproducible --validate \
    --output-file "$out/$(basename "$lock" .lock).cdx.json" 2> "$tools/log" || { cat "$tools/log" >&2; exit 1; }
done
(cd "$out" && sha256sum -- *.whl *.cdx.json > SHA256SUMS)
[ -z "$key" ] || ssh-keygen -q -Y sign -f "$key" -n foreserve-release "$out/SHA256SUMS"
echo "$out: $(cut -d' ' -f3 "$out/SHA256SUMS" | tr '\n' ' ')"
