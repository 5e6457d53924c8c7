"""The set-up script, run with a stand-in for Python that writes down what it is asked to install."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RECORDER = """#!/usr/bin/env bash
# Stands in for python: makes "virtual environments" of copies of itself and records every pip call.
case "$*" in
  *sys.version_info*) exit ${TOO_OLD:-0} ;;
  "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *importlib.metadata*) [ -n "${TORCH:-}" ] && echo "$TORCH" || exit 1 ;;
  *"pip --disable-pip-version-check install"*)
    all="$*"
    echo "${all#-m pip --disable-pip-version-check }" >>"$CALLS"
    case "$*" in *--no-index*) exit ${NO_WHEEL:-0} ;; *--index-url*) exit ${NO_INDEX:-0} ;; esac ;;
esac
"""

GPU = "#!/bin/sh\necho 'GPU 0: NVIDIA'\n"
NO_GPU = "#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate with the driver' >&2\nexit 9\n"


class Machine:
    """A checkout on a machine with or without a GPU, whose set-up can be run."""

    def __init__(self, folder: Path, checkout: Path, *, gpu: bool) -> None:
        self.root = folder / "checkout with a space"
        (self.root / "tools").mkdir(parents=True)
        for name in ("pyproject.toml", "constraints.txt", "tools/setup.sh"):
            shutil.copy(checkout / name, self.root / name)
        self.commands = folder / "bin"
        self.commands.mkdir()
        self._command("python3", RECORDER)
        self._command("nvidia-smi", GPU if gpu else NO_GPU)
        self.calls = folder / "calls"

    def _command(self, name: str, text: str) -> None:
        path = self.commands / name
        path.write_text(text)
        path.chmod(0o755)

    def set_up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script and forget the calls of earlier times."""
        self.calls.write_text("")
        path = f"{self.commands}{os.pathsep}/usr/bin{os.pathsep}/bin"
        return subprocess.run(
            [self.root / "tools" / "setup.sh"],
            env={"PATH": path, "CALLS": str(self.calls), **environment},
            capture_output=True,
            text=True,
        )

    @property
    def installed(self) -> list[str]:
        """The pip calls of the last set-up."""
        return self.calls.read_text().splitlines()


@pytest.fixture
def without_gpu(tmp_path: Path, checkout: Path) -> Machine:
    """A machine whose driver does not answer."""
    return Machine(tmp_path, checkout, gpu=False)


@pytest.fixture
def with_gpu(tmp_path: Path, checkout: Path) -> Machine:
    """A machine with an NVIDIA GPU."""
    return Machine(tmp_path, checkout, gpu=True)


def torch_version(checkout: Path) -> str:
    """Return the version that is pinned."""
    lines = (checkout / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith("torch==")).removeprefix("torch==")


def test_without_gpu_a_local_wheel_comes_first(without_gpu: Machine, checkout: Path) -> None:
    """A wheel that pip has been told of is taken, no index is asked for torch, and the project follows."""
    assert without_gpu.set_up().returncode == 0
    wheel, project = without_gpu.installed
    assert wheel == f"install --no-index --no-deps torch=={torch_version(checkout)}"
    assert project == "install -c constraints.txt -e .[dev]"


def test_without_gpu_and_wheel_the_cpu_index_is_asked(without_gpu: Machine) -> None:
    """Torch comes from the index of CPU builds, without its dependencies, before anything else is installed."""
    assert without_gpu.set_up(NO_WHEEL="1").returncode == 0
    _, from_index, project = without_gpu.installed
    assert "--index-url https://download.pytorch.org/whl/cpu" in from_index
    assert "--no-deps --retries 1" in from_index
    assert "-e .[dev]" in project


def test_without_gpu_cuda_is_never_fetched_unasked(without_gpu: Machine) -> None:
    """Where no CPU build can be had, the set-up stops with the ways out instead of taking 3 GB of CUDA."""
    result = without_gpu.set_up(NO_WHEEL="1", NO_INDEX="1")
    assert result.returncode == 1
    assert "ANY_TORCH=1" in result.stderr
    assert not any("-e ." in call for call in without_gpu.installed)


def test_any_torch_on_request(without_gpu: Machine) -> None:
    """Whoever asks for it gets what the package index has."""
    assert without_gpu.set_up(ANY_TORCH="1").returncode == 0
    assert without_gpu.installed == ["install -c constraints.txt -e .[dev]"]


def test_with_gpu_the_cuda_build_is_asked_for(with_gpu: Machine, checkout: Path) -> None:
    """The exact version shuts out a local CPU wheel, which pip would take for the newer one."""
    assert with_gpu.set_up().returncode == 0
    torch, project = with_gpu.installed
    assert torch == f"install -c constraints.txt torch==={torch_version(checkout)}"
    assert "-e .[dev]" in project


def test_with_gpu_a_cpu_build_is_replaced(with_gpu: Machine) -> None:
    """A GPU that came later gets its build; a CUDA build that is there stays."""
    assert with_gpu.set_up(TORCH="2.13.0+cpu").returncode == 0
    assert "torch===" in with_gpu.installed[0]
    (with_gpu.root / ".venv" / ".set-up").unlink()
    assert with_gpu.set_up(TORCH="2.13.0").returncode == 0
    assert len(with_gpu.installed) == 1


def test_nothing_happens_the_second_time(without_gpu: Machine) -> None:
    """The second set-up installs nothing, until the project's needs change."""
    without_gpu.set_up()
    assert without_gpu.set_up(TORCH="2.13.0+cpu").returncode == 0
    assert without_gpu.installed == []
    with (without_gpu.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    without_gpu.set_up(TORCH="2.13.0+cpu")
    assert without_gpu.installed == ["install -c constraints.txt -e .[dev]"]


def test_an_interrupted_set_up_is_taken_up_again(without_gpu: Machine) -> None:
    """A failure leaves no mark of success behind."""
    assert without_gpu.set_up(NO_WHEEL="1", NO_INDEX="1").returncode == 1
    assert without_gpu.set_up().returncode == 0
    assert len(without_gpu.installed) == 2


def test_an_old_python_is_refused(without_gpu: Machine) -> None:
    """The message says which version is needed and how to name one."""
    result = without_gpu.set_up(TOO_OLD="1", PYTHON="python3")
    assert result.returncode == 1
    assert "Python 3.11" in result.stderr
    assert "PYTHON=" in result.stderr


def test_constraints_are_versions_alone(checkout: Path) -> None:
    """No addresses, no CUDA packages, and no torchvision, which breaks transformers beside a CPU torch."""
    for line in (checkout / "constraints.txt").read_text().splitlines():
        name = line.split("==")[0]
        assert "==" in line
        assert "/" not in line
        assert name != "torchvision"
        assert not name.startswith(("nvidia", "cuda", "triton"))
