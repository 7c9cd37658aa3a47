"""Bytes behind the end of an image that are no message: what cameras, telephones, editors and broken transfers leave."""
import io
import struct
import zlib

import numpy as np
from PIL import Image

import metadata


def padding(d):
    unit = d.choice((b"\0", b"\0", b"\0", b"\xff", b" ", b"\r\n", b"\n", b"\x1a", b"\0\xff", b"\xaa\x55", b"\r", b"\t"))
    return unit * d.log_between(1, 4096)


def junk(d):
    """What remains of a transfer."""
    boundary = d.choice((f"--------------------------{d.getrandbits(64):016x}", f"----WebKitFormBoundary{_token(d, 16)}", f"--{_token(d, 24)}",
                         f"-----------------------------{d.randint(10 ** 13, 10 ** 14)}"))
    return d.choice((b"\r\n0\r\n\r\n", b"0\r\n\r\n", b"\r\n", f"\r\n{boundary}--\r\n".encode(), f"\r\n--{boundary}--\r\n".encode(),
                     f"\r\n{boundary}\r\n".encode(), b"\r\n.\r\n", b"\r\nend\r\n", b"\n=\n", b"\x04", b"\0\0\r\n"))


def _token(d, n):
    return "".join(d.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=n))


def small_jpeg(d):
    side = d.choice((16, 24, 48, 96))
    noise = d.array.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((side, side * 3 // 4), Image.BICUBIC).save(out, "JPEG", quality=d.randint(40, 90))
    return out.getvalue()


def second_jpeg(d):
    return bytes(d.choice((0, 0, 2, 37, 512))) + small_jpeg(d) + bytes(d.choice((0, 0, 0, 100)))


def samsung(d):
    """Blocks with names, a directory and the SEFT tail."""
    names = [(0x0A01, b"Image_UTC_Data", str(d.randint(1_500_000_000_000, 1_750_000_000_000)).encode()),
             (0x0AA1, b"MCC_Data", str(d.randint(200, 750)).encode()), (0x0C61, b"Camera_Capture_Mode_Info", b"1"),
             (0x0B41, b"Auto_Enhance_Info", struct.pack("<IIII", 2, 0, 1, 65535)), (0x0BA1, b"Dual_Shot_Meta_Info", d.block(60))]
    names = names[:d.randint(1, len(names))]
    out, directory = b"", b""
    for kind, name, data in names:
        block = struct.pack("<HHI", 0, kind, len(name)) + name + data
        out += block
        directory += struct.pack("<HHII", 0, kind, 0, len(block))
    table = b"SEFH" + struct.pack("<II", 106, len(names)) + directory
    return out + table + struct.pack("<I", len(table)) + b"SEFT"


def motion_photo(d):
    """An MP4 behind the picture."""
    def box(name, data):
        return struct.pack(">I", len(data) + 8) + name + data

    head = box(b"ftyp", d.choice((b"mp42\0\0\0\0isommp42", b"isom\0\0\2\0isomiso2avc1mp41")))
    moov = box(b"moov", box(b"mvhd", bytes(4) + d.block(8) + struct.pack(">II", 1000, 1500) + bytes(80)) + box(b"trak", d.block(d.randint(40, 200))))
    data = box(b"mdat", d.block(d.log_between(200, 20000)))
    made = head + (moov + data if d.chance(0.5) else data + moov)
    return (b"MotionPhoto_Data" if d.chance(0.3) else b"") + made


def archive(d):
    """A ZIP with one stored or deflated file of binary data."""
    name, plain = d.choice((b"data.bin", b"a/b.dat", b"thumbs.db")), d.array.integers(0, 4, d.log_between(50, 5000), dtype=np.uint8).tobytes()
    packed, method = (zlib.compress(plain)[2:-4], 8) if d.chance(0.7) else (plain, 0)
    common = struct.pack("<HHHHHIIIHH", 20, 0, method, 0x6000, 0x5A21, zlib.crc32(plain), len(packed), len(plain), len(name), 0)
    local = b"PK\3\4" + common + name + packed
    central = b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return local + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


def vendor(d):
    """Structures of a maker, with short tags of letters in them."""
    out = d.choice((b"QDIO", b"FLIR\0", b"cbipeople", b"SRF\1", b"BFBFBFBF", b"MIPS", b"\x89VND", b"CAM3")) + d.block(d.randint(0, 8))
    for _ in range(d.randint(1, 30)):
        out += struct.pack("<IHH", d.randint(0, 70000), d.randint(0, 9), d.randint(0, 300))
        if d.chance(0.3):
            out += d.choice((b"ISO\0", b"AWB\0", b"AE 1", b"FW:1.2\0\0", b"LENS", b"gyro", b"DepthMap\0", b"v001")) + d.block(d.randint(0, 24))
    return out + (b"\0" * d.choice((0, 16, 200)))


def binary(d):
    kind = d.randint(0, 3)
    if kind == 0:
        return d.block(d.log_between(1, 5000))
    if kind == 1:
        return d.array.normal(0, 40, d.log_between(4, 2000)).astype("<i2").tobytes()
    if kind == 2:
        return zlib.compress(d.array.integers(0, 6, d.log_between(50, 4000), dtype=np.uint8).tobytes())
    return metadata.maker_note(d)


def leftover(d):
    """A piece of the same kind of file, as an overwritten longer one leaves it."""
    return small_jpeg(d)[d.randint(20, 300):] if d.chance(0.7) else zlib.compress(d.block(d.randint(30, 900)))


TRAILERS = {"padding": 6, "junk": 3, "second_jpeg": 3, "samsung": 3, "motion_photo": 2, "archive": 2, "vendor": 3, "binary": 4, "leftover": 2}
PICTURES = ("second_jpeg", "samsung", "motion_photo", "leftover")


def trailer(d):
    """(kind, bytes)."""
    kind = d.pick(TRAILERS)
    return kind, globals()[kind](d)
