#!/usr/bin/env python3
"""Pictures written by Pillow, looked at by the decoder: pixels, indices, palettes and carriers must be what numpy makes of
the same arrays.

Usage: test_carriers.py DUMP_TOOL     (the built dump_carriers.c)
"""
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from PIL import Image

DUMP = sys.argv.pop(1) if len(sys.argv) > 1 else None
FOLDER = DECODER = None
SIZES = [(1, 1), (7, 5), (8, 8), (33, 17), (64, 48), (250, 3)]  # width, height


class Decoder:
    """The tool as one process for all tests: a path to it, a line of JSON back."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "picture.bin"
        self.process = subprocess.Popen([DUMP, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def decode(self, data, all_pixels):
        self.path.write_bytes(data)
        self.process.stdin.write(b"all " * all_pixels + bytes(self.path) + b"\n")
        self.process.stdin.flush()
        seen = json.loads(self.process.stdout.readline())
        assert "error" not in seen, seen["error"]
        return seen

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


def setUpModule():
    global FOLDER, DECODER
    FOLDER = tempfile.TemporaryDirectory()
    DECODER = Decoder(FOLDER.name)


def tearDownModule():
    DECODER.close()
    FOLDER.cleanup()


def decode(data, all_pixels=False):
    return DECODER.decode(data, all_pixels)


def encode(image, format_name, **options):
    out = io.BytesIO()
    image.save(out, format_name, **options)
    return out.getvalue()


def array(hexadecimal, *shape):
    return np.frombuffer(bytes.fromhex(hexadecimal), np.uint8).reshape(shape)


def packed(samples, order):
    """The low bits of samples, eight to a byte; bits that fill no byte are left out."""
    bits = samples.reshape(-1) & 1
    return np.packbits(bits[:bits.size // 8 * 8], bitorder=order).tobytes().hex() or None


class Carriers(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(20240607)

    def samples(self, *shape, below=256):
        return self.random.integers(0, below, shape, dtype=np.uint8)

    def check_pixels(self, seen, pixels, lossy=False):
        """pixels: [height][width][3 or 4], as must be stored."""
        height, width, channels = pixels.shape
        self.assertEqual([height, width, channels], [seen["raster_height"], seen["raster_width"], seen["channels"]])
        self.assertEqual(bool(seen["has_alpha"]), channels == 4)
        np.testing.assert_array_equal(array(seen["pixels"], height, width, channels), pixels)
        color, alpha = pixels[..., :3], pixels[..., 3:]
        expected = {
            "rgb_lsb": None if lossy else packed(color, "little"), "rgb_msb": None if lossy else packed(color, "big"),
            "alpha_lsb": packed(alpha, "little"), "alpha_msb": packed(alpha, "big"),
            "palette_lsb": None, "palette_msb": None, "exif": None, "raw": None}
        self.assertEqual({name: seen[name] for name in expected}, expected)

    def check_indices(self, seen, indices, palette=None):
        height, width = indices.shape
        self.assertEqual([height, width], [seen["raster_height"], seen["raster_width"]])
        self.assertIsNone(seen["pixels"])
        np.testing.assert_array_equal(array(seen["indices"], height, width), indices)
        self.assertEqual(seen["palette_lsb"], packed(indices, "little"))
        self.assertEqual(seen["palette_msb"], packed(indices, "big"))
        self.assertIsNone(seen["rgb_lsb"] or seen["alpha_lsb"])
        if palette is not None:
            stored = array(seen["palette"], seen["palette_count"], 4)
            np.testing.assert_array_equal(stored[:len(palette), :palette.shape[1]], palette[:len(stored)])

    def palette_image(self, width, height, colors):
        indices = self.samples(height, width, below=colors)
        palette = self.samples(colors, 3)
        image = Image.fromarray(indices, "P")
        image.putpalette(palette.tobytes())
        return image, indices, palette

    def test_png_true_colour(self):
        for width, height in SIZES:
            for channels, mode in ((3, "RGB"), (4, "RGBA")):
                pixels = self.samples(height, width, channels)
                pixels[height // 2:] = (pixels[height // 2:].astype(int) // 16 + np.arange(width)[None, :, None]) % 256
                for level in (1, 9):
                    data = encode(Image.fromarray(pixels, mode), "PNG", compress_level=level)
                    self.check_pixels(decode(data), pixels)

    def test_png_gray(self):
        for width, height in SIZES:
            gray = self.samples(height, width)
            self.check_pixels(decode(encode(Image.fromarray(gray, "L"), "PNG")), np.stack([gray] * 3, -1))
            both = self.samples(height, width, 2)
            seen = decode(encode(Image.fromarray(both, "LA"), "PNG"))
            self.check_pixels(seen, both[..., [0, 0, 0, 1]])
            self.assertTrue(seen["gray"])
            bits = self.samples(height, width, below=2)
            seen = decode(encode(Image.fromarray(bits * 255, "L").convert("1"), "PNG"))
            self.assertEqual(seen["bit_depth"], 1)
            self.check_pixels(seen, np.stack([bits * 255] * 3, -1))

    def test_png_deep_gray(self):
        deep = self.random.integers(0, 65536, (9, 13), dtype=np.uint16)
        seen = decode(encode(Image.fromarray(deep), "PNG"))
        self.assertEqual(seen["bit_depth"], 16)
        self.check_pixels(seen, np.stack([(deep >> 8).astype(np.uint8)] * 3, -1))

    def test_png_palette(self):
        for width, height in SIZES:
            for bits in (1, 2, 4, 8):
                image, indices, palette = self.palette_image(width, height, 1 << bits)
                seen = decode(encode(image, "PNG", bits=bits, optimize=False))
                self.assertEqual(seen["bit_depth"], bits)
                self.check_indices(seen, indices, palette)

    def test_png_palette_with_transparency(self):
        image, indices, palette = self.palette_image(20, 20, 16)
        alphas = self.samples(10)
        seen = decode(encode(image, "PNG", bits=4, transparency=alphas.tobytes()))
        self.assertFalse(seen["has_alpha"])
        self.check_indices(seen, indices, np.column_stack([palette[:10], alphas]))

    def test_gif(self):
        for width, height in SIZES:
            for colors in (2, 4, 16, 100, 256):
                for interlace in (0, 1):
                    image, indices, _ = self.palette_image(width, height, colors)
                    data = encode(image, "GIF", interlace=interlace, optimize=False)
                    again = np.array(Image.open(io.BytesIO(data)))
                    if again.ndim == 2 and Image.open(io.BytesIO(data)).mode == "P":
                        np.testing.assert_array_equal(again, indices)
                    seen = decode(data)
                    self.assertEqual(bool(seen["interlaced"]), interlace and min(width, height) >= 16)
                    self.check_indices(seen, indices)

    def test_gif_of_long_runs(self):
        indices = np.zeros((300, 400), np.uint8)
        indices[100:200] = 3
        indices[:, 50] = np.arange(300) % 4
        image = Image.fromarray(indices, "P")
        image.putpalette(bytes(range(12)))
        self.check_indices(decode(encode(image, "GIF", interlace=1)), indices)

    def test_gif_animation(self):
        images = [self.palette_image(40, 30, 32)[0] for _ in range(5)]
        data = encode(images[0], "GIF", save_all=True, append_images=images[1:], interlace=0, optimize=False)
        seen = decode(data)
        self.assertEqual(seen["frames"], 5)
        self.check_indices(seen, np.array(images[0]))

    def test_webp_lossless(self):
        for width, height in SIZES:
            for channels, mode in ((3, "RGB"), (4, "RGBA")):
                pixels = self.samples(height, width, channels)
                data = encode(Image.fromarray(pixels, mode), "WEBP", lossless=True, exact=True, method=0)
                seen = decode(data)
                self.assertFalse(seen["lossy"])
                self.check_pixels(seen, pixels)

    def test_webp_lossy(self):
        for width, height in SIZES:
            pixels = self.samples(height, width, 4)
            data = encode(Image.fromarray(pixels, "RGBA"), "WEBP", quality=70)
            seen = decode(data)
            self.assertTrue(seen["lossy"])
            self.check_pixels(seen, np.array(Image.open(io.BytesIO(data))), lossy=True)
            data = encode(Image.fromarray(pixels[..., :3], "RGB"), "WEBP", quality=70)
            self.assertIsNone(decode(data)["pixels"])
            self.check_pixels(decode(data, all_pixels=True), np.array(Image.open(io.BytesIO(data))), lossy=True)

    def test_webp_animation(self):
        frames = [Image.fromarray(self.samples(20, 30, 4) | 1, "RGBA") for _ in range(4)]  # alpha 0 loses its colour
        data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, exact=True)
        seen = decode(data)
        self.assertEqual(seen["frames"], 4)
        self.check_pixels(seen, np.array(frames[0]))

    def test_jpeg(self):
        for width, height in SIZES:
            for mode, channels in (("RGB", 3), ("L", 1), ("CMYK", 4)):
                pixels = self.samples(height, width, channels)
                image = Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels, mode)
                for progressive in (False, True):
                    data = encode(image, "JPEG", quality=80, progressive=progressive)
                    seen = decode(data)
                    self.assertIsNone(seen["pixels"] or seen["rgb_lsb"] or seen["raw"])
                    self.assertEqual([seen["width"], seen["height"]], [width, height])
                    self.assertEqual(bool(seen["interlaced"]), progressive)
                    if mode != "CMYK":
                        again = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
                        self.check_pixels(decode(data, all_pixels=True), again, lossy=True)

    def test_bmp(self):
        for width, height in SIZES:
            pixels = self.samples(height, width, 3)
            self.check_pixels(decode(encode(Image.fromarray(pixels, "RGB"), "BMP")), pixels)
            pixels = self.samples(height, width, 4)
            pixels[0, 0, 3] = 77
            self.check_pixels(decode(encode(Image.fromarray(pixels, "RGBA"), "BMP")), pixels)
            gray = self.samples(height, width)
            self.check_indices(decode(encode(Image.fromarray(gray, "L"), "BMP")), gray)
            image, indices, palette = self.palette_image(width, height, 200)
            self.check_indices(decode(encode(image, "BMP")), indices, palette)
            bits = self.samples(height, width, below=2)
            self.check_indices(decode(encode(Image.fromarray(bits * 255, "L").convert("1"), "BMP")), bits)

    def test_exif_comment_and_trailing_bytes(self):
        comment = b"ASCII\0\0\0hello from the comment"
        exif = Image.Exif()
        exif[0x8769] = {0x9286: comment}
        pixels = self.samples(16, 16, 3)
        image = Image.fromarray(pixels, "RGB")
        for name in ("PNG", "JPEG", "WEBP"):
            seen = decode(encode(image, name, exif=exif.tobytes()) + b"AI42 text\0")
            self.assertEqual(bytes.fromhex(seen["user_comment"]), comment, name)
            self.assertEqual(bytes.fromhex(seen["exif"]), comment[8:], name)
            self.assertEqual(bytes.fromhex(seen["raw"]), b"AI42 text\0", name)
        for name in ("GIF", "BMP"):
            seen = decode(encode(image.quantize(8) if name == "GIF" else image, name) + b"AI42 text\0")
            self.assertEqual(bytes.fromhex(seen["raw"]), b"AI42 text\0", name)


if __name__ == "__main__":
    unittest.main()
