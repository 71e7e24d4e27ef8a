"""Draw docs/gallery.md and its pictures from the bundled models: `python tools/gallery.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"

# (title, picture, the command without its -o)
PICTURES = (
    ("GAN: samples", "dcgan-mnist", "sample dcgan-mnist -n 64"),
    ("GAN: walks between random codes", "dcgan-mnist-walk", "walk dcgan-mnist --path slerp"),
    ("VQ-VAE: asked for nines", "vq-vae-mnist-nine", "sample vq-vae-mnist -n 64 --label 9"),
    (
        "VQ-VAE: 8 x 8 digits of other writers, and their reconstructions",
        "vq-vae-mnist-reconstruct",
        "reconstruct vq-vae-mnist",
    ),
    ("VAE: samples", "vae-mnist", "sample vae-mnist -n 64"),
    ("VAE: reconstructions", "vae-mnist-reconstruct", "reconstruct vae-mnist"),
    ("VAE: walks between two digits", "vae-mnist-walk", "walk vae-mnist"),
    ("VAE: principal components of the codes", "vae-mnist-map", "map vae-mnist"),
    ("Autoencoder with a code of two numbers: its plane", "ae-mnist-2d-plane", "walk ae-mnist-2d --plane --steps 15"),
    (
        "Autoencoder with a code of two numbers: where the digits lie",
        "ae-mnist-2d-map",
        "map ae-mnist-2d --method code",
    ),
    ("Diffusion: 20 steps of DPM-Solver++", "ddpm-mnist", "sample ddpm-mnist -n 64 --sampler dpm++2m --steps 20"),
    ("Diffusion: asked for sevens", "ddpm-mnist-seven", "sample ddpm-mnist -n 32 --label 7 --guidance 2"),
)


def main() -> None:
    """Run every command, and write the page."""
    page = [
        "# Gallery",
        "",
        "Drawn by `python tools/gallery.py` from the bundled models; nothing is chosen by hand.",
        "",
    ]
    for title, name, command in PICTURES:
        picture = DOCS / "images" / f"{name}.png"
        subprocess.run([sys.executable, "-m", "gencore.cli", *command.split(), "-o", str(picture)], check=True)
        page += [
            f"## {title}",
            "",
            "```sh",
            f"gencore {command} -o {name}.png",
            "```",
            "",
            f"![{title}](images/{name}.png)",
            "",
        ]
    (DOCS / "gallery.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
