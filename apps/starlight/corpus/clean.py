"""What an innocent image holds: photographs that went through editors, alpha planes, palettes.

Stego images are made of the same content by the same functions, so that nothing but the payload tells them apart.
"""
import io

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

import scenes

RESIZE = (Image.NEAREST, Image.BOX, Image.BILINEAR, Image.HAMMING, Image.BICUBIC, Image.LANCZOS)


# ---- content

def photo(d, pixels, w, h):
    """(kind, RGB samples [h][w][3]) of a derivative of a source."""
    image = Image.fromarray(pixels)
    how = d.pick({"whole": 4, "crop": 3, "fit": 3, "letterbox": 3, "rotate": 1})
    if how == "whole" and max(image.size) <= 600:
        pass
    elif how == "crop" and image.width > w and image.height > h:
        x, y = d.randint(0, image.width - w), d.randint(0, image.height - h)
        image = image.crop((x, y, x + w, y + h))
    elif how == "letterbox":
        image = ImageOps.pad(image, (w, h), d.choice(RESIZE), color=d.choice(((0,) * 3, (0,) * 3, (255,) * 3, (128,) * 3)))
    elif how == "rotate":
        image = image.rotate(d.choice((d.uniform(-20, 20), 90, 180, 270)), d.choice((Image.BILINEAR, Image.BICUBIC, Image.NEAREST)))
        image = image.resize((w, h), d.choice(RESIZE))
    else:
        how = "fit"
        image = ImageOps.fit(image, (w, h), d.choice(RESIZE), centering=(d.random(), d.random()))
    if how != "whole" and d.chance(0.3):
        image = ImageOps.mirror(image)
    treatment = d.pick({"": 12, "recoded": 4, "noise": 3, "salt": 0.7, "gray": 1.2, "tone": 2, "saturated": 1.5, "blur": 1, "sharp": 1,
                        "poster": 1, "quantised": 0.8, "binary": 0.6, "even": 0.7, "webp": 1})
    return f"photo-{how}" + (f"-{treatment}" if treatment else ""), np.array(treat(d, image, treatment))


def treat(d, image, treatment):
    if treatment == "recoded":
        return _through(image, "JPEG", quality=d.randint(20, 98), subsampling=d.choice((0, 1, 2)))
    if treatment == "webp":
        return _through(image, "WEBP", quality=d.randint(30, 95), method=0)
    if treatment == "noise":
        values = np.asarray(image, float) + d.array.normal(0, d.uniform(0.3, 12), np.asarray(image).shape)
        return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
    if treatment == "salt":
        values = np.array(image)
        values[d.array.random(values.shape[:2]) < d.uniform(0.001, 0.1)] = 255
        values[d.array.random(values.shape[:2]) < d.uniform(0.001, 0.1)] = 0
        return Image.fromarray(values)
    if treatment == "gray":
        return image.convert("L").convert("RGB")
    if treatment == "tone":
        image = ImageEnhance.Brightness(image).enhance(d.uniform(0.4, 1.7))
        return ImageEnhance.Color(image).enhance(d.uniform(0.2, 1.8))
    if treatment == "saturated":
        return ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(d.choice((0.5, 1.8)))).enhance(d.uniform(1.5, 4))
    if treatment == "blur":
        return image.filter(ImageFilter.GaussianBlur(d.uniform(0.5, 6)))
    if treatment == "sharp":
        return image.filter(ImageFilter.UnsharpMask(2, d.randint(50, 250), 2))
    if treatment == "poster":
        return ImageOps.posterize(image, d.randint(1, 7))
    if treatment == "quantised":
        return image.quantize(d.choice((4, 16, 64, 256))).convert("RGB")
    if treatment == "binary":
        return image.convert("L").point(lambda v, t=d.randint(60, 200): 255 * (v > t)).convert("RGB")
    if treatment == "even":  # lowest bits all 0 or all 1, as some scalers leave them
        return Image.fromarray(np.asarray(image) & 0xFE | d.choice((0, 1)))
    return image


def _through(image, form, **settings):
    out = io.BytesIO()
    image.save(out, form, **settings)
    with Image.open(out) as again:
        return again.convert("RGB")


# ---- alpha

