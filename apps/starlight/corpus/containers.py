"""Writers of the five containers, as far as a payload or a hard clean image needs what PIL does not write.

PIL re-optimises palettes, writes no Adam7, no 16-bit RGB, no BMP with an alpha mask, no GIF frame smaller than its canvas.
These writers put down exactly the samples they are given.

  png    any colour type and depth, Adam7; chunks put before and after the image data
  gif    frames with their own rectangle and palette, interlacing, comment and application extensions
  bmp    8, 4 and 1 bit with a palette, 24 and 32 bit, alpha by BITMAPV4/V5 header, either row order
  jpeg_* segments put into a JPEG that PIL wrote
  webp_* RIFF chunks put into a WebP that PIL wrote

Arrays are [height][width] or [height][width][channels]; palettes are [n][3] or [n][4], uint8.
"""
import struct
import zlib

import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
BEFORE_PALETTE = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"sBIT")
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


# ---- PNG

def png_chunk(tag, data):
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def png(samples, colour_type, depth=8, *, palette=None, transparency=None, interlaced=False, filters="adaptive", level=6,
        split=0):
    """A PNG of the samples (uint8, or uint16 at depth 16). `transparency` is the body of tRNS. `filters`: 0 to 4, or
    "adaptive" (smallest sum of magnitudes a row). `split`: bytes an IDAT; 0 for one IDAT."""
    height, width = samples.shape[:2]
    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b"".join(_filtered(part, depth, filters) for part in parts if part.size)
    else:
        raw = _filtered(samples, depth, filters)
    packed = zlib.compress(raw, level)
    out = [PNG_SIGNATURE, png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced))]
    if palette is not None:
        out.append(png_chunk(b"PLTE", np.ascontiguousarray(palette[:, :3], np.uint8).tobytes()))
    if transparency is not None:
        out.append(png_chunk(b"tRNS", transparency))
    step = split or len(packed) or 1
    out += [png_chunk(b"IDAT", packed[at:at + step]) for at in range(0, len(packed), step)]
    return b"".join(out) + png_chunk(b"IEND", b"")


def png_insert(data, before=(), after=()):
    """Puts (tag, data) chunks before and after the image data of a PNG."""
    out, placed = [PNG_SIGNATURE], False
    first = [png_chunk(tag, body) for tag, body in before if tag in BEFORE_PALETTE]
    later = [png_chunk(tag, body) for tag, body in before if tag not in BEFORE_PALETTE]
    for tag, body in png_chunks(data):
        if tag == b"IDAT" and not placed:
            out += later
            placed = True
        if tag == b"IEND":
            out += [png_chunk(*chunk) for chunk in after]
        out.append(png_chunk(tag, body))
        if tag == b"IHDR":
            out += first
    return b"".join(out)


def png_animate(data, frames):
    """An animated PNG: the picture itself is the first frame, `frames` are PNGs of the same size and kind."""
    width, height = struct.unpack(">II", data[16:24])
    number = 0

    def control():
        nonlocal number
        body = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 8, 100, 0, 0)
        number += 1
        return body

    before = [(b"acTL", struct.pack(">II", len(frames) + 1, 0)), (b"fcTL", control())]
    after = []
    for frame in frames:
        after.append((b"fcTL", control()))
        for tag, body in png_chunks(frame):
            if tag == b"IDAT":
                after.append((b"fdAT", struct.pack(">I", number) + body))
                number += 1
    return png_insert(data, before, after)


def png_chunks(data):
    """[(tag, body)] of a PNG."""
    out, at = [], len(PNG_SIGNATURE)
    while at < len(data):
        size, tag = struct.unpack(">I4s", data[at:at + 8])
        out.append((tag, data[at + 8:at + 8 + size]))
        at += 12 + size
    return out


