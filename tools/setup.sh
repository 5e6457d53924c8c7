#!/usr/bin/env bash
# Set up .venv with segtune and everything its tests need; nothing is done when nothing has changed since the last time.
#
#   PYTHON=python3.12 tools/setup.sh     choose the interpreter (3.11 or newer)
#   ANY_TORCH=1 tools/setup.sh           take whichever torch the package index gives, CUDA or not
#
# Without an NVIDIA GPU the CPU build of torch is installed first, so that pip has no reason to fetch the CUDA one
# (3 GB); with one, the CUDA build is asked for by its exact version.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.set-up
cpu_index=https://download.pytorch.org/whl/cpu

main() {
  local torch_version device key
  torch_version=$(sed -n 's/^torch==\([^ ;]*\).*/\1/p' constraints.txt)
  device=$(device_kind)
  key="$device ${ANY_TORCH:-} $PWD $(cat pyproject.toml constraints.txt tools/setup.sh | cksum)"
  if [ -x $venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$key" ]; then
    return
  fi

  rm -f $stamp
  if ! $venv/bin/python -c '' 2>/dev/null; then
    make_venv
  fi
  install_torch "$device" "$torch_version"
  pip install -c constraints.txt -e ".[dev]"
  printf '%s\n' "$key" >$stamp
}

# An answering driver counts, not the mere presence of the command.
device_kind() {
  if nvidia-smi -L 2>/dev/null | grep -q GPU; then echo cuda; else echo cpu; fi
}

make_venv() {
  local python
  python=$(find_python)
  say "Making $venv with $("$python" --version)"
  "$python" -m venv $venv || fail "$python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "segtune needs Python 3.11 or newer, and none of these is: ${PYTHON:-python3 python3.11 … python3.14}. Install one, or name it: PYTHON=/path/to/python make setup"
}

install_torch() {
  local device=$1 version=$2 present
  present=$($venv/bin/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
  if [ "${ANY_TORCH:-}" = 1 ]; then
    return
  elif [ "$device" = cuda ]; then
    # `===` compares letter by letter: `==` would let a CPU build (2.13.0+cpu) count as the newer of the two.
    case $present in "" | *+cpu) pip install -c constraints.txt "torch===$version" ;; esac
  elif [ -z "$present" ] && [ "$(uname -s)" = Linux ]; then
    install_cpu_torch "$version"
  fi
}

# A wheel that pip has been told of (find-links), else PyTorch's own index of CPU builds.
install_cpu_torch() {
  pip install --no-index --no-deps "torch==$1" >/dev/null 2>&1 && return
  pip install --no-deps --retries 1 --index-url "$cpu_index" "torch==$1" && return
  fail "The CPU build of torch $1 is neither in pip's find-links nor could it be had from $cpu_index, and without an NVIDIA GPU the CUDA build (3 GB) is not fetched unasked. Reach that address, give pip a wheel (PIP_FIND_LINKS=FOLDER make setup), or take whatever the package index has: ANY_TORCH=1 make setup"
}

pip() { $venv/bin/python -m pip --disable-pip-version-check "$@"; }
say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

main
