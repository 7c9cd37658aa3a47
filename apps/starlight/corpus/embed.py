#!/usr/bin/python3
"""Hides a text in one image, by each of the five methods that Starlight looks for.

  alpha    least significant bits of the alpha plane, first pixel in bit 0 of each byte: "AI42", text, NUL
  lsb.rgb  least significant bits of R,G,B,R,G,B...: ["AI42",] text, NUL; either bit order
  palette  least significant bits of palette indices: ["AI42",] text, NUL; either bit order
  exif     EXIF UserComment: 8-byte character code, text
  raw      bytes after the end of the image: text / text, NUL / "AI42", text, NUL

Bits fill the carrier from pixel (0,0), row by row, without a key; what lies behind them stays as it was.

  embed.py --method lsb.rgb --payload "some text" INPUT OUTPUT      the output's name gives its format

The functions work on arrays and bytes; build.py makes every other variant of the containers with them.
"""
import argparse
import io
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import containers

METHODS = ("alpha", "palette", "lsb.rgb", "exif", "raw")
ORDERS = ("msb-first", "lsb-first")
FORMATS = {"alpha": ("png", "webp", "bmp"), "lsb.rgb": ("png", "webp", "bmp"), "palette": ("gif", "png", "bmp"),
           "exif": ("jpeg", "png", "webp"), "raw": ("png", "jpeg", "gif", "webp", "bmp")}
MARK = b"AI42"
RAW_VARIANTS = ("bare", "nul", "marked")
CHARSETS = ("ascii", "undefined", "utf-16", "utf-8")


class DoesNotFit(ValueError):
    """The text needs more room than the carrier has."""


# ---- bits

def framed(text, marked):
    """The bytes that go into a plane of bits."""
    return (MARK if marked else b"") + text.encode() + b"\0"


def bits_of(data, order):
    """uint8 array of 0 and 1, eight a byte."""
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="big" if order == "msb-first" else "little")


def _write_bits(plane, data, order):
    """Replaces the lowest bits of the flat plane from its beginning."""
    bits = bits_of(data, order)
    if len(bits) > len(plane):
        raise DoesNotFit(f"{len(data)} bytes need {len(bits)} samples, the image has {len(plane)}")
    plane[:len(bits)] = plane[:len(bits)] & ~plane.dtype.type(1) | bits


def embed_alpha(pixels, text):
    """RGBA samples (uint8) with the text in their alpha plane."""
    out = pixels.copy()
    plane = out[:, :, 3].reshape(-1)
    _write_bits(plane, framed(text, True), "lsb-first")
    out[:, :, 3] = plane.reshape(out.shape[:2])
    return out


def embed_rgb(pixels, text, order, marked=False):
    """RGB or RGBA samples (uint8) with the text in R, G and B."""
    out = pixels.copy()
    plane = out[:, :, :3].reshape(-1)
    _write_bits(plane, framed(text, marked), order)
    out[:, :, :3] = plane.reshape(out.shape[0], out.shape[1], 3)
    return out


def embed_indices(indices, text, order, marked=False):
    """Palette indices (uint8) with the text in their lowest bits."""
    out = indices.copy().reshape(-1)
    _write_bits(out, framed(text, marked), order)
    return out.reshape(indices.shape)


def capacity(method, width, height, marked=False):
    """Bytes of text that fit; the methods without bits have no limit here."""
    samples = width * height * (3 if method == "lsb.rgb" else 1)
    return samples // 8 - 1 - (4 if marked or method == "alpha" else 0)


# ---- bytes

def user_comment(text, charset="ascii", big_endian=False):
    """Value of tag 0x9286."""
    if charset == "utf-16":
        return b"UNICODE\0" + text.encode("utf-16-be" if big_endian else "utf-16-le")
    return {"ascii": b"ASCII\0\0\0", "undefined": bytes(8), "utf-8": b"UNICODE\0"}[charset] + text.encode()


