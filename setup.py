"""Maps the nested source folders to top-level packages; all metadata is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOTS = (".", "kernels", "hub", *sorted(path.as_posix() for path in Path("plugins").iterdir() if path.is_dir()))

package_dir = {
    package: Path(root, *package.split(".")).as_posix()
    for root in ROOTS
    for package in find_packages(root, include=["gencore", "gencore.*", "gencore_*"])
}

setup(
    packages=list(package_dir),
    package_dir=package_dir,
    package_data={
        "gencore": ["py.typed"],
        "gencore.data": ["*.npz", "*.gz", "*.txt"],
        "gencore_ae": ["*.npz", "*.txt"],
        "gencore_hub": ["weights/*/*"],
        "gencore_kernels": ["*/*.cpp"],
    },
    include_package_data=False,
)