def _filtered(samples, depth, filters):
    """Scan lines of one picture (or pass), each behind its filter byte."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    if depth == 16:
        lines = np.frombuffer(samples.astype(">u2").tobytes(), np.uint8).reshape(height, -1)
    elif depth == 8:
        lines = np.ascontiguousarray(samples, np.uint8).reshape(height, -1)
    else:
        lines = pack_small(samples, depth)
    bpp = max(1, channels * depth // 8)
    left = np.zeros_like(lines)
    left[:, bpp:] = lines[:, :-bpp]
    up = np.zeros_like(lines)
    up[1:] = lines[:-1]
    corner = np.zeros_like(lines)
    corner[:, bpp:] = up[:, :-bpp]
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    pa, pb, pc = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, up, corner))
    candidates = np.stack([lines, lines - left, lines - up, lines - ((a + b) // 2).astype(np.uint8), lines - paeth])
    if filters == "adaptive":
        cost = np.abs(candidates.view(np.int8).astype(np.int32)).sum(axis=2)
        chosen = cost.argmin(axis=0)
    else:
        chosen = np.full(height, filters)
    out = np.empty((height, lines.shape[1] + 1), np.uint8)
    out[:, 0] = chosen
    out[:, 1:] = candidates[chosen, np.arange(height)]
    return out.tobytes()


def pack_small(samples, depth):
    """Samples of 1, 2 or 4 bits packed into bytes, the leftmost in the high bits; rows padded with zero."""
    height, width = samples.shape
    per_byte = 8 // depth
    padded = np.zeros((height, -(-width // per_byte) * per_byte), np.uint8)
    padded[:, :width] = samples & ((1 << depth) - 1)
    out = np.zeros((height, padded.shape[1] // per_byte), np.uint8)
    for i in range(per_byte):
        out |= padded[:, i::per_byte] << (8 - depth * (i + 1))
    return out


# ---- GIF

def gif(width, height, frames, *, palette=None, loop=None, comments=(), background=0, applications=(), xmp=None):
    """A GIF89a, or GIF87a where no extension is needed. A frame is a dict: indices, and optionally left, top, palette (a local
    one), interlaced, delay (hundredths of a second), transparent (an index), disposal. `loop`: number of repeats, None for no loop extension.
    `comments`: bytes each. `applications`: (11-byte name, data). `xmp`: a packet, stored as one stream with Adobe's tail."""
    out = [b"GIF89a", struct.pack("<HH", width, height)]
    if palette is not None:
        bits = _palette_bits(palette)
        out.append(bytes([0x80 | 0x70 | (bits - 1), background, 0]) + _gif_palette(palette, bits))
    else:
        out.append(bytes([0x70, background, 0]))
    if loop is not None:
        out.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loop) + b"\0")
    for name, data in applications:
        out.append(b"\x21\xff\x0b" + name + _sub_blocks(data))
    if xmp is not None:
        out.append(b"\x21\xff\x0bXMP DataXMP" + xmp + b"\1" + bytes(range(255, -1, -1)) + b"\0")
    for comment in comments:
        out.append(b"\x21\xfe" + _sub_blocks(comment))
    for frame in frames:
        out.append(_gif_frame(frame, palette))
    made = b"".join(out) + b";"
    return b"GIF87a" + made[6:] if b"\x21" not in [part[:1] for part in out[2:]] else made


def _gif_frame(frame, global_palette):
    indices = frame["indices"]
    height, width = indices.shape
    transparent, delay, disposal = frame.get("transparent"), frame.get("delay", 0), frame.get("disposal", 0)
    out = b""
    if transparent is not None or delay or disposal:
        flags = disposal << 2 | (transparent is not None)
        out += struct.pack("<BBBBHBB", 0x21, 0xF9, 4, flags, delay, transparent or 0, 0)
    local = frame.get("palette")
    bits = _palette_bits(local if local is not None else global_palette)
    flags = (0x80 | (bits - 1) if local is not None else 0) | (0x40 if frame.get("interlaced") else 0)
    out += struct.pack("<BHHHHB", 0x2C, frame.get("left", 0), frame.get("top", 0), width, height, flags)
    if local is not None:
        out += _gif_palette(local, bits)
    if frame.get("interlaced"):
        order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
        indices = indices[order]
    code_bits = max(2, bits)
    return out + bytes([code_bits]) + _sub_blocks(_lzw(indices.tobytes(), code_bits))


def _palette_bits(palette):
    return max(1, (len(palette) - 1).bit_length())


def _gif_palette(palette, bits):
    raw = np.ascontiguousarray(palette[:, :3], np.uint8).tobytes()
    return raw.ljust(3 << bits, b"\0")


def _sub_blocks(data):
    return b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255)) + b"\0"


