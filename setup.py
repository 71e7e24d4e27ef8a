"""Maps the nested source folders to top-level packages, builds the C++ kernels; all metadata is in pyproject.toml."""

import os
import runpy
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOTS = (".", "kernels", "hub", *sorted(path.as_posix() for path in Path("plugins").iterdir() if path.is_dir()))

package_dir = {
    package: Path(root, *package.split(".")).as_posix()
    for root in ROOTS
    for package in find_packages(root, include=["gencore", "gencore.*", "gencore_*"])
}


def libraries() -> list[Extension]:
    """The C++ kernels, once for each of the machine's instruction sets. Optional: without a compiler the install
    succeeds, and `gencore doctor` says what is missing."""
    building = runpy.run_path("kernels/gencore_kernels/building.py")
    if os.name != "posix":  # vector types of GCC and Clang
        return []
    sources, headers = ([path.as_posix() for path in building[what]()] for what in ("sources", "headers"))
    name, digest = building["library_name"], building["digest"]()
    return [
        Extension(
            f"gencore_kernels.{name(instruction_set, digest)}",
            sources,
            depends=headers,
            extra_compile_args=[*building["FLAGS"], *flags],
            language="c++",
            optional=True,
        )
        for instruction_set, flags in building["instruction_sets"]().items()
    ]


class BuildLibraries(build_ext):
    """Libraries of plain C symbols, loaded by ctypes: nothing of Python is in them or in their names."""

    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")) + ".so"

    def build_extension(self, ext: Extension) -> None:
        folder = self.build_temp
        self.build_temp = os.path.join(folder, ext.name)  # objects of the same sources, by other flags
        try:
            super().build_extension(ext)
        finally:
            self.build_temp = folder


class Wheel(bdist_wheel):
    """For any Python of this platform."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    packages=list(package_dir),
    package_dir=package_dir,
    package_data={
        "gencore": ["py.typed"],
        "gencore.data": ["*.npz", "*.gz", "*.txt"],
        "gencore.evaluation": ["*.safetensors"],
        "gencore.explorer": ["static/*", "templates/*"],
        "gencore_ae": ["*.npz", "*.txt"],
        "gencore_hub": ["weights/*/*"],
        "gencore_kernels": ["*.hpp", "*/*.cpp"],
    },
    include_package_data=False,
    ext_modules=libraries(),
    cmdclass={"build_ext": BuildLibraries, "bdist_wheel": Wheel},
)
