"""One image file, innocent or with a text hidden in it: content, container variant, metadata and trailing bytes.

make() draws all of them by the same chances whether a text is hidden or not; the method only narrows the container
variants to those that can carry it, and replaces what it uses (the UserComment, the bytes behind the end).
"""
import io
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageFile

import clean
import containers
import embed
import metadata
import sources
import trailers

ImageFile.MAXBLOCK = 1 << 23  # libjpeg writes a progressive or optimised file into one buffer; PIL's own guess is too small for noise

# Variants of each container, with their share among innocent images.
PNG = {"rgb": 30, "rgba": 24, "gray": 7, "gray-alpha": 4, "pal8": 12, "pal4": 4, "pal2": 3, "pal1": 3, "rgb16": 4, "rgba16": 2,
       "gray16": 1.5, "gray4": 1, "gray2": 1, "gray1": 1.5, "rgb-key": 1, "pal8-alpha": 1.5}
JPEG = {"baseline": 60, "progressive": 28, "gray": 10, "cmyk": 2}
GIF = {"plain": 50, "interlaced": 15, "frames": 15, "offset": 10, "transparent": 10}
WEBP = {"lossless": 30, "lossless-alpha": 25, "lossy": 25, "lossy-alpha": 14, "animated": 5, "animated-alpha": 2}
BMP = {"rgb24": 38, "rgbx32": 12, "rgba-v4": 8, "rgba-v5": 8, "rgba-plain": 7, "rgb16": 2, "pal8": 18, "rle8": 3, "pal4": 4, "pal1": 4}

# Those that can carry a text in their samples; the share among carriers.
CARRIERS = {
    ("alpha", "png"): {"rgba": 92, "rgba16": 8},
    ("alpha", "webp"): {"lossless-alpha": 68, "lossy-alpha": 28, "animated-alpha": 4},
    ("alpha", "bmp"): {"rgba-v4": 35, "rgba-v5": 35, "rgba-plain": 30},
    ("lsb.rgb", "png"): {"rgb": 58, "rgba": 27, "rgb16": 10, "rgba16": 5},
    ("lsb.rgb", "webp"): {"lossless": 62, "lossless-alpha": 33, "animated": 4, "animated-alpha": 1},
    ("lsb.rgb", "bmp"): {"rgb24": 64, "rgbx32": 20, "rgba-v4": 6, "rgba-v5": 6, "rgba-plain": 4},
    ("palette", "png"): {"pal8": 62, "pal4": 14, "pal2": 9, "pal1": 10, "pal8-alpha": 5},
    ("palette", "gif"): GIF,
    ("palette", "bmp"): {"pal8": 70, "rle8": 8, "pal4": 11, "pal1": 11},
}
ALL = {"png": PNG, "jpeg": JPEG, "gif": GIF, "webp": WEBP, "bmp": BMP}


@dataclass
class Hiding:
    """What is to be hidden. method None: nothing. text is drawn when the room for it is known."""
    method: str = None
    order: str = None
    marked: bool = False
    raw_variant: str = None
    text: str = None
    text_kind: str = None

    def draw(self, d, writer, room):
        self.text, self.text_kind = writer.text(d, room)
        return self.text


@dataclass
class Made:
    data: bytes
    carrier: str
    kind: str
    source: str
    hiding: Hiding
    notes: list = field(default_factory=list)