def _lzw(data, code_bits):
    """LZW with codes of growing size, least significant bit first; a full table is cleared."""
    clear = 1 << code_bits
    table, following, size = {}, clear + 2, code_bits + 1
    held, held_bits, out = clear, size, bytearray()
    prefix = data[0]
    for value in data[1:]:
        key = prefix << 8 | value
        code = table.get(key)
        if code is not None:
            prefix = code
            continue
        held |= prefix << held_bits
        held_bits += size
        if following < 4096:
            table[key] = following
            if following == 1 << size:
                size += 1
            following += 1
        else:
            held |= clear << held_bits
            held_bits += size
            table, following, size = {}, clear + 2, code_bits + 1
        prefix = value
        if held_bits > 256:
            whole = held_bits >> 3
            out += (held & ((1 << whole * 8) - 1)).to_bytes(whole, "little")
            held >>= whole * 8
            held_bits -= whole * 8
    held |= prefix << held_bits
    held_bits += size
    if following == 1 << size and size < 12:
        size += 1  # the decoder adds one more entry for the last code and grows with it
    held |= (clear + 1) << held_bits
    held_bits += size
    return bytes(out) + held.to_bytes(-(-held_bits // 8), "little")


# ---- BMP

def bmp(samples, kind, *, palette=None, top_down=False, unused=0):
    """A BMP. rgb24, rgb16 (five bits a channel) and rgbx32 (the fourth byte is `unused`) take RGB samples; rgba-v4, rgba-v5 and
    rgba-plain (alpha in the byte that the oldest header calls reserved) RGBA; pal8, pal4, pal1 and rle8 indices."""
    height, width = samples.shape[:2]
    if kind == "rle8":
        bits, lines = 8, None
    elif kind in ("pal8", "pal4", "pal1"):
        bits = int(kind[3:])
        lines = np.ascontiguousarray(samples, np.uint8) if bits == 8 else pack_small(samples, bits)
    elif kind == "rgb24":
        bits = 24
        lines = np.ascontiguousarray(samples[:, :, 2::-1]).reshape(height, -1)
    elif kind == "rgb16":
        bits = 16
        five = samples[:, :, :3].astype(np.uint16) >> 3
        lines = (five[:, :, 0] << 10 | five[:, :, 1] << 5 | five[:, :, 2]).astype("<u2").view(np.uint8).reshape(height, -1)
    else:
        bits = 32
        quads = np.full((height, width, 4), unused, np.uint8)
        quads[:, :, :3] = samples[:, :, 2::-1]
        if kind.startswith("rgba"):
            quads[:, :, 3] = samples[:, :, 3]
        lines = quads.reshape(height, -1)
    if lines is None:
        body = _rle8(samples[::-1])
    else:
        lines = np.pad(lines, ((0, 0), (0, -lines.shape[1] % 4)))
        body = (lines if top_down else lines[::-1]).tobytes()
    colours = b""
    if palette is not None:
        quads = np.zeros((len(palette), 4), np.uint8)
        quads[:, :3] = palette[:, 2::-1]
        colours = quads.tobytes()
    size = {"rgba-v4": 108, "rgba-v5": 124}.get(kind, 40)
    header = struct.pack("<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits,
                         3 if size > 40 else kind == "rle8",
                         len(body), 2835, 2835, 0 if palette is None else len(palette), 0)
    if size > 40:
        header += struct.pack("<IIIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, 0x73524742) + bytes(36 + 12)
        if size == 124:
            header += struct.pack("<IIII", 4, 0, 0, 0)
    offset = 14 + len(header) + len(colours)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + header + colours + body


def _rle8(rows):
    out = bytearray()
    for row in rows:
        starts = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
        for start, end in zip(starts, np.append(starts[1:], len(row))):
            for at in range(start, end, 255):
                out += bytes((min(255, end - at), row[start]))
        out += b"\0\0"
    return bytes(out + b"\0\1")


# ---- JPEG

def jpeg_segment(marker, data):
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_insert(data, segments, *, keep_jfif=True, first=False):
    """Puts (marker, body) segments into a JPEG, behind its JFIF segment (or before it, or instead of it)."""
    jfif_end = 4 + struct.unpack(">H", data[4:6])[0] if data[2:4] == b"\xff\xe0" else 2
    jfif = data[2:jfif_end] if keep_jfif else b""
    inserted = b"".join(jpeg_segment(marker, body) for marker, body in segments)
    return data[:2] + (inserted + jfif if first else jfif + inserted) + data[jfif_end:]


# ---- WebP

def webp_chunks(data):
    """[(tag, body)] of a WebP file."""
    out, at = [], 12
    while at + 8 <= len(data):
        size = struct.unpack("<I", data[at + 4:at + 8])[0]
        out.append((data[at:at + 4], data[at + 8:at + 8 + size]))
        at += 8 + size + (size & 1)
    return out


def webp_join(chunks):
    body = b"".join(tag + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1) for tag, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_extend(data, width, height, *, icc=None, exif=None, xmp=None):
    """Adds metadata chunks, in the extended form that they need."""
    if icc is None and exif is None and xmp is None:
        return data
    chunks = webp_chunks(data)
    flags = (0x20 if icc else 0) | (0x08 if exif else 0) | (0x04 if xmp else 0)
    if chunks[0][0] == b"VP8X":
        flags |= chunks[0][1][0]
        chunks = chunks[1:]
    elif chunks[0][0] == b"VP8L" and chunks[0][1][4] & 0x10:
        flags |= 0x10
    extended = struct.pack("<I", flags) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    out = [(b"VP8X", extended)]
    if icc:
        out.append((b"ICCP", icc))
    out += chunks
    if exif:
        out.append((b"EXIF", exif))
    if xmp:
        out.append((b"XMP ", xmp))
    return webp_join(out)


def webp_animation(stills, width, height, *, duration=80, loop=0):
    """An animation of WebP files of one size; each frame covers the canvas and replaces the one before."""
    chunks = []
    flags = 0x02
    for still in stills:
        parts = [(tag, body) for tag, body in webp_chunks(still) if tag in (b"ALPH", b"VP8 ", b"VP8L")]
        if parts[0][0] == b"ALPH" or (parts[0][0] == b"VP8L" and parts[0][1][4] & 0x10):
            flags |= 0x10
        frame = bytes(6) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3] + struct.pack("<I", duration)[:3] + b"\2"
        chunks.append((b"ANMF", frame + webp_join(parts)[12:]))
    extended = struct.pack("<I", flags) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return webp_join([(b"VP8X", extended), (b"ANIM", struct.pack("<IH", 0, loop)), *chunks])
