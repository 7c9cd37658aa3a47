"""Pictures that are made, not taken: what fools a detector of text in the lowest bits.

Flat and saturated areas give long runs of 0x00 and 0xFF, stripes and checkerboards give "UUUU" or "3333", gradients and
dithers give short periods, screenshots and charts give both. Every function returns RGB samples [height][width][3].
"""
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONT = ImageFont.load_default()


def _grid(w, h):
    y, x = np.mgrid[0:h, 0:w]
    return x, y


def _clip(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def _colour(d):
    return np.array([d.randint(0, 255) for _ in range(3)])


def _extreme(d):
    """A colour of extremes: black, white, full channels, nearly so, or any."""
    kind = d.pick({"black": 3, "white": 3, "full": 2, "near": 2, "any": 3, "gray": 2})
    if kind == "black":
        return np.zeros(3, int)
    if kind == "white":
        return np.full(3, 255)
    if kind == "full":
        return np.array([d.choice((0, 255)) for _ in range(3)])
    if kind == "near":
        return np.array([d.choice((0, 1, 254, 255)) for _ in range(3)])
    if kind == "gray":
        return np.full(3, d.randint(0, 255))
    return _colour(d)


def flat(d, w, h):
    out = np.empty((h, w, 3), np.uint8)
    out[:] = _extreme(d)
    for _ in range(d.choice((0, 0, 1, 3))):
        x, y = d.randrange(w), d.randrange(h)
        out[y:y + d.randint(1, h), x:x + d.randint(1, w)] = _extreme(d)
    return out


def gradient(d, w, h):
    x, y = _grid(w, h)
    planes = []
    same = d.chance(0.5)
    kind = d.choice(("horizontal", "vertical", "diagonal", "radial", "conic", "angle"))
    for _ in range(3):
        if not same:
            kind = d.choice(("horizontal", "vertical", "diagonal", "radial", "conic", "angle"))
        if kind == "horizontal":
            t = x / max(1, w - 1)
        elif kind == "vertical":
            t = y / max(1, h - 1)
        elif kind == "diagonal":
            t = (x + y) / max(1, w + h - 2)
        elif kind == "radial":
            t = np.hypot(x - d.uniform(0, w), y - d.uniform(0, h)) / max(w, h)
        elif kind == "conic":
            t = (np.arctan2(y - h / 2, x - w / 2) / np.pi + 1) / 2
        else:
            angle = d.uniform(0, 2 * np.pi)
            t = np.cos(angle) * x / w + np.sin(angle) * y / h
        low, high = d.choice(((0, 255), (255, 0), (d.randint(0, 255), d.randint(0, 255))))
        planes.append(low + (high - low) * t)
    out = np.stack(planes, axis=2)
    if same and d.chance(0.5):
        out[:] = out[:, :, :1]
    if d.chance(0.15):
        out = out * d.randint(2, 6) % 256
    if d.chance(0.2):
        out = out + d.array.normal(0, d.uniform(0.2, 2), out.shape)
    return _clip(np.round(out))


def stripes(d, w, h):
    x, y = _grid(w, h)
    along = d.choice((x, y, x + y, x - y, x * 3 + y, y * w + x))
    period = d.randint(1, 8)
    low, high = d.choice(((0, 1), (254, 255), (0, 255), (127, 128), (d.randint(0, 255), d.randint(0, 255))))
    on = (along // period + d.randint(0, 1)) % 2 == 1
    if d.chance(0.2):
        on = (along + d.randint(0, 7)) % max(2, period) == 0
    out = np.where(on[:, :, None], high, low) * np.ones(3, int)
    if d.chance(0.3):
        out[:, :, d.randrange(3)] = d.randint(0, 255)
    return _clip(out)


def checker(d, w, h):
    x, y = _grid(w, h)
    cell = d.choice((1, 1, 2, 3, 4, 7, 8, 16, 32))
    a, b = (_extreme(d), _extreme(d)) if d.chance(0.6) else (np.full(3, 102), np.full(3, 153))
    return _clip(np.where(((x // cell + y // cell) % 2)[:, :, None] == 1, a, b))


def tiles(d, w, h):
    """A small random tile, repeated."""
    tw, th = d.choice((1, 2, 3, 4, 8, 16, 24)), d.choice((1, 2, 4, 8, 16))
    levels = d.choice((2, 2, 4, 256))
    tile = d.array.integers(0, levels, (th, tw, d.choice((1, 3)))) * (255 // (levels - 1))
    return _clip(np.tile(tile, (h // th + 1, w // tw + 1, 1))[:h, :w] * np.ones(3, int))


def arithmetic(d, w, h):
    """Patterns of programs that try out a picture format."""
    x, y = _grid(w, h)
    forms = (lambda: x * y, lambda: x + y, lambda: x - y, lambda: x ^ y, lambda: x & y, lambda: x | y, lambda: x, lambda: y,
             lambda: x * x + y * y, lambda: y * w + x, lambda: (y * w + x) // 256, lambda: x * d.randint(2, 40))
    return np.stack([(d.choice(forms)() & 255).astype(np.uint8) for _ in range(3)], axis=2)


def plasma(d, w, h):
    """Clouds: noise of several sizes, enlarged."""
    out = np.zeros((h, w, 3))
    colours = d.choice((1, 3))
    size, weight = d.choice((2, 3, 4)), 1.0
    while size < max(w, h) and weight > 0.03:
        noise = d.array.integers(0, 256, (size, size, colours), dtype=np.uint8)
        for c in range(3):
            layer = Image.fromarray(noise[:, :, c % colours]).resize((w, h), Image.BICUBIC)
            out[:, :, c] += weight * (np.asarray(layer, float) - 128)
        size, weight = size * 2, weight * d.uniform(0.4, 0.7)
    out = out * d.uniform(0.3, 1.3) + d.randint(40, 215)
    return _clip(out)


def noise(d, w, h):
    kind = d.choice(("uniform", "gray", "gauss", "salt", "low", "two"))
    if kind == "uniform":
        low = d.choice((0, 50))
        return d.array.integers(low, 256 if low == 0 else 200, (h, w, 3), dtype=np.uint8)
    if kind == "gray":
        return np.repeat(d.array.integers(0, 256, (h, w, 1), dtype=np.uint8), 3, axis=2)
    if kind == "gauss":
        return _clip(_colour(d) + d.array.normal(0, d.uniform(0.5, 40), (h, w, 3)))
    if kind == "salt":
        out = flat(d, w, h)
        out[d.array.random((h, w)) < d.uniform(0.001, 0.3)] = 255
        out[d.array.random((h, w)) < d.uniform(0.001, 0.3)] = 0
        return out
    if kind == "low":
        return _clip(_extreme(d) + d.array.integers(-1, 2, (h, w, 3)))
    return _clip(np.where(d.array.random((h, w, 1)) < 0.5, _extreme(d), _extreme(d)))


def stars(d, w, h):
    out = np.zeros((h, w, 3)) + d.choice((0, 0, 3, 12))
    if d.chance(0.6):
        out += np.abs(d.array.normal(0, d.uniform(0.3, 4), (h, w, 1)))
    for _ in range(d.randint(5, 200)):
        out[d.randrange(h), d.randrange(w)] = d.randint(60, 255)
    image = Image.fromarray(_clip(out))
    return np.array(image.filter(ImageFilter.GaussianBlur(0.6)) if d.chance(0.5) else image)


def shapes(d, w, h):
    image = Image.new("RGB", (w, h), tuple(_extreme(d)))
    draw = ImageDraw.Draw(image)
    for _ in range(d.randint(2, 30)):
        x, y, size = d.randrange(w), d.randrange(h), d.randint(1, max(2, max(w, h) // 2))
        box, colour = (x, y, x + size, y + d.randint(1, size)), tuple(_extreme(d))
        kind = d.randint(0, 3)
        if kind == 0:
            draw.rectangle(box, fill=colour)
        elif kind == 1:
            draw.ellipse(box, fill=colour)
        elif kind == 2:
            draw.line(box, fill=colour, width=d.randint(1, 4))
        else:
            draw.polygon([(d.randrange(w), d.randrange(h)) for _ in range(3)], fill=colour)
    return np.array(image)


def _gibberish(d):
    return " ".join("".join(d.choices("etaoinshrdlucmfwypvbgkqjxz", weights=range(26, 0, -1), k=d.randint(1, 9)))
                    for _ in range(d.randint(1, 12)))


def screenshot(d, w, h):
    """A window full of text, as a terminal or an editor shows it."""
    dark = d.chance(0.5)
    paper = tuple(d.choice(((0, 0, 0), (30, 30, 30), (12, 12, 28))) if dark else d.choice(((255,) * 3, (253, 246, 227), (240,) * 3)))
    ink = tuple(d.choice(((220,) * 3, (0, 255, 0), (255, 255, 255))) if dark else d.choice(((0,) * 3, (40,) * 3, (0, 0, 120))))
    image = Image.new("RGB", (w, h), paper)
    draw = ImageDraw.Draw(image)
    top = 0
    if d.chance(0.6):
        top = d.randint(6, 24)
        draw.rectangle((0, 0, w, top), fill=tuple(_extreme(d)))
        draw.text((4, max(0, top // 2 - 5)), _gibberish(d)[:w // 7], font=FONT, fill=ink)
    for y in range(top + 2, h, d.choice((11, 12, 14, 18))):
        if d.chance(0.8):
            colour = ink if d.chance(0.8) else tuple(_colour(d))
            draw.text((d.choice((2, 2, 2, 14, 26)), y), _gibberish(d), font=FONT, fill=colour)
    return np.array(image)


def window(d, w, h):
    """Boxes, buttons and bars of a user interface."""
    image = Image.new("RGB", (w, h), tuple(d.choice(((255,) * 3, (240,) * 3, (236, 236, 236), (32, 33, 36), (0, 128, 128)))))
    draw = ImageDraw.Draw(image)
    for _ in range(d.randint(3, 18)):
        x, y = d.randrange(w), d.randrange(h)
        box = (x, y, x + d.randint(8, max(9, w // 2)), y + d.randint(6, max(7, h // 3)))
        fill = tuple(d.choice(((255,) * 3, (225,) * 3, (0, 120, 215), (200, 60, 60))) if d.chance(0.7) else _colour(d))
        if d.chance(0.4):
            draw.rounded_rectangle(box, radius=d.randint(1, 8), fill=fill, outline=(160, 160, 160))
        else:
            draw.rectangle(box, fill=fill, outline=(128, 128, 128) if d.chance(0.6) else None)
        if d.chance(0.6):
            draw.text((x + 3, y + 1), _gibberish(d)[:10], font=FONT, fill=(20, 20, 20))
    return np.array(image)


def chart(d, w, h):
    image = Image.new("RGB", (w, h), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    if d.chance(0.6):
        for x in range(0, w, max(8, w // 8)):
            draw.line((x, 0, x, h), fill=(225, 225, 225))
        for y in range(0, h, max(8, h // 6)):
            draw.line((0, y, w, y), fill=(225, 225, 225))
    kind = d.randint(0, 2)
    if kind == 0:
        step = max(3, w // d.randint(4, 20))
        for x in range(step, w - step, step):
            draw.rectangle((x, d.randint(2, h - 2), x + step * 2 // 3, h - 2), fill=tuple(_colour(d)))
    elif kind == 1:
        for _ in range(d.randint(1, 4)):
            y, points, colour = h / 2, [], tuple(_colour(d))
            for x in range(4, w, max(2, w // 60)):
                y = min(h - 3, max(2, y + d.gauss(0, h / 25)))
                points.append((x, y))
            draw.line(points, fill=colour, width=d.randint(1, 2))
    else:
        start = 0
        while start < 360:
            end = min(360, start + d.randint(20, 120))
            draw.pieslice((w * 0.1, h * 0.1, w * 0.9, h * 0.9), start, end, fill=tuple(_colour(d)))
            start = end
    draw.line((3, 0, 3, h - 3, w, h - 3), fill=(0, 0, 0))
    return np.array(image)


def blocks(d, w, h):
    """Random modules, like a QR code or a bar code."""
    cell = d.choice((1, 2, 3, 4, 8, 8, 10))
    high = 1 if d.chance(0.2) else h // cell + 1
    bits = d.array.integers(0, 2, (high, w // cell + 1))
    grown = np.kron(bits, np.ones((h if high == 1 else cell, cell), int))[:h, :w]
    border = d.choice((0, 0, cell * 2))
    a, b = (np.zeros(3, int), np.full(3, 255)) if d.chance(0.7) else (_extreme(d), _extreme(d))
    out = np.where(grown[:, :, None] == 1, a, b)
    if border and border * 2 < min(w, h):
        out[:border], out[-border:], out[:, :border], out[:, -border:] = b, b, b, b
    return _clip(out)


def dither(d, w, h):
    """A gradient or a cloud with few levels: Floyd-Steinberg or an ordered matrix."""
    base = gradient(d, w, h) if d.chance(0.7) else plasma(d, w, h)
    if d.chance(0.5):
        colours = d.choice((2, 2, 4, 8, 16))
        image = Image.fromarray(base)
        if colours == 2:
            return np.array(image.convert("1").convert("RGB"))
        few = image.quantize(colours)
        return np.array(image.quantize(palette=few, dither=Image.FLOYDSTEINBERG).convert("RGB"))
    matrix = np.array([[0]])
    for _ in range(d.choice((1, 2, 3))):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    n = len(matrix)
    threshold = np.tile((matrix + 0.5) / matrix.size, (h // n + 1, w // n + 1))[:h, :w, None]
    levels = d.choice((1, 1, 2, 3, 7, 15, 127, 254))
    value = base / 255 * levels
    return _clip((np.floor(value) + (value % 1 > threshold)) * (255 / levels))


def line_art(d, w, h):
    base = plasma(d, w, h)[:, :, 0]
    if d.chance(0.5):
        on = base > np.median(base)
    else:
        on = (base // d.randint(4, 24)) % 2 == 0
    a, b = d.choice(((0, 255), (255, 0), (0, 1)))
    return np.repeat(np.where(on, a, b).astype(np.uint8)[:, :, None], 3, axis=2)


def dump(d, w, h):
    """Bytes of something else shown as a picture: counters, little-endian numbers, sparse tables."""
    n = w * h * 3
    kind = d.randint(0, 3)
    if kind == 0:
        raw = np.arange(n // 4 + 1, dtype="<u4") * d.randint(1, 3000)
    elif kind == 1:
        raw = (d.array.normal(0, 300, n // 2 + 1)).astype("<i2")
    elif kind == 2:
        raw = d.array.normal(0, 1, n // 4 + 1).astype("<f4")
    else:
        raw = np.where(d.array.random(n) < 0.1, d.array.integers(0, 256, n), 0).astype(np.uint8)
    return np.frombuffer(raw.tobytes()[:n], np.uint8).reshape(h, w, 3).copy()


SCENES = {"flat": 6, "gradient": 10, "stripes": 6, "checker": 4, "tiles": 4, "arithmetic": 3, "plasma": 8, "noise": 6,
          "stars": 4, "shapes": 7, "screenshot": 10, "window": 6, "chart": 6, "blocks": 5, "dither": 6, "line_art": 4,
          "dump": 2}


def scene(d, w, h):
    """(kind, samples) of a picture drawn by chance."""
    kind = d.pick(SCENES)
    return kind, globals()[kind](d, w, h)
