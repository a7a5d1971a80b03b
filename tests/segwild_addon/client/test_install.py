"""An environment is made from local wheels, gone on with after a cancel, and never where it must not be."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from segwild_addon.client import install
from segwild_addon.client.install import Installer, Plan, environment_python, inspected, installed, steps
from segwild_addon.protocol import codec
from segwild_addon.protocol.errors import ProtocolError, SetupError

ROOT = Path(__file__).parents[3]


def wheel(folder: Path, name: str, files: dict[str, str], version: str = "1.0") -> None:
    """A package of a few lines."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, *metadata, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        for path, text in (metadata | files | {f"{info}/RECORD": record}).items():
            file.writestr(path, text)


def segwild_wheel(folder: Path, protocol: int = codec.VERSION) -> None:
    files = {
        "backend/__init__.py": "",
        "segwild_addon/__init__.py": "",
        "segwild_addon/protocol/__init__.py": "",
        "segwild_addon/protocol/codec.py": f"VERSION = {protocol}\n",
    }
    wheel(folder, "segwild", files)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    wheels = tmp_path / "wheels"
    wheel(wheels, "tinytorch", {"tinytorch.py": ""})
    segwild_wheel(wheels)
    return Plan(tmp_path / "Backend of mine", Path(sys.executable), torch=("tinytorch==1.*",), wheels=wheels)


def carried_out(plan: Plan, *, online: bool = False) -> Installer:
    installer = Installer(plan, online=online)
    installer.start()
    assert installer.wait(90)
    return installer


def broken_python(folder: Path, name: str = "python3.13") -> Path:
    """Something that bears a Python's name and only says that another has to be chosen."""
    script = folder / name
    script.write_text("#!/bin/sh\necho choose a version >&2\nexit 127\n")
    script.chmod(0o755)
    return script


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
def test_the_first_python_that_works_makes_the_environment(plan: Plan, tmp_path: Path) -> None:
    broken = broken_python(tmp_path)
    tried = replace(plan, python=broken, others=(tmp_path / "missing", Path(sys.executable)))
    installer = carried_out(tried)
    assert installer.status.state == "stopped", installer.status
    assert installed(plan.folder) is not None
    again = carried_out(replace(plan, folder=tmp_path / "other", python=broken))
    assert again.status.state == "failed"
    assert again.status.code == "no-python"
    assert str(broken) in again.status.sentence
    assert not (tmp_path / "other").exists()


def test_it_is_made_offline_cancelled_and_gone_on_with(plan: Plan, wait_until) -> None:
    before = (Path(sys.prefix) / "lib").stat().st_mtime_ns if (Path(sys.prefix) / "lib").exists() else 0
    states = []
    first = Installer(plan, online=False, told=states.append)
    first.start()
    wait_until(lambda: any("Step 1" in status.sentence for status in states))
    first.cancel()
    assert first.status.state == "absent"
    assert "cancelled" in first.status.sentence
    assert installed(plan.folder) is None

    (plan.wheels / "tinytorch-1.0-py3-none-any.whl").rename(plan.folder / "away.whl")  # type: ignore[operator]
    second = carried_out(plan)
    assert second.status.state == "failed"
    assert second.status.code == "no-distribution"
    assert str(plan.log) in second.status.sentence
    assert "tinytorch" in plan.log.read_text()

    (plan.folder / "away.whl").rename(plan.wheels / "tinytorch-1.0-py3-none-any.whl")  # type: ignore[operator]
    made = environment_python(plan.folder).lstat().st_mtime_ns
    third = carried_out(plan)
    assert third.status.state == "stopped", third.status
    assert environment_python(plan.folder).lstat().st_mtime_ns == made  # the first step was not done again
    assert third.result is not None
    assert third.result.version == "1.0"
    assert installed(plan.folder) == third.result
    where = subprocess.run([third.result.python, "-c", "import tinytorch; print(tinytorch.__file__)"], **TEXT)
    assert str(plan.folder) in where.stdout
    after = (Path(sys.prefix) / "lib").stat().st_mtime_ns if before else 0
    assert after == before
    assert inspected(third.result.python).version == "1.0"


