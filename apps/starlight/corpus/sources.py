"""Source images and how they are divided among train, validation and test.

A source belongs to one split by the hash of its name; everything made of it stays there. The hash does not depend on the seed
of a corpus: otherwise a model trained on one seed's train part would have seen sources of another seed's test part. Images
that show the same picture count as one source.
"""
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from dice import hash_share
from payloads import SPLIT_ENDS, SPLITS

FOLDERS = ("starlight-sample", "bsds-train", "bsds-val")

# Nothing readable was found in any carrier of the 611 images, so nothing is left out. A name
# added here, with the reason, is no longer used.
EXCLUDED = {}

# The same picture, or a crop of it, or the next one of a series, under several names (correlation of 16x16 thumbnails without
# borders above 0.93, then looked at).
SAME_PICTURE = (
    ("clean-0014", "clean-0015"), ("clean-0021", "clean-0026", "clean-0035", "clean-0039"), ("clean-0102", "clean-0103"),
    ("clean-0105", "clean-0111"), ("clean-0107", "clean-0108"), ("clean-0121", "clean-0122"),
    ("clean-0157", "clean-0158", "clean-0159"), ("clean-0365", "clean-0366"),
)
_FIRST_NAME = {name: group[0] for group in SAME_PICTURE for name in group}


def split_of_source(name):
    """train, validation or test, of a source's name (without folder and suffix)."""
    share = hash_share("source/" + _FIRST_NAME.get(name, name))
    return SPLITS[next(i for i, end in enumerate(SPLIT_ENDS) if share < end)]


@lru_cache(maxsize=8)
def real_sources(data, split):
    """Paths of the split's images below DATA/images, sorted. An empty or missing folder is an error."""
    found = []
    for folder in FOLDERS:
        paths = sorted(path for path in (Path(data) / "images" / folder).glob("*.*"))
        if not paths:
            raise FileNotFoundError(f"no images in {Path(data) / 'images' / folder}")
        found += [path for path in paths if path.stem not in EXCLUDED and split_of_source(path.stem) == split]
    return tuple(found)


@lru_cache(maxsize=64)
def load(path):
    """RGB samples [height][width][3] of a source; of a GIF the first frame."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    pixels.setflags(write=False)
    return pixels


@lru_cache(maxsize=64)
def load_indexed(path):
    """(indices, palette [n][3]) as the file stores them, or None where it has no palette."""
    with Image.open(path) as image:
        if image.mode != "P":
            return None
        indices = np.array(image)
        palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    indices.setflags(write=False)
    return indices, palette


@lru_cache(maxsize=8)
def originals(data, split):
    """{format: paths} of the split's images that are innocent files as they are."""
    names = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp", ".bmp": "bmp"}
    out = {name: [] for name in names.values()}
    for path in real_sources(data, split):
        out[names[path.suffix.lower()]].append(path)
    return out
