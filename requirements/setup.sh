#!/usr/bin/env bash
# Brings a Debian 12 machine to where `foreserve up` and the tests run: system packages, a virtual environment in .venv,
# the locked Python packages and the project itself. With the argument `tests`, also what only tests use: Alertmanager and
# a browser. Running it again is quick and changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=.venv
stamp=$venv/.installed
started=$SECONDS

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "needs root or sudo to run: $*"
  fi
}

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
  die "needs Python 3.11 (found: $("$python" --version 2>&1)); name it with PYTHON=/path/to/python3.11"

# System packages: Prometheus, the libraries that vLLM's CPU engine links to, and venv support where Python is Debian's own.
wanted=(prometheus libnuma1 libgomp1 libatomic1)
[ "${1:-}" != tests ] || wanted+=(prometheus-alertmanager chromium)
"$python" -c 'import ensurepip' 2>/dev/null || wanted+=(python3-venv)
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || die "install these with your package manager, then run again: ${missing[*]}"
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  # Prometheus is run by `foreserve up` itself; the distribution's service must not start beside it.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    trap 'as_root rm -f "$policy"' EXIT
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

fingerprint=$(cat requirements/local.lock requirements/torch-cpu.lock pyproject.toml requirements/setup.sh | sha256sum | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ]; then
  say "nothing to do ($venv is up to date)"
  exit 0
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
say "installing CPU torch"
if ! "${pip[@]}" install --no-deps -r requirements/torch-cpu.lock 2>/dev/null; then
  "${pip[@]}" install --no-deps --extra-index-url https://download.pytorch.org/whl/cpu -r requirements/torch-cpu.lock
fi
say "installing $(grep -c '^[a-z]' requirements/local.lock) locked packages"
"${pip[@]}" install --no-deps --require-hashes -r requirements/local.lock
say "installing foreserve"
"${pip[@]}" install --no-deps --no-build-isolation --editable .
echo "$fingerprint" >"$stamp"
say "done in $((SECONDS - started)) s"