def alpha_plane(d, rgb):
    """(kind, alpha [h][w], RGB samples, which some programs clear where alpha is 0)."""
    h, w = rgb.shape[:2]
    kind = d.pick({"opaque": 45, "constant": 8, "gradient": 10, "shadow": 8, "mask": 12, "glyphs": 6, "noise": 6, "noise-low": 8,
                   "binary": 6, "luma": 5, "dither": 4, "photo": 5, "steps": 4, "tile": 5})
    y, x = np.mgrid[0:h, 0:w]
    if kind == "opaque":
        alpha = np.full((h, w), 255)
    elif kind == "constant":
        alpha = np.full((h, w), d.choice((254, 254, 128, 0, 1, 127, d.randint(0, 255))))
    elif kind == "gradient":
        t = d.choice((x / w, y / h, (x + y) / (w + h), np.hypot(x - w / 2, y - h / 2) / max(w, h)))
        alpha = np.round(d.choice((255, 255, 128)) * (t if d.chance(0.5) else 1 - t))
    elif kind in ("shadow", "mask", "glyphs"):
        alpha = _mask(d, w, h, kind)
    elif kind == "noise":
        alpha = d.array.integers(0, 256, (h, w))
    elif kind == "noise-low":
        base = d.choice((255, 254, 253, 128, 2))
        alpha = base - d.array.integers(0, 2, (h, w)) if d.chance(0.6) else base - (d.array.random((h, w)) < d.uniform(0.002, 0.4))
    elif kind == "binary":
        alpha = np.where(scenes.line_art(d, w, h)[:, :, 0] > 0, 255, 0)
    elif kind == "luma":
        alpha = np.asarray(Image.fromarray(rgb).convert("L"))
    elif kind == "dither":
        alpha = np.asarray(Image.fromarray((255 * x / w).astype(np.uint8)).convert("1").convert("L"))
    elif kind == "photo":
        alpha = 255 - np.asarray(Image.fromarray(rgb).convert("L").filter(ImageFilter.GaussianBlur(2)))
    elif kind == "tile":
        bits = d.array.integers(0, 2, (d.choice((1, 1, 2, 8)), d.choice((3, 4, 8, 8, 16))))
        alpha = d.choice((255, 255, 1, 128)) - np.tile(bits, (h // len(bits) + 1, w // bits.shape[1] + 1))[:h, :w]
    else:
        alpha = (x // d.choice((1, 2, 4, 8, 16))) * d.choice((1, 3, 15, 17)) % 256
    alpha = np.clip(alpha, 0, 255).astype(np.uint8)
    if d.chance(0.3):
        rgb = np.where(alpha[:, :, None] == 0, 0, rgb).astype(np.uint8)
    return kind, alpha, rgb


def _mask(d, w, h, kind):
    image = Image.new("L", (w * 2, h * 2), 0)
    draw = ImageDraw.Draw(image)
    if kind == "glyphs":
        image = Image.new("L", (w, h), 0)
        draw = ImageDraw.Draw(image)
        for y in range(2, h, 14):
            draw.text((3, y), "".join(d.choices("abcdefghijklm nopqrst", k=max(1, w // 7))), font=scenes.FONT, fill=255)
        return np.asarray(image)
    for _ in range(d.randint(1, 4)):
        x, y = d.randint(0, w), d.randint(0, h)
        box = (x, y, x + d.randint(4, w * 2), y + d.randint(4, h * 2))
        (draw.ellipse if d.chance(0.6) else draw.rectangle)(box, fill=255)
    if d.chance(0.3):
        image = ImageChops.invert(image)
    if kind == "shadow":
        image = image.filter(ImageFilter.GaussianBlur(d.uniform(2, 12)))
    return np.asarray(image.resize((w, h), Image.BOX))


# ---- palettes

def indexed(d, rgb, colours, own=None):
    """(kind, indices [h][w], palette [n][3]): the picture with at most `colours` (2 to 256) colours. `own`: indices and palette
    that the picture has already, taken when the palette is small enough."""
    if own is not None and len(own[1]) <= colours:
        return ("own", *own)
    image = Image.fromarray(rgb)
    kind = d.pick({"median": 5, "octree": 3, "coverage": 1.5, "web": 1, "gray": 2, "dithered": 3})
    if kind == "gray" or (kind == "web" and colours < 256):
        levels = np.asarray(image.convert("L")).astype(int) * colours // 256
        indices = levels.astype(np.uint8)
        ramp = np.round(np.arange(colours) * 255 / max(1, colours - 1)).astype(np.uint8)
        palette = np.repeat(ramp[:, None], 3, axis=1)
        kind = "gray"
    else:
        if kind == "web":
            made = image.convert("P")
        elif kind == "dithered":
            made = dithered(image, colours)
        else:
            method = {"median": Image.MEDIANCUT, "octree": Image.FASTOCTREE, "coverage": Image.MAXCOVERAGE}[kind]
            made = image.quantize(colours, method)
        indices = np.array(made)
        palette = np.array(made.getpalette(), np.uint8).reshape(-1, 3)[:max(2, int(indices.max()) + 1)]
        if len(palette) > colours:
            raise AssertionError(f"{kind} made {len(palette)} colours of {colours}")
    order = d.pick({"as-is": 8, "sorted": 3, "shuffled": 1.5, "popular": 1.5, "paired": 3, "duplicates": 1, "padded": 2})
    indices, palette = arrange(d, indices, palette, order, colours)
    return f"{kind}-{order}", indices, palette


def dithered(image, colours):
    """Floyd-Steinberg with a palette of this many colours. PIL would add black to a shorter one."""
    few = image.quantize(colours)
    palette = few.getpalette()[:3 * (int(np.asarray(few).max()) + 1)]
    few.putpalette(palette + palette[-3:] * (256 - len(palette) // 3))
    made = image.quantize(palette=few, dither=Image.FLOYDSTEINBERG)
    made = Image.fromarray(np.minimum(np.asarray(made), len(palette) // 3 - 1), "P")
    made.putpalette(palette)
    return made


def arrange(d, indices, palette, order, colours):
    """Another order of the palette; the picture stays the same."""
    n = len(palette)
    if order == "sorted":
        places = np.argsort(palette @ np.array([299, 587, 114]), kind="stable")
    elif order == "shuffled":
        places = d.array.permutation(n)
    elif order == "popular":
        places = np.argsort(-np.bincount(indices.reshape(-1), minlength=n), kind="stable")
    elif order == "paired":
        places = _pairs(palette)
    elif order == "duplicates" and n * 2 <= colours:
        twice = np.repeat(palette, 2, axis=0)
        return (indices * 2 + d.array.integers(0, 2, indices.shape)).astype(np.uint8), twice
    elif order == "padded":
        return indices, np.vstack([palette, np.zeros((colours - n, 3), np.uint8)])
    else:
        return indices, palette
    back = np.empty(n, np.uint8)
    back[places] = np.arange(n)
    return back[indices], palette[places]


def _pairs(palette):
    """Greedy order in which neighbours look alike, as embedders arrange it."""
    left = list(range(len(palette)))
    colours = palette.astype(int)
    order = [left.pop(0)]
    while left:
        nearest = np.abs(colours[left] - colours[order[-1]]).sum(axis=1).argmin()
        order.append(left.pop(int(nearest)))
    return np.array(order)