KILLED = """
import sys
from pathlib import Path
from segwild_addon.client.install import Installer, Plan
folder, wheels = (Path(word) for word in sys.argv[1:])
installer = Installer(Plan(folder, Path(sys.executable), torch=("tinytorch==1.*",), wheels=wheels), online=False)
installer.start()
installer.wait(90)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_kill_in_the_middle_of_a_package_leaves_no_process_and_no_half_package(plan: Plan, wait_until) -> None:
    assert plan.wheels is not None
    many = {f"tinytorch/part{number:04}.py": f"VALUE = {number}" for number in range(4000)}
    (plan.wheels / "tinytorch-1.0-py3-none-any.whl").unlink()
    wheel(plan.wheels, "tinytorch", {"tinytorch/__init__.py": "", **many})
    site = plan.folder / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "tinytorch"
    installer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(plan.folder), str(plan.wheels)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(lambda: (site / "part0100.py").exists(), 60)
    finally:
        installer.kill()
        installer.wait()
    wait_until(lambda: not processes_in(plan.folder), 5)
    assert installed(plan.folder) is None
    half = len(list(site.glob("part*.py")))
    assert half < len(many), "it had ended before the kill"
    resumed = carried_out(plan)
    assert resumed.status.state == "stopped", resumed.status
    assert len(list(site.glob("part*.py"))) == len(many)
    assert resumed.result is not None
    words = [resumed.result.python, "-I", "-c", "import tinytorch.part3999 as last; print(last.VALUE)"]
    assert subprocess.run(words, **TEXT).stdout.strip() == "3999"


def processes_in(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode(errors="replace")
                if str(folder) in words:
                    found.append(words)
    return found


TEXT = {"capture_output": True, "text": True, "timeout": 30}


def test_a_backend_of_another_version_is_said(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "VERSION", 7)
    with pytest.raises((ProtocolError, SetupError)) as caught:
        inspected(Path(sys.executable))
    if isinstance(caught.value, ProtocolError):
        assert "version 7" in caught.value.sentence


@pytest.mark.parametrize(
    ("build", "index", "package"),
    [("cpu", "https://download.pytorch.org/whl/cpu", "segwild"), ("cuda", "/whl/cu130", "segwild[cuda]")],
)
def test_the_commands_of_each_build(tmp_path: Path, build, index: str, package: str) -> None:
    plan = Plan(tmp_path / "b", Path("python3.11"), build)
    names = [step.name for step in steps(plan)]
    assert names == ["environment", "pip", "torch", "segwild"]
    environment, *pips = (step.command for step in steps(plan))
    assert environment[0] == "python3.11"
    python = str(environment_python(plan.folder))
    for command in pips:
        assert command[:4] == (python, "-I", "-m", "pip")
        assert "--require-virtualenv" in command
    torch = pips[1]
    assert torch[torch.index("--index-url") + 1].endswith(index)
    assert torch[-2:] == install.TORCH
    assert pips[2][-1] == package
    assert "--index-url" not in pips[2]


def test_offline_nothing_is_asked_of_an_index(plan: Plan) -> None:
    for step in steps(plan)[1:]:
        assert "--no-index" in step.command
        assert "--index-url" not in step.command


def test_the_versions_are_those_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [need for need in project["dependencies"] if need.startswith("torch")] == list(install.TORCH)
    low, high = install.PYTHONS
    assert project["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"


def refused(plan: Plan, *, online: bool = False) -> str:
    installer = carried_out(plan, online=online)
    assert installer.status.state == "failed"
    assert installer.status.hint
    return installer.status.code


def changed(plan: Plan, **changes) -> Plan:
    return Plan(**(vars(plan) | changes))


def test_a_plan_that_must_not_be_is_refused_before_anything_is_made(plan: Plan, tmp_path: Path) -> None:
    assert refused(changed(plan, wheels=None)) == "online-off"
    assert refused(changed(plan, wheels=tmp_path)) == "no-wheels"
    assert refused(changed(plan, folder=Path(sys.prefix) / "segwild")) == "own-python"
    assert refused(changed(plan, python=tmp_path / "no python")) == "no-python"
    assert refused(changed(plan, python=Path("/bin/echo" if os.name == "posix" else "echo"))) == "no-python"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    assert refused(changed(plan, folder=tmp_path / "full")) == "folder-not-empty"
    assert not plan.folder.exists()


def test_too_little_space_is_said(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "NEEDED_BYTES", {"cpu": 1 << 60, "cuda": 1 << 60})
    assert refused(changed(plan, wheels=None), online=True) == "disk-full"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk-full"),
        ("ERROR: No matching distribution found for torch==2.13.*", "no-distribution"),
        ("urllib3.exceptions.NewConnectionError: ... Temporary failure in name resolution", "no-connection"),
        ("ssl.SSLError: CERTIFICATE_VERIFY_FAILED", "no-trust"),
        ("ERROR: something else entirely", "install-failed"),
    ],
)
def test_what_pip_says_becomes_a_sentence(plan: Plan, said: str, code: str) -> None:
    error = install._told(steps(plan)[1], ["Collecting torch", said], plan)
    assert error.code == code
    assert str(plan.log) in error.sentence