class Maker:
    """Makes the images of one split. `real`: paths of real images, may be empty; `prefix` begins the ids of made-up ones.
    `originals`: {format: paths} of files that may be used as they are."""

    def __init__(self, writer, real, originals, prefix):
        self.writer, self.real, self.originals, self.prefix = writer, real, originals, prefix
        self.own = None  # indices and palette of the source in hand, where it has some and is used as it is

    def make(self, d, form, hiding):
        notes = []
        if hiding.method in (None, "exif", "raw") and self.originals.get(form) and d.chance(0.12):
            kind, carrier, path = "photo-file", "original", d.choice(self.originals[form])
            source, data, rgb = path.stem, path.read_bytes(), sources.load(path)
        else:
            kind, source, rgb = self._content(d, *_size(d, form))
            carrier = d.pick(CARRIERS.get((hiding.method, form), ALL[form]))
            data, carrier = getattr(self, "_" + form)(d, rgb, carrier, hiding, notes)
        if form in ("png", "jpeg", "webp"):
            data = getattr(self, f"_{form}_around")(d, data, rgb, hiding, notes)
        if hiding.method == "raw":
            data += embed.trailing(hiding.draw(d, self.writer, 20000), hiding.raw_variant)
        elif d.chance(0.2):
            tail, extra = trailers.trailer(d)
            data += extra
            notes.append("tail-" + tail)
        return Made(data, carrier, "+".join([kind, *notes]), source, hiding)

    # ---- content

    def _content(self, d, w, h):
        self.own = None
        if self.real and d.chance(0.55):
            path = d.choice(self.real)
            kind, rgb = clean.photo(d, sources.load(path), w, h)
            if kind == "photo-whole":
                self.own = sources.load_indexed(path)
            return kind, path.stem, rgb
        kind, rgb = clean.scenes.scene(d, w, h)
        return kind, f"{self.prefix}-{kind}-{d.getrandbits(40):010x}", rgb

    def _hide_alpha(self, d, pixels, hiding):
        if hiding.method != "alpha":
            return pixels
        room = embed.capacity("alpha", pixels.shape[1], pixels.shape[0])
        return embed.embed_alpha(pixels, hiding.draw(d, self.writer, room))

    def _hide_rgb(self, d, pixels, hiding):
        if hiding.method != "lsb.rgb":
            return pixels
        room = embed.capacity("lsb.rgb", pixels.shape[1], pixels.shape[0], hiding.marked)
        return embed.embed_rgb(pixels, hiding.draw(d, self.writer, room), hiding.order, hiding.marked)

    def _hide_indices(self, d, indices, palette, hiding):
        """(indices, palette): the palette grows by one where a changed index would lie beyond it."""
        if hiding.method != "palette":
            return indices, palette
        room = embed.capacity("palette", indices.shape[1], indices.shape[0], hiding.marked)
        out = embed.embed_indices(indices, hiding.draw(d, self.writer, room), hiding.order, hiding.marked)
        if out.max() >= len(palette):
            palette = np.vstack([palette, palette[-1:]])
        return out, palette

    def _true_colour(self, d, rgb, alpha, hiding, notes):
        """RGB or RGBA samples, with the text in them when the method is alpha or lsb.rgb."""
        if not alpha:
            return self._hide_rgb(d, rgb, hiding)
        kind, plane, rgb = clean.alpha_plane(d, rgb)
        notes.append("alpha-" + kind)
        return self._hide_rgb(d, self._hide_alpha(d, np.dstack([rgb, plane]), hiding), hiding)

    # ---- metadata

    def _exif(self, d, hiding, probability, rgb, notes):
        """A TIFF block or None; the one that hides the text, if the method is exif."""
        big_endian = d.chance(0.5)
        long_text = self.writer.text(d, 700)[0] if d.chance(0.12) else None
        if hiding.method == "exif":
            charset = d.pick({"ascii": 62, "undefined": 12, "utf-16": 14, "utf-8": 12})
            comment = embed.user_comment(hiding.draw(d, self.writer, 20000), charset, big_endian)
            notes.append("comment-" + charset)
            if d.chance(0.3):
                return embed.exif_block(comment, big_endian, d.chance(0.3))
            return metadata.exif(d, comment=comment, big_endian=big_endian, in_ifd0=d.chance(0.12), rich=d.chance(0.75), rgb=rgb,
                                 long_text=long_text)
        if not d.chance(probability):
            return None
        comment = None
        if d.chance(0.6):
            kind, comment = metadata.innocent_comment(d)
            notes.append("comment-" + kind)
        if long_text is not None:
            notes.append("exif-text")
        return metadata.exif(d, comment=comment, big_endian=big_endian, in_ifd0=d.chance(0.06), rich=d.chance(0.9), rgb=rgb,
                             long_text=long_text)

    def _xmp(self, d, probability, notes):
        if not d.chance(probability):
            return None
        notes.append("xmp")
        return metadata.xmp(d, self.writer.text(d, 700)[0] if d.chance(0.4) else None)

    def _icc(self, d, probability, notes):
        if not d.chance(probability):
            return None
        notes.append("icc")
        return metadata.icc(d)

    # ---- PNG

    def _png_around(self, d, data, rgb, hiding, notes):
        before, after = [], []
        if d.chance(0.3):
            before.append((b"gAMA", struct.pack(">I", 45455)))
        if d.chance(0.3):
            before.append((b"pHYs", struct.pack(">IIB", 2835, 2835, 1)))
        if d.chance(0.15):
            after.append((b"tIME", struct.pack(">HBBBBB", 2000 + d.randint(0, 25), 3, d.randint(1, 28), 1, 2, 3)))
        if d.chance(0.3):
            text = self.writer.text(d, d.choice((40, 700, 4000)))[0] if d.chance(0.7) else d.choice(metadata.SOFTWARE)
            (before if d.chance(0.7) else after).append(metadata.png_text(d, text))
            notes.append("text")
        profile, packet = self._icc(d, 0.12, notes), self._xmp(d, 0.08, notes)
        if profile:
            before.append((b"iCCP", b"profile\0\0" + zlib.compress(profile)))
        if packet:
            before.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
        block = self._exif(d, hiding, 0.14, rgb, notes)
        if block:
            (before if d.chance(0.6) else after).append((b"eXIf", block))
        present = {tag for tag, _ in containers.png_chunks(data)} - {b"tEXt", b"zTXt", b"iTXt"}
        return containers.png_insert(data, [chunk for chunk in before if chunk[0] not in present], after)

    def _png(self, d, rgb, carrier, hiding, notes):
        settings = {"interlaced": d.chance(0.14), "level": d.choice((1, 3, 6, 9 if rgb.size < 60000 else 6)),
                    "filters": d.choice(("adaptive", "adaptive", 0, 1, 2, 4)), "split": d.choice((0, 0, 8192, 1000))}
        by_pil = d.chance(0.4) and not settings["interlaced"]
        if carrier.startswith("pal"):
            data = self._png_palette(d, rgb, carrier, hiding, notes, settings)
        elif carrier.startswith("gray"):
            data = self._png_gray(d, rgb, carrier, notes, settings)
        else:
            pixels = self._true_colour(d, rgb, "rgba" in carrier, hiding, notes)
            colour_type = containers.RGBA if "rgba" in carrier else containers.RGB
            if carrier.endswith("16"):
                data = containers.png(_sixteen(d, pixels), colour_type, 16, **settings)
            elif carrier == "rgb-key":
                key = struct.pack(">HHH", *(int(v) for v in pixels[-1, -1]))
                data = containers.png(pixels, colour_type, transparency=key, **settings)
            elif by_pil:
                data = _saved(pixels, "PNG", compress_level=settings["level"])
                carrier += "-pil"
            else:
                data = containers.png(pixels, colour_type, **settings)
                if d.chance(0.04):
                    more = [containers.png(np.roll(pixels, 9 * i, axis=1), colour_type, **settings) for i in range(1, d.randint(2, 3))]
                    return containers.png_animate(data, more), carrier + "-animated"
        return data, carrier + ("-interlaced" if settings["interlaced"] else "")

    def _png_palette(self, d, rgb, carrier, hiding, notes, settings):
        bits = int(carrier[3])
        colours = {8: d.choice((256, 256, 256, d.randint(17, 256), d.randint(2, 16))), 4: d.choice((16, d.randint(2, 16))),
                   2: d.choice((4, d.randint(2, 4))), 1: 2}[bits]
        kind, indices, palette = clean.indexed(d, rgb, colours, self.own)
        notes.append("palette-" + kind)
        indices, palette = self._hide_indices(d, indices, palette, hiding)
        transparency = None
        if carrier.endswith("alpha"):
            transparency = d.block(d.randint(1, len(palette))) if d.chance(0.5) else b"\0"
        return containers.png(indices, containers.PALETTE, bits, palette=palette, transparency=transparency, **settings)

    @staticmethod
    def _png_gray(d, rgb, carrier, notes, settings):
        gray = np.asarray(Image.fromarray(rgb).convert("L"))
        if carrier == "gray-alpha":
            kind, plane, _ = clean.alpha_plane(d, rgb)
            notes.append("alpha-" + kind)
            return containers.png(np.dstack([gray, plane]), containers.GRAY_ALPHA, **settings)
        bits = int(carrier[4:] or 8)
        if bits == 16:
            return containers.png(_sixteen(d, gray), containers.GRAY, 16, **settings)
        return containers.png(gray >> (8 - bits), containers.GRAY, bits, **settings)

    # ---- JPEG

    def _jpeg(self, d, rgb, carrier, hiding, notes):
        image = Image.fromarray(rgb)
        if carrier == "gray":
            image = image.convert("L")
        elif carrier == "cmyk":
            image = image.convert("CMYK")
        out = io.BytesIO()
        image.save(out, "JPEG", quality=d.randint(30, 98), subsampling=d.choice((0, 1, 2)), optimize=d.chance(0.3),
                   progressive=carrier == "progressive" or (carrier == "gray" and d.chance(0.3)))
        return out.getvalue(), carrier

    def _jpeg_around(self, d, data, rgb, hiding, notes):
        segments = []
        block = self._exif(d, hiding, 0.42, rgb, notes)
        if block:
            segments.append((0xE1, b"Exif\0\0" + block))
        packet, profile = self._xmp(d, 0.15, notes), self._icc(d, 0.2, notes)
        if packet:
            segments.append((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))
        if profile:
            segments.append((0xE2, b"ICC_PROFILE\0\1\1" + profile))
        if d.chance(0.12):
            segments.append((0xED, metadata.photoshop(d)))
            notes.append("8bim")
        if d.chance(0.14):
            text = self.writer.text(d, 700)[0] if d.chance(0.6) else d.choice(metadata.SOFTWARE)
            segments.append((0xFE, text.encode()))
            notes.append("com")
        if d.chance(0.04):
            segments.append((0xE2, metadata.mpf(d, 2000, len(data) + 200)))
            notes.append("mpf")
        if d.chance(0.05):
            segments.append((d.choice((0xE3, 0xE4, 0xE7, 0xEC, 0xEF)), d.block(d.randint(4, 200))))
        if d.chance(0.25):
            d.shuffle(segments)
        return containers.jpeg_insert(data, segments, keep_jfif=d.chance(0.7), first=d.chance(0.15))

    # ---- GIF

    def _gif(self, d, rgb, carrier, hiding, notes):
        h, w = rgb.shape[:2]
        colours = d.choice((256, 256, 256, 128, 64, 16, 4, 2, d.randint(2, 256)))
        canvas_w, canvas_h, left, top = w, h, 0, 0
        if carrier == "offset":
            left, top = d.randint(0, 40), d.randint(0, 40)
            canvas_w, canvas_h = w + left + d.randint(0, 40), h + top + d.randint(0, 40)
        kind, indices, palette = clean.indexed(d, rgb, colours, self.own)
        notes.append("palette-" + kind)
        indices, palette = self._hide_indices(d, indices, palette, hiding)
        if carrier == "plain" and d.chance(0.4):
            data = _pil_gif(indices, palette)
            if data is not None:
                return data, "plain-pil"
        first = {"indices": indices, "left": left, "top": top, "interlaced": carrier == "interlaced" or d.chance(0.1)}
        frames = [first]
        if carrier == "transparent":
            first["transparent"] = int(indices[-1, -1])
        if carrier == "frames" or (carrier == "offset" and d.chance(0.5)):
            frames += self._more_frames(d, indices, canvas_w, canvas_h)
            for frame in frames:
                frame.update(delay=d.choice((2, 10, 50)), disposal=d.choice((0, 1, 2)))
        local = d.chance(0.2)
        if local:
            for frame in frames:
                frame["palette"] = palette
        comments = [self.writer.text(d, 700)[0].encode() if d.chance(0.6) else d.choice(metadata.SOFTWARE).encode()
                    for _ in range(d.choice((0, 0, 0, 1)))]
        if comments:
            notes.append("comment")
        applications = [(b"ICCRGBG1012", metadata.icc(d))] if d.chance(0.05) else []
        data = containers.gif(canvas_w, canvas_h, frames, palette=None if local and d.chance(0.5) else palette,
                              loop=d.choice((0, 3)) if len(frames) > 1 else None, comments=comments, applications=applications,
                              xmp=self._xmp(d, 0.06, notes))
        return data, carrier

    @staticmethod
    def _more_frames(d, indices, canvas_w, canvas_h):
        frames = []
        h, w = indices.shape
        for _ in range(d.randint(1, 4)):
            fw, fh = d.randint(1, w), d.randint(1, h)
            part = np.roll(indices, d.randint(1, 20), axis=1)[:fh, :fw]
            frames.append({"indices": part, "left": d.randint(0, canvas_w - fw), "top": d.randint(0, canvas_h - fh)})
        return frames

    # ---- WebP

    def _webp(self, d, rgb, carrier, hiding, notes):
        pixels = self._true_colour(d, rgb, "alpha" in carrier, hiding, notes)
        h, w = pixels.shape[:2]
        if carrier == "animated" and hiding.method not in ("alpha", "lsb.rgb") and d.chance(0.5):
            data = _pil_animation(d, pixels)
        elif carrier.startswith("animated"):
            lossless = hiding.method in ("alpha", "lsb.rgb") or d.chance(0.5)
            stills = [_saved(np.roll(pixels, i * 5, axis=1), "WEBP", lossless=lossless, quality=50, exact=True, method=0)
                      for i in range(d.randint(2, 4))]
            data = containers.webp_animation(stills, w, h, duration=d.choice((40, 100)))
        elif carrier.startswith("lossless"):
            exact = hiding.method in ("alpha", "lsb.rgb") or d.chance(0.7)
            data = _saved(pixels, "WEBP", lossless=True, exact=exact, quality=d.choice((0, 20, 60)), method=d.choice((0, 1, 2)))
        else:
            data = self._webp_lossy(d, pixels, hiding)
        return data, carrier

    def _webp_around(self, d, data, rgb, hiding, notes):
        h, w = rgb.shape[:2]
        block, packet, profile = self._exif(d, hiding, 0.3, rgb, notes), self._xmp(d, 0.1, notes), self._icc(d, 0.15, notes)
        if block and d.chance(0.3):
            block = b"Exif\0\0" + block  # as many programs write it
        return containers.webp_extend(data, w, h, icc=profile, exif=block, xmp=packet)

    @staticmethod
    def _webp_lossy(d, pixels, hiding):
        quality = 100 if hiding.method == "alpha" or d.chance(0.7) else d.randint(20, 90)
        data = _saved(pixels, "WEBP", quality=d.randint(30, 97), alpha_quality=quality, exact=True, method=d.choice((0, 2, 4)))
        if hiding.method == "alpha" and not np.array_equal(_decoded(data)[:, :, 3], pixels[:, :, 3]):
            raise AssertionError("libwebp did not keep the alpha plane")
        return data

    # ---- BMP

    def _bmp(self, d, rgb, carrier, hiding, notes):
        top_down = d.chance(0.2)
        suffix = "-topdown" if top_down else ""
        if carrier.startswith("pal") or carrier == "rle8":
            bits = int(carrier[3:])
            if carrier == "rle8":
                top_down, suffix = False, ""  # run lengths know one row order only
            colours = {8: d.choice((256, 256, d.randint(2, 256))), 4: d.choice((16, d.randint(2, 16))), 1: 2}[bits]
            kind, indices, palette = clean.indexed(d, rgb, colours, self.own)
            notes.append("palette-" + kind)
            indices, palette = self._hide_indices(d, indices, palette, hiding)
            return containers.bmp(indices, carrier, palette=palette, top_down=top_down), carrier + suffix
        pixels = self._true_colour(d, rgb, carrier.startswith("rgba"), hiding, notes)
        if carrier == "rgb24" and d.chance(0.4):
            return _saved(pixels, "BMP"), carrier + "-pil"
        return containers.bmp(pixels, carrier, top_down=top_down, unused=d.choice((0, 0, 255))), carrier + suffix


