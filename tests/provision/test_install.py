import io
import subprocess
import sys
import zipfile
from pathlib import Path

from choline_tui.kernel.protocol import PROTOCOL
from choline_tui.provision import install


def test_the_same_sources_give_the_same_bytes() -> None:
    first = install.program()
    install.program.cache_clear()
    second = install.program()
    assert first == second
    fresh = subprocess.run(
        [sys.executable, "-c", "from choline_tui.provision.install import program; print(program().version)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert fresh.stdout.strip() == first.version


def test_a_changed_source_gives_another_version(monkeypatch: object, tmp_path: Path) -> None:
    before = install.program().version
    sources = install._sources()
    sources["choline_tui/remote/main.py"] += b"\n"
    install.program.cache_clear()
    original = install._sources
    try:
        install._sources = lambda: sources
        assert install.program().version != before
    finally:
        install._sources = original
        install.program.cache_clear()


def test_a_shell_can_read_its_version_and_python_can_run_it(tmp_path: Path) -> None:
    built = install.program()
    lines = built.data.split(b"\n", 2)
    assert lines[1] == f"{install.MARK} {PROTOCOL} {built.version}".encode()
    names = zipfile.ZipFile(io.BytesIO(built.data)).namelist()
    assert "choline_tui/remote/supervisor.py" in names
    assert not [n for n in names if "pydantic" in n or n.endswith(".pyc") or "vast" in n]
    path = tmp_path / "supervisor.pyz"
    path.write_bytes(built.data)
    done = subprocess.run([sys.executable, "-I", "-S", path, "version"], capture_output=True, text=True)
    assert done.stdout == f'{{"version": "{built.version}", "protocol": {PROTOCOL}}}\n'
    assert len(built.data) < 100_000