def exif_block(comment, big_endian=False, in_ifd0=False):
    """A TIFF block that holds nothing but the UserComment."""
    order = ">" if big_endian else "<"
    entry = struct.pack(order + "HHI", 0x9286, 7, len(comment))
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", 8)
    if in_ifd0:
        return head + struct.pack(order + "H", 1) + entry + struct.pack(order + "II", 26, 0) + comment
    pointer = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, 26) + struct.pack(order + "I", 0)
    return head + pointer + struct.pack(order + "H", 1) + entry + struct.pack(order + "II", 44, 0) + comment


def trailing(text, variant):
    """Bytes to append behind the image."""
    data = text.encode()
    return {"bare": data, "nul": data + b"\0", "marked": MARK + data + b"\0"}[variant]


# ---- command

def embed_file(image, output_format, method, text, order, marked, charset):
    """Encoded bytes of the PIL image with the text in it."""
    if output_format not in FORMATS[method]:
        raise ValueError(f"{method} has no carrier in {output_format}")
    if method == "alpha":
        return _encode(embed_alpha(np.array(image.convert("RGBA")), text), output_format)
    if method == "lsb.rgb":
        keep = "RGBA" if image.mode in ("RGBA", "LA", "PA") and output_format != "bmp" else "RGB"
        return _encode(embed_rgb(np.array(image.convert(keep)), text, order, marked), output_format)
    if method == "palette":
        return _palette_file(image, output_format, text, order, marked)
    plain = _plain_file(image, output_format)
    if method == "raw":
        return plain + trailing(text, "marked" if marked else "bare")
    block = exif_block(user_comment(text, charset))
    if output_format == "jpeg":
        return containers.jpeg_insert(plain, [(0xE1, b"Exif\0\0" + block)])
    if output_format == "webp":
        return containers.webp_extend(plain, *image.size, exif=block)
    end = plain.index(b"IDAT") - 4  # the first of them
    return plain[:end] + containers.png_chunk(b"eXIf", block) + plain[end:]


def _encode(pixels, output_format):
    alpha = pixels.shape[2] == 4
    if output_format == "png":
        return containers.png(pixels, containers.RGBA if alpha else containers.RGB)
    if output_format == "bmp":
        return containers.bmp(pixels, "rgba-v4" if alpha else "rgb24")
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, exact=True)
    return out.getvalue()


def _palette_file(image, output_format, text, order, marked):
    if image.mode != "P":
        image = image.convert("RGB").quantize(256)
    palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    palette = np.vstack([palette, np.zeros((256 - len(palette), 3), np.uint8)])
    indices = embed_indices(np.array(image), text, order, marked)
    if output_format == "png":
        return containers.png(indices, containers.PALETTE, palette=palette, filters=0)
    if output_format == "bmp":
        return containers.bmp(indices, "pal8", palette=palette)
    return containers.gif(*image.size, [{"indices": indices}], palette=palette)


def _plain_file(image, output_format):
    out = io.BytesIO()
    settings = {"jpeg": {"quality": 92}, "webp": {"lossless": True}}.get(output_format, {})
    if image.mode not in ("RGB", "L", "P") or output_format in ("jpeg", "webp"):
        image = image.convert("RGB")
    image.save(out, output_format.upper(), **settings)
    return out.getvalue()


def main():
    parser = argparse.ArgumentParser(description="Hide a text in an image.")
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path, help="name.png, .jpg, .gif, .webp or .bmp")
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--payload", help="text to hide; without it the standard input is read")
    parser.add_argument("--bit-order", choices=ORDERS, default="msb-first", help="for lsb.rgb and palette")
    parser.add_argument("--marked", action="store_true", help="put AI42 before the text (alpha has it always)")
    parser.add_argument("--charset", choices=CHARSETS, default="ascii", help="character code of the UserComment")
    args = parser.parse_args()
    text = args.payload if args.payload is not None else sys.stdin.buffer.read().decode()
    if not text or "\0" in text:
        parser.error("the payload must be a text that is not empty and has no NUL")
    output_format = {"jpg": "jpeg"}.get(args.output.suffix[1:].lower(), args.output.suffix[1:].lower())
    try:
        with Image.open(args.input) as image:
            data = embed_file(image, output_format, args.method, text, args.bit_order, args.marked, args.charset)
    except ValueError as error:
        parser.error(str(error))
    args.output.write_bytes(data)


if __name__ == "__main__":
    main()