# ---- helpers

def _size(d, form):
    """Width and height; a few are large. The smallest holds a text of 20 bytes."""
    part = d.pick({"usual": 52, "small": 27, "middle": 15, "large": 4.5, "thin": 1, "huge": 0.5})
    if part == "usual":
        return 256, 256
    if part == "small":
        return d.randint(16, 255), d.randint(16, 200)
    if part == "middle":
        return d.randint(200, 480), d.randint(200, 400)
    if part == "thin":
        return d.choice(((d.randint(300, 900), d.randint(16, 24)), (d.randint(16, 24), d.randint(300, 900))))
    if part == "huge" and form not in ("bmp", "gif"):
        return d.randint(1200, 2200), d.randint(900, 1500)
    most = {"jpeg": 1400, "bmp": 640, "gif": 640}.get(form, 900)
    return d.randint(480, most), d.randint(400, most * 3 // 4)


def _sixteen(d, samples):
    """16-bit samples whose high bytes are the given ones."""
    low = d.choice(("same", "zero", "noise"))
    high = samples.astype(np.uint16) << 8
    if low == "same":
        return high | samples
    return high if low == "zero" else high | d.array.integers(0, 256, samples.shape, dtype=np.uint16)


def _saved(pixels, form, **settings):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **settings)
    return out.getvalue()


def _decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGBA"))


def _pil_animation(d, pixels):
    out = io.BytesIO()
    frames = [Image.fromarray(np.roll(pixels, i * 5, axis=1)) for i in range(d.randint(2, 4))]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=80, lossless=d.chance(0.4), quality=60, method=0)
    return out.getvalue()


def _pil_gif(indices, palette):
    """PIL's GIF of these indices, or None where it would not keep them."""
    image = Image.fromarray(indices, "P")
    image.putpalette(np.ascontiguousarray(palette, np.uint8).tobytes())
    out = io.BytesIO()
    image.save(out, "GIF", optimize=False)
    with Image.open(out) as again:
        kept = again.mode == "P" and np.array_equal(np.array(again), indices)
    return out.getvalue() if kept else None
