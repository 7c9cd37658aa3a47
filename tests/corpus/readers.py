"""Reads hidden texts back, from the definitions of the formats and methods alone: nothing here calls the corpus's code.

PNG, GIF, BMP and EXIF are decoded by hand, WebP's pixels by PIL. Slow and plain on purpose.
"""
import io
import struct
import zlib

import numpy as np
from PIL import Image


class Image_:
    """What a file stores: samples (8-bit; of 16 bits the high byte), indices, UserComment, bytes behind the end."""

    def __init__(self):
        self.samples = self.indices = self.comment = self.comment_order = None
        self.palette_size = 0
        self.tail = b""


def read(data):
    if data[:4] == b"\x89PNG":
        return read_png(data)
    if data[:2] == b"\xff\xd8":
        return read_jpeg(data)
    if data[:4] == b"GIF8":
        return read_gif(data)
    if data[:4] == b"RIFF":
        return read_webp(data)
    assert data[:2] == b"BM"
    return read_bmp(data)


# ---- PNG

def read_png(data):
    out, at, packed = Image_(), 8, b""
    while True:
        size, tag = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(tag + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        at += 12 + size
        if tag == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif tag == b"PLTE":
            out.palette_size = size // 3
        elif tag == b"IDAT":
            packed += body
        elif tag == b"eXIf":
            out.comment, out.comment_order = user_comment(body)
        elif tag == b"IEND":
            break
    out.tail = data[data.rindex(b"IEND", 0, at) + 8:]
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    raw = zlib.decompress(packed)
    picture = np.zeros((height, width, channels), np.uint8)
    passes = [(0, 0, 1, 1)] if not interlaced else [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                                                    (1, 0, 2, 2), (0, 1, 1, 2)]
    used = 0
    for x, y, dx, dy in passes:
        w, h = -(-(width - x) // dx), -(-(height - y) // dy)
        if w > 0 and h > 0:
            part, size = png_pass(raw[used:], w, h, channels, depth)
            used += size
            picture[y::dy, x::dx] = part
    assert used == len(raw)
    if colour == 3:
        out.indices = picture[:, :, 0]
        assert out.indices.max() < out.palette_size
    else:
        out.samples = picture
    return out


def png_pass(raw, w, h, channels, depth):
    length = (w * channels * depth + 7) // 8
    step = max(1, channels * depth // 8)
    rows, before = [], bytes(length)
    for y in range(h):
        kind = raw[y * (length + 1)]
        line = np.frombuffer(raw, np.uint8, length, y * (length + 1) + 1)
        before = unfilter(kind, line, before, step)
        rows.append(np.frombuffer(bytes(before), np.uint8))
    lines = np.stack(rows)
    if depth == 16:
        lines = lines[:, ::2]
    elif depth < 8:
        bits = np.unpackbits(lines, axis=1).reshape(h, -1, depth)
        lines = sum(bits[:, :, i].astype(np.uint8) << (depth - 1 - i) for i in range(depth))[:, :w * channels]
    return lines.reshape(h, w, channels), h * (length + 1)


def unfilter(kind, line, before, step):
    if kind == 0:
        return line.tobytes()
    if kind == 2:
        return (line + np.frombuffer(bytes(before), np.uint8)).tobytes()
    if kind == 1:
        padded = np.concatenate([line, np.zeros(-len(line) % step, np.uint8)]).reshape(-1, step)
        return np.cumsum(padded, axis=0, dtype=np.uint8).tobytes()[:len(line)]
    out = bytearray(line.tobytes())
    for i, value in enumerate(out):
        a = out[i - step] if i >= step else 0
        b = before[i]
        if kind == 3:
            out[i] = (value + (a + b) // 2) & 255
        else:
            c = before[i - step] if i >= step else 0
            pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            out[i] = (value + (a if pa <= pb and pa <= pc else b if pb <= pc else c)) & 255
    return bytes(out)


# ---- GIF: the first frame

def read_gif(data):
    out, flags = Image_(), data[10]
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    out.palette_size = 2 << (flags & 7) if flags & 0x80 else 0
    while data[at] != 0x3B:
        if data[at] == 0x21:
            _, at = sub_blocks(data, at + 2)
            continue
        assert data[at] == 0x2C
        width, height, packed = struct.unpack("<HHB", data[at + 5:at + 10])
        at += 10
        if packed & 0x80:
            size = 2 << (packed & 7)
            at += size * 3
        bits = data[at]
        body, at = sub_blocks(data, at + 1)
        if out.indices is None:
            if packed & 0x80:
                out.palette_size = size
            picture = np.frombuffer(unlzw(body, bits), np.uint8).reshape(height, width)
            if packed & 0x40:
                rows = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
                straight = np.empty_like(picture)
                straight[rows] = picture
                picture = straight
            out.indices = picture
    out.tail = data[at + 1:]
    return out


def sub_blocks(data, at):
    out = []
    while data[at]:
        out.append(data[at + 1:at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(out), at + 1


def unlzw(body, bits):
    clear, out = 1 << bits, []
    table, width, last = [bytes([i]) for i in range(clear)] + [b"", b""], bits + 1, None
    held = have = 0
    for byte in body:
        held |= byte << have
        have += 8
        while have >= width:
            code = held & ((1 << width) - 1)
            held >>= width
            have -= width
            if code == clear:
                table, width, last = table[:clear + 2], bits + 1, None
                continue
            if code == clear + 1:
                return b"".join(out)
            entry = table[code] if code < len(table) else last + last[:1]
            out.append(entry)
            if last is not None and len(table) < 4096:
                table.append(last + entry[:1])
                if len(table) == 1 << width and width < 12:
                    width += 1
            last = entry
    raise AssertionError("LZW data without its end code")


# ---- BMP

def read_bmp(data):
    out = Image_()
    file_size, offset, header = struct.unpack("<I4xII", data[2:18])
    width, height, _, bits, compression = struct.unpack("<iiHHI", data[18:34])
    out.tail = data[file_size:]
    if compression == 1:
        out.palette_size = struct.unpack("<I", data[46:50])[0] or 256
        out.indices = unrle8(data[offset:file_size], width, height)
        return out
    stride = (width * bits + 31) // 32 * 4
    lines = np.frombuffer(data, np.uint8, stride * abs(height), offset).reshape(abs(height), stride)
    lines = lines if height < 0 else lines[::-1]
    if bits <= 8:
        out.palette_size = struct.unpack("<I", data[46:50])[0] or 1 << bits
        unpacked = np.unpackbits(lines, axis=1).reshape(abs(height), -1, bits)
        out.indices = sum(unpacked[:, :, i].astype(np.uint8) << (bits - 1 - i) for i in range(bits))[:, :width]
        return out
    if bits == 16:
        return out  # five bits a channel: no bit of eight to read
    pixels = lines[:, :width * bits // 8].reshape(abs(height), width, bits // 8)
    order = [2, 1, 0, 3][:bits // 8]  # the fourth byte, where the header gives no masks, is alpha if any of them is not 0
    if compression == 3 and header >= 56:
        masks = struct.unpack("<4I", data[54:70])
        order = [(mask.bit_length() - 8) // 8 for mask in masks]
    out.samples = pixels[:, :, order]
    return out


def unrle8(body, width, height):
    out, x, y, at = np.zeros((height, width), np.uint8), 0, height - 1, 0
    while True:
        count, value = body[at], body[at + 1]
        at += 2
        if count:
            assert x + count <= width
            out[y, x:x + count] = value
            x += count
        elif value == 0:
            x, y = 0, y - 1
        else:
            assert value == 1 and at == len(body)
            return out


# ---- JPEG and WebP

def read_jpeg(data):
    out, at = Image_(), 2
    while data[at + 1] != 0xDA:
        assert data[at] == 0xFF
        size = struct.unpack(">H", data[at + 2:at + 4])[0]
        body = data[at + 4:at + 2 + size]
        if data[at + 1] == 0xE1 and body[:6] == b"Exif\0\0":
            out.comment, out.comment_order = user_comment(body[6:])
        at += 2 + size
    while data[at + 1] != 0xD9:  # scans: a marker is FF and neither 00 nor a restart
        size = struct.unpack(">H", data[at + 2:at + 4])[0]
        at += 2 + size
        while not (data[at] == 0xFF and data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7):
            at += 1
    out.tail = data[at + 2:]
    return out


def read_webp(data):
    out, end = Image_(), 8 + struct.unpack("<I", data[4:8])[0]
    end += end & 1
    out.tail = data[end:]
    at, lossless, alpha = 12, False, False
    while at < end:
        tag, size = struct.unpack("<4sI", data[at:at + 8])
        if tag == b"ANMF":
            at += 8 + 16  # its chunks follow as if they were the file's
            continue
        body = data[at + 8:at + 8 + size]
        lossless |= tag == b"VP8L"
        alpha |= tag == b"ALPH" or (tag == b"VP8L" and bool(body[4] & 0x10))
        if tag == b"EXIF":
            out.comment, out.comment_order = user_comment(body[6:] if body[:6] == b"Exif\0\0" else body)
        at += 8 + size + (size & 1)
    if lossless or alpha:
        with Image.open(io.BytesIO(data)) as image:
            out.samples = np.array(image.convert("RGBA" if alpha else "RGB"))
    return out


# ---- EXIF

def user_comment(block):
    """(value of tag 0x9286 of IFD0 or the Exif IFD, byte order)."""
    e = {b"II": "<", b"MM": ">"}[block[:2]]
    todo = list(struct.unpack(e + "I", block[4:8]))
    for at in todo:
        for i in range(struct.unpack(e + "H", block[at:at + 2])[0]):
            tag, _, count, where = struct.unpack(e + "HHII", block[at + 2 + 12 * i:at + 14 + 12 * i])
            if tag == 0x8769:
                todo.append(where)
            if tag == 0x9286:
                inline = block[at + 10 + 12 * i:at + 10 + 12 * i + count]
                return (inline if count <= 4 else block[where:where + count]), e
    return None, e


# ---- methods

def pack(plane, order):
    return np.packbits(plane.reshape(-1) & 1, bitorder="big" if order == "msb-first" else "little").tobytes()


def hidden(image, method, order, marked):
    """The bytes of the hidden text; an assertion fails where it is not framed as the method says."""
    if method == "exif":
        code, value = image.comment[:8], image.comment[8:]
        assert code in (b"ASCII\0\0\0", bytes(8), b"UNICODE\0")
        if code == b"UNICODE\0":  # UTF-16 by the standard, UTF-8 by careless programs
            try:
                assert 0 not in value and value.decode()
            except (AssertionError, UnicodeDecodeError):
                return value.decode("utf-16-le" if image.comment_order == "<" else "utf-16-be").encode()
        return value
    if method == "raw":
        value = image.tail
        if marked:
            assert value.startswith(b"AI42") and value.endswith(b"\0")
            value = value[4:]
        return value[:-1] if value.endswith(b"\0") else value
    if method == "alpha":
        value = pack(image.samples[:, :, 3], "lsb-first")
    elif method == "lsb.rgb":
        value = pack(image.samples[:, :, :3], order)
    else:
        value = pack(image.indices, order)
    if marked:
        assert value[:4] == b"AI42"
        value = value[4:]
    return value[:value.index(0)]
