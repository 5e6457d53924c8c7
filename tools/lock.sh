#!/usr/bin/env bash
# Write constraints.txt anew: the newest version of everything segtune and its extras need, for every platform at once.
# torch stays at TORCH (a CPU build of it must exist, see docs/dependencies.md).
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
.venv/bin/python -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet uv
echo "torch==${TORCH:-2.13.0}" >"$scratch/torch.txt"
"$scratch/venv/bin/uv" pip compile pyproject.toml --all-extras --universal --no-header --no-annotate --quiet \
  --constraint "$scratch/torch.txt" --output-file "$scratch/constraints.txt"
# CUDA's own packages are left to torch, which asks for exact versions of them where it needs them; torchvision, which the
# extra edgetam alone brings, must be of torch's own build.
grep -Ev '^(nvidia-|cuda-|triton|torchvision=)' "$scratch/constraints.txt" >constraints.txt
