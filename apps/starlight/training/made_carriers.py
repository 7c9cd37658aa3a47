"""Carriers made up for training, without images: what planes of pictures, comments and trailing bytes can begin with.

Images are slow to make and alike; the head of a carrier is 1 KiB of bits. Here they come by the hundred thousand: texts as
every embedder writes them, and, to keep the detector from believing that all order is text, noise, flat and periodic
planes, ramps, dithering, padding, binary formats and short legitimate notes.
"""
import numpy as np

ALPHA_LSB, ALPHA_MSB, RGB_MSB, RGB_LSB, PALETTE_MSB, PALETTE_LSB, EXIF, RAW = range(8)
PLANES = (ALPHA_LSB, ALPHA_MSB, RGB_MSB, RGB_LSB, PALETTE_MSB, PALETTE_LSB)
MSB_FIRST = (ALPHA_MSB, RGB_MSB, PALETTE_MSB)
WINDOW = 1024
HEAD_BYTES = WINDOW + 4
REST_BYTES = 256


# ---- bits of planes in which nothing is hidden

def _noise(rng, n):
    return rng.random(n) < rng.choice([0.5, 0.5, 0.5, rng.random()])


def _flat(rng, n):
    bits = np.full(n, rng.integers(2), bool)
    return bits ^ (rng.random(n) < rng.choice([0, 0, 0.001, 0.01, 0.1]))


