"""Colour profiles: pixels of any ICC profile to sRGB, by LittleCMS (in Pillow)."""

from __future__ import annotations

import functools
import io
import warnings

from PIL import Image, ImageCms

from gencore_hub.foreign import shown

_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """An 8-bit image in mode L, RGB or CMYK as its profile means it: RGB in sRGB, or as it is without a profile.

    A profile that is damaged, or made for another kind of image, is left out of account, with a warning that names
    `name`; so do browsers.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    try:
        transform = _transform(bytes(profile), image.mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        warnings.warn(
            shown(f"{name} has a colour profile that cannot be used ({error}); its pixels are taken as sRGB."),
            stacklevel=2,
        )
        return image
    return image if transform is None else ImageCms.applyTransform(image, transform) or image


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB, None where it is sRGB already. Raises PyCMSError, OSError or ValueError."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if _SPACES.get(space) != mode:
        raise ValueError(f"it is for {space} pixels, and these are {mode}")
    if "sRGB" in (source.profile.profile_description or ""):
        return None
    # many threads share a transform: LittleCMS's own cache of the last pixel would be written by all of them
    flags = ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)
