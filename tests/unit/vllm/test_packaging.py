"""The package as pip builds it: every module, the types' mark, one version, no dependencies."""
import email
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

import binding_fixture
from binding_fixture import PACKAGE

import kvasir

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None  # type: ignore[assignment]


@unittest.skipUnless(tomllib, "no tomllib in this Python")
class Project(unittest.TestCase):
    def test_no_dependencies_and_the_version_from_one_place(self) -> None:
        project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())
        self.assertEqual(project["project"]["name"], "kvasir-vllm")
        self.assertNotIn("dependencies", project["project"])
        self.assertNotIn("version", project["project"])
        module, _, attribute = project["tool"]["setuptools"]["dynamic"]["version"]["attr"].rpartition(".")
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.loader is not None
        self.assertEqual(getattr(importlib.import_module(module), attribute), kvasir.__version__)


@unittest.skipUnless(importlib.util.find_spec("setuptools") and importlib.util.find_spec("wheel"),
                     "this Python has no setuptools and wheel to build with")
class Wheel(unittest.TestCase):
    def test_wheel(self) -> None:
        with tempfile.TemporaryDirectory(prefix="kvasir-wheel-") as folder:
            source, out = Path(folder, "source"), Path(folder, "out")
            shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
            out.mkdir()
            subprocess.run([sys.executable, "-c", "import sys; from setuptools.build_meta import build_wheel; "
                            "build_wheel(sys.argv[1])", str(out)], cwd=source, check=True, capture_output=True, timeout=120)
            [wheel] = out.iterdir()
            self.check_contents(wheel)
            site = Path(folder, "site")
            zipfile.ZipFile(wheel).extractall(site)
            said = subprocess.run([sys.executable, "-m", "kvasir", "version"], cwd="/", capture_output=True, text=True,
                                  env={**os.environ, "PYTHONPATH": str(site)}, timeout=60)
            self.assertEqual(said.stdout, f"kvasir {kvasir.__version__}, libkvasir-connector {kvasir.__version__}\n", said.stderr)

    def check_contents(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            for file in PACKAGE.glob("kvasir/*.py"):
                self.assertIn(f"kvasir/{file.name}", names)
            self.assertIn("kvasir/py.typed", names)
            self.assertEqual({name.partition("/")[0] for name in names} - {"kvasir", "kvasir_vllm"},
                             {f"kvasir_vllm-{kvasir.__version__}.dist-info"})
            [metadata] = [name for name in names if name.endswith("/METADATA")]
            fields = email.message_from_bytes(archive.read(metadata))
        self.assertEqual(fields["Version"], kvasir.__version__)
        self.assertIsNone(fields["Requires-Dist"])


if __name__ == "__main__":
    binding_fixture.main()