def _runs(rng, n):
    """Constant stretches of random length, as flat regions of a drawing."""
    longest = int(rng.choice([4, 16, 64, 400, 2000]))
    lengths = rng.integers(1, longest + 1, n // max(1, longest // 4) + 2)
    bits = np.repeat(np.arange(len(lengths)) % 2 == rng.integers(2), lengths)
    return np.resize(bits, n)


def _periodic(rng, n):
    """One short row again and again, slightly disturbed: stripes, tiles, ordered dithering."""
    period = int(rng.choice([rng.integers(1, 17), rng.integers(1, 65), rng.integers(64, 1600)]))
    row = rng.random(period) < rng.choice([0.5, rng.random()])
    return np.resize(row, n) ^ (rng.random(n) < rng.choice([0, 0, 0, 0.002, 0.02, 0.1]))


def _bytes_periodic(rng, n):
    """Patterns whose bytes all happen to be printable: the worst that a regular picture can do."""
    period = int(rng.integers(1, 9))
    row = rng.integers(32, 127, period).astype(np.uint8)
    if rng.random() < 0.5:
        row = np.full(period, row[0], np.uint8)
    bits = np.unpackbits(np.resize(row, n // 8 + 1))[:n].astype(bool)
    if rng.random() < 0.5:
        cut = int(rng.integers(0, n))
        bits[cut:] = _noise(rng, n - cut) if rng.random() < 0.5 else _flat(rng, n - cut)
    return bits


def _ramps(rng, n):
    """Least significant bits of linear gradients, three channels interleaved, row after row."""
    width = int(rng.integers(8, 700))
    at = np.arange(n) // 3
    x, y = at % width, at // width
    slope = rng.choice([0.01, 0.1, 0.5, 1.0, 3.0]) * rng.random((2, 3))
    channel = np.arange(n) % 3
    value = slope[0, channel] * x + slope[1, channel] * y + rng.random() * 255
    return (np.floor(value + rng.choice([0, 0, 0.3]) * rng.standard_normal(n)).astype(np.int64) & 1).astype(bool)


def _markov(rng, n):
    """Bits that stay with a probability of their own."""
    return (np.cumsum(rng.random(n) < rng.random() ** 2) & 1).astype(bool)


def _patched(rng, n):
    """Two planes one behind the other: a border, then a picture."""
    cut = int(rng.integers(1, n))
    return np.concatenate([plane_bits(rng, cut, deep=False), plane_bits(rng, n - cut, deep=False)])


KINDS = (_noise, _noise, _flat, _runs, _periodic, _bytes_periodic, _ramps, _markov)


def plane_bits(rng, n, deep=True):
    if deep and rng.random() < 0.2:
        return _patched(rng, n)
    return KINDS[rng.integers(len(KINDS))](rng, n)


def pack(bits, carrier):
    return np.packbits(bits[:len(bits) // 8 * 8], bitorder="big" if carrier in MSB_FIRST else "little").tobytes()


# ---- records: (carrier, size, head, rest)

def _plane_record(rng, carrier, payload):
    """A plane that begins with the payload (b"": nothing is hidden)."""
    size = int(2 ** rng.uniform(6, 18))
    if size < len(payload) + 1:
        size = len(payload) + 1 + int(rng.integers(0, 64))
    head_bytes = min(size, HEAD_BYTES)
    kind = KINDS[rng.integers(len(KINDS))] if rng.random() < 0.7 else None
    make = (lambda n: kind(rng, n)) if kind else (lambda n: plane_bits(rng, n))
    head = pack(make(head_bytes * 8 + 8), carrier)[:head_bytes]
    rest = pack(make(REST_BYTES * 8), carrier)[:min(REST_BYTES, size - size // 2)]
    if payload:
        head = (payload + head[len(payload):])[:head_bytes]
        covered = len(payload) - size // 2
        rest = payload[size // 2:][:len(rest)] + rest[max(0, covered):] if covered > 0 else rest
    return carrier, size, head, rest[:REST_BYTES]


def _bytes_record(carrier, content):
    return carrier, len(content), content[:HEAD_BYTES], content[len(content) // 2:][:REST_BYTES]


def hidden_text(rng, carrier, text):
    """A record whose carrier holds the text, framed as embedders do."""
    data = text.encode()
    if carrier in PLANES:
        marked = rng.random() < (0.85 if carrier in (ALPHA_LSB, ALPHA_MSB) else 0.3)
        return _plane_record(rng, carrier, (b"AI42" if marked else b"") + data + b"\0")
    if carrier == EXIF:
        end = rng.choice([0, 0, 0, 1, 8])
        return _bytes_record(carrier, data + b"\0" * int(end))
    framed = rng.choice(3)
    return _bytes_record(carrier, data if framed == 0 else data + b"\0" if framed == 1 else b"AI42" + data + b"\0")


# ---- comments and trailing bytes in which nothing is hidden

NOTES = ("Screenshot", "Created with GIMP", "OLYMPUS", "Photo", "edited", "IMG_2041", "DSC00034", "scan 300dpi", "v1.2",
         "untitled", "50mm f/1.8", "HDR", "2019:04:01", "Paint.NET", "none", "test", "0", "-", "ok", "sRGB", "final")


WORDS = ("taken with", "shot on", "edited in", "copy of", "photo", "sunset", "garden", "Nikon D90", "Canon", "Lightroom",
         "v3.1", "Rome", "2019", "family", "holiday", "beach", "scan", "page 3", "final", "by Anna", "(1)", "test", "no flash",
         "f/2.8", "ISO 400", "export", "80%", "Snapseed", "from phone", "sample")


def short_note(rng):
    """A phrase of a few words, at most 30 bytes: what people and programs leave in comments. Payloads begin at 20 bytes, so
    the shortest of them look the same, and the detector has to weigh both."""
    words = [WORDS[rng.integers(len(WORDS))] for _ in range(rng.integers(1, 6))]
    return " ".join(words).encode()[:int(rng.integers(6, 31))]


def clean_comment(rng):
    n = int(rng.integers(1, 300))
    kind = rng.integers(9)
    if kind >= 7:
        return short_note(rng) + b"\0" * int(rng.choice([0, 0, 1, 20])) + b" " * int(rng.choice([0, 0, 8, 30, 200]))
    if kind == 0:
        return bytes([int(rng.choice([0, 0x20, 0xFF]))]) * n
    if kind == 1:
        note = NOTES[rng.integers(len(NOTES))].encode()
        return note + b"\0" * int(rng.choice([0, 1, 40])) + b" " * int(rng.choice([0, 0, 30]))
    if kind == 2:
        return rng.integers(0, 256, n, dtype=np.uint8).tobytes()
    if kind == 3:
        return bytes(rng.integers(48, 58, int(rng.integers(1, 14)), dtype=np.uint8)) + b"\0" * int(rng.integers(0, 4))
    if kind == 4:
        return rng.integers(0, 256, 4, dtype=np.uint8).tobytes() + b"\0" * n
    if kind == 5:
        return bytes(rng.integers(97, 123, int(rng.integers(1, 13)), dtype=np.uint8)) + b"\0" * int(rng.choice([0, 1, 100]))
    return b"\0" * int(rng.integers(1, 20)) + rng.integers(0, 256, n, dtype=np.uint8).tobytes()


def _boxes(rng, n):
    """Length, four letters, content: MP4 and vendors' trailers."""
    parts = []
    while sum(map(len, parts)) < n:
        body = rng.integers(0, 256, int(rng.integers(0, 200)), dtype=np.uint8).tobytes()
        name = (b"ftyp", b"moov", b"mdat", b"free", b"SEFH", b"MPF\0", bytes(rng.integers(65, 91, 4, dtype=np.uint8)))
        parts.append((len(body) + 8).to_bytes(4, ("big", "little")[rng.integers(2)]) + name[rng.integers(len(name))] + body)
    return b"".join(parts)


def clean_trailing(rng):
    n = int(2 ** rng.uniform(0, 14))
    binary = rng.integers(0, 256, n, dtype=np.uint8).tobytes()
    kind = rng.integers(11)
    if kind == 10:
        return short_note(rng) + (b"", b"\0", b"\n", b"\r\n")[rng.integers(4)]
    if kind == 0:
        return bytes([int(rng.choice([0, 0, 0x20, 0xFF, 0x0A, 0x1A]))]) * n
    if kind == 1:
        return binary
    if kind == 2:
        return _boxes(rng, n)
    if kind == 3:
        return (b"\r\n", b"\n", b"\r\n0\r\n\r\n", b"\0\r\n", b"\r\n\r\n", b" \n", b"\0\n")[rng.integers(7)]
    if kind == 4:
        dashes = b"-" * int(rng.integers(2, 40))
        tag = bytes(rng.choice(np.frombuffer(b"0123456789abcdefABCXYZ", np.uint8), int(rng.integers(8, 40))))
        return ((b"\r\n", b"\n", b"")[rng.integers(3)] + dashes + (b"", b"WebKitFormBoundary")[rng.integers(2)] + tag +
                (b"--\r\n", b"--", b"\r\n", b"\n", b"")[rng.integers(5)])
    if kind == 5:
        head = (b"\xff\xd8\xff\xe0\x00\x10JFIF\0", b"\xff\xd8\xff\xe1", b"PK\3\4\x14\0\0\0\x08\0", b"\0\0\0\x18ftypmp42",
                b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", b"\x89PNG\r\n\x1a\n",
                b"RIFF\x24\x08\0\0WEBPVP8 ", b"SEFH\x6a\0\0\0")
        return head[rng.integers(len(head))] + binary
    if kind == 6:
        tag = bytes(rng.integers(65, 91, int(rng.integers(2, 14)), dtype=np.uint8))
        return tag + b"\0" * int(rng.integers(1, 9)) + binary
    if kind == 7:
        return b"\0" * int(rng.integers(1, 64)) + binary
    if kind == 8:
        return np.repeat(rng.integers(0, 256, n // 4 + 1, dtype=np.uint8), 4).tobytes()
    return bytes(rng.integers(32, 127, int(rng.integers(1, 10)), dtype=np.uint8)) + (b"", b"\0", b"\n")[rng.integers(3)]


def _short_run(rng):
    """A few bytes that happen to be text, then none: among thousands of pictures some planes begin so. Too short to be hidden."""
    n = int(rng.integers(1, 13))
    kind = rng.integers(3)
    if kind == 0:
        text = rng.integers(32, 127, n, dtype=np.uint8).tobytes()
    elif kind == 1:
        text = "".join(chr(c) for c in rng.integers(0xA0, 0x800, n)).encode()[:n // 2 * 2]
    else:
        text = bytes(rng.choice(np.frombuffer(b"\t\n\r @AaDPU`", np.uint8), n))
    return text + bytes([int(rng.choice([0, 0, 1, 0x80, 0xFF]))])


def clean(rng, carrier):
    if carrier in PLANES:
        _, size, head, rest = _plane_record(rng, carrier, b"")
        if rng.random() < 0.2:
            run = _short_run(rng)
            head = (run + head[len(run):])[:len(head)]
        return carrier, size, head, rest
    return _bytes_record(carrier, clean_comment(rng) if carrier == EXIF else clean_trailing(rng))


def encode(record):
    """For starlight-evidence carriers."""
    carrier, size, head, rest = record
    return (bytes([carrier]) + size.to_bytes(8, "little") + len(head).to_bytes(2, "little") + head +
            len(rest).to_bytes(2, "little") + rest)
