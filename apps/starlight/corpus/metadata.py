"""Metadata that cameras, telephones and editors write: EXIF, XMP, ICC, Photoshop blocks, MPF, comments.

Only a UserComment can be a payload; long texts in other fields are innocent.
"""
import io
import struct
import zlib

import numpy as np
from PIL import Image

CAMERAS = (("Canon", "Canon EOS 80D"), ("NIKON CORPORATION", "NIKON D750"), ("Apple", "iPhone 13 Pro"), ("samsung", "SM-G991B"),
           ("Google", "Pixel 7"), ("SONY", "ILCE-7M3"), ("FUJIFILM", "X-T30"), ("OLYMPUS CORPORATION", "E-M10MarkIII"),
           ("Panasonic", "DMC-G80"), ("HUAWEI", "VOG-L29"), ("Xiaomi", "Mi 10T"), ("DJI", "FC3170"), ("motorola", "moto g(9)"))
SOFTWARE = ("Adobe Photoshop 24.1 (Windows)", "GIMP 2.10.34", "Picasa", "Adobe Lightroom Classic 12.2", "16.5.1", "HDR+ 1.0.52",
            "paint.net 5.0", "ImageMagick 6.9.11", "darktable 4.2.1", "Snapseed 2.0", "Ver.1.10", "Windows Photo Editor 10.0")
SHORT_COMMENTS = ("Screenshot", "Screenshot", "Created with GIMP", "Edited in Picasa", "no flash", "HDR", "oplus_1048608", "oppo_0",
                  "Charset=Ascii", "ACD Systems", "LEAD Technologies", "User comments", "binary comment", "f/2.8 50mm", "Portrait",
                  "Picasa", "Hasselblad", "LensProfile 3", "untitled", "Exif comment", "Screen capture", "photo", "Default", "fltr")
MAKER_HEADS = (b"Apple iOS\0\0\1MM", b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08", b"FUJIFILM\x0c\0\0\0", b"OLYMPUS\0II\3\0", b"Panasonic\0\0\0",
               b"SONY DSC \0\0\0", b"\0\1\0\7\0\4\0\0\0\1", b"HUAWEI\0\0")


# ---- EXIF

def _ascii(text):
    data = text.encode() + b"\0"
    return 2, len(data), data


class Ifd:
    """Entries of one directory: tag -> (type, count, bytes); a value of type Ifd becomes a pointer."""

    def __init__(self):
        self.entries = {}

    def short(self, tag, *values):
        self.entries[tag] = (3, len(values), ("H", values))

    def long(self, tag, *values):
        self.entries[tag] = (4, len(values), ("I", values))

    def ratio(self, tag, *values):
        self.entries[tag] = (5, len(values) // 2, ("I", values))

    def ascii(self, tag, text):
        self.entries[tag] = _ascii(text)

    def raw(self, tag, kind, data):
        self.entries[tag] = (kind, len(data), data)

    def pointer(self, tag, ifd):
        self.entries[tag] = (4, 1, ifd)


def tiff(first, big_endian, following=None, thumbnail=None):
    """Bytes of the directories; `following` is IFD1, which gets the thumbnail."""
    e = ">" if big_endian else "<"
    out = bytearray((b"MM\0*" if big_endian else b"II*\0") + struct.pack(e + "I", 8))

    def put(ifd):
        start = len(out)
        count = len(ifd.entries)
        out.extend(bytes(2 + 12 * count + 4))
        struct.pack_into(e + "H", out, start, count)
        for i, (tag, (kind, n, value)) in enumerate(sorted(ifd.entries.items())):
            at = start + 2 + 12 * i
            if isinstance(value, Ifd):
                value = struct.pack(e + "I", put(value))
            elif isinstance(value, tuple):
                value = struct.pack(e + value[0] * len(value[1]), *value[1])
            struct.pack_into(e + "HHI", out, at, tag, kind, n)
            if len(value) <= 4:
                out[at + 8:at + 8 + len(value)] = value
            else:
                if len(out) & 1:
                    out.append(0)
                struct.pack_into(e + "I", out, at + 8, len(out))
                out.extend(value)
        return start

    first_at = put(first)
    if following is not None:
        if thumbnail:
            following.long(0x0201, len(out))
            following.long(0x0202, len(thumbnail))
            out.extend(thumbnail)
        struct.pack_into(e + "I", out, first_at + 2 + 12 * len(first.entries), len(out))
        put(following)
    return bytes(out)


def exif(d, *, comment=None, big_endian=None, in_ifd0=False, rich=True, rgb=None, long_text=None):
    """A TIFF block. `comment`: value of UserComment or None. `rich`: the other tags of a camera around it."""
    big_endian = d.chance(0.5) if big_endian is None else big_endian
    main, sub = Ifd(), Ifd()
    following = thumbnail = None
    if rich:
        make, model = d.choice(CAMERAS)
        stamp = f"20{d.randint(4, 25):02}:{d.randint(1, 12):02}:{d.randint(1, 28):02} {d.randint(0, 23):02}:{d.randint(0, 59):02}:{d.randint(0, 59):02}"
        main.ascii(0x010F, make)
        main.ascii(0x0110, model)
        main.short(0x0112, d.choice((1, 1, 1, 3, 6, 8)))
        main.ratio(0x011A, d.choice((72, 300)), 1)
        main.ratio(0x011B, 72, 1)
        main.short(0x0128, 2)
        main.ascii(0x0131, d.choice(SOFTWARE))
        main.ascii(0x0132, stamp)
        sub.ratio(0x829A, 1, d.choice((30, 60, 125, 1000)))
        sub.ratio(0x829D, d.randint(14, 220), 10)
        sub.short(0x8827, d.choice((100, 200, 400, 3200)))
        sub.raw(0x9000, 7, b"0231")
        sub.ascii(0x9003, stamp)
        sub.ascii(0x9004, stamp)
        sub.raw(0x9101, 7, b"\1\2\3\0")
        sub.ratio(0x920A, d.randint(20, 2000), 10)
        sub.short(0xA001, 1)
        if d.chance(0.5):
            sub.raw(0x927C, 7, d.choice(MAKER_HEADS) + maker_note(d))
        if d.chance(0.3):
            sub.ascii(0xA434, f"{make} {d.randint(10, 35)}-{d.randint(50, 300)}mm f/{d.choice(('2.8', '3.5-5.6', '4'))}")
        if d.chance(0.35):
            gps = Ifd()
            gps.raw(0, 1, b"\2\3\0\0")
            gps.ascii(1, d.choice("NS"))
            gps.ratio(2, d.randint(0, 89), 1, d.randint(0, 59), 1, d.randint(0, 5999), 100)
            gps.ascii(3, d.choice("EW"))
            gps.ratio(4, d.randint(0, 179), 1, d.randint(0, 59), 1, d.randint(0, 5999), 100)
            main.pointer(0x8825, gps)
        if rgb is not None and d.chance(0.3):
            small, following = io.BytesIO(), Ifd()
            Image.fromarray(rgb).resize((d.choice((40, 64, 160)), 40)).save(small, "JPEG", quality=60)
            thumbnail = small.getvalue()
            following.short(0x0103, 6)
    if long_text is not None:
        where = d.choice(("description", "artist", "copyright", "xp"))
        if where == "xp":
            main.raw(d.choice((0x9C9B, 0x9C9C, 0x9C9F)), 1, (long_text + "\0").encode("utf-16-le"))
        else:
            main.ascii({"description": 0x010E, "artist": 0x013B, "copyright": 0x8298}[where], long_text)
    if comment is not None:
        (main if in_ifd0 else sub).raw(0x9286, 7, comment)
    if sub.entries or d.chance(0.5):
        sub.raw(0xA000, 7, b"0100")
        main.pointer(0x8769, sub)
    return tiff(main, big_endian, following, thumbnail)


def maker_note(d):
    """Binary tables with a few short tags in them."""
    kind = d.randint(0, 2)
    if kind == 0:
        return d.block(d.randint(40, 900))
    if kind == 1:
        return (d.array.normal(0, 60, d.randint(30, 400))).astype("<i2").tobytes()
    return b"".join(struct.pack("<HHII", d.randint(1, 0x4000), d.randint(1, 10), d.randint(1, 9), d.randint(0, 4000))
                    for _ in range(d.randint(4, 40))) + d.choice((b"", b"FW1.02\0", b"NORMAL\0", b"AF-S\0\0"))


def innocent_comment(d):
    """(kind, value of UserComment) as cameras and programs write it."""
    code = d.choice((b"ASCII\0\0\0", b"ASCII\0\0\0", bytes(8), b"UNICODE\0"))
    kind = d.pick({"blank": 4, "nul": 4, "empty": 1.5, "short": 7, "number": 4, "padded": 3, "wide": 1.5, "binary": 2, "filled": 1})
    if kind == "blank":
        return kind, code + b" " * d.choice((1, 8, 32, 64, 118, 125, 256))
    if kind == "nul":
        return kind, code + bytes(d.choice((1, 4, 36, 56, 118, 117, 256, 1996)))
    if kind == "empty":
        return kind, d.choice((code, code[:5], bytes(8), b""))
    if kind == "number":
        text = d.choice((f"DSC_{d.randint(0, 9999):04}", f"IMG_{d.randint(0, 9999):04}.JPG", str(d.randint(0, 10 ** 6)),
                         f"{d.randint(1, 99)}-{d.randint(1, 99)}", f"#{d.randint(1, 999)}", f"v{d.randint(1, 9)}.{d.randint(0, 9)}"))
        return kind, b"ASCII\0\0\0" + text.encode()
    if kind == "padded":
        return kind, b"ASCII\0\0\0" + d.choice(SHORT_COMMENTS).encode().ljust(d.choice((32, 64, 125, 256)), d.choice((b"\0", b" ")))
    if kind == "wide":
        return kind, b"UNICODE\0" + d.choice(SHORT_COMMENTS).encode(d.choice(("utf-16-le", "utf-16-be")))
    if kind == "binary":
        return kind, d.choice((bytes(8), b"ASCII\0\0\0", b"")) + maker_note(d)
    if kind == "filled":
        return kind, code + d.choice((b"\xff", b"0", b"\x20\0")) * d.choice((8, 64, 128))
    return kind, d.choice((b"ASCII\0\0\0", b"ASCII\0\0\0", bytes(8))) + d.choice(SHORT_COMMENTS).encode()


# ---- others

def xmp(d, text=None):
    body = "".join(f'   xmp:{name}="{value}"\n' for name, value in (
        ("CreatorTool", d.choice(SOFTWARE)), ("CreateDate", f"20{d.randint(10, 25)}-0{d.randint(1, 9)}-11T09:1{d.randint(0, 9)}:00"),
        ("Rating", d.randint(0, 5))))
    inner = "" if text is None else ("<dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">"
                                     + text.replace("&", "&amp;").replace("<", "&lt;") + "</rdf:li></rdf:Alt></dc:description>")
    packet = ('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0">\n'
              ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n  <rdf:Description rdf:about=""\n'
              '   xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"\n' + body
              + f'  >{inner}</rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n')
    padding = (" " * 99 + "\n") * d.choice((0, 3, 20))
    return (packet + padding + '<?xpacket end="w"?>').encode()


def icc(d):
    """A display profile: header, tag table, description, white point, primaries, curves."""
    def xyz(*values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(int(v * 65536) for v in values))

    name = d.choice((b"sRGB IEC61966-2.1", b"Display P3", b"Adobe RGB (1998)", b"c2", b"Monitor calibration"))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563)
    if d.chance(0.4):
        table = np.round(65535 * (np.arange(256) / 255) ** 2.2).astype(">u2").tobytes()
        curve = b"curv\0\0\0\0" + struct.pack(">I", 256) + table
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79),
            b"cprt": b"text\0\0\0\0Copyright, no rights reserved\0", b"wtpt": xyz(0.9642, 1.0, 0.8249),
            b"rXYZ": xyz(0.4361, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971), b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
            b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data
    size = at + len(body)
    header = struct.pack(">I4sI4s4s4s6H4s4sIIIQI3i4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ", 2020, 1, 1, 0, 0, 0, b"acsp",
                         b"APPL", 0, 0, 0, 0, 0, 63190, 65536, 54061, b"lcms")
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def photoshop(d):
    """Body of an APP13 segment: image resources."""
    def resource(number, data):
        return b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + b"\0" * (len(data) & 1)

    out = b"Photoshop 3.0\0" + resource(0x03ED, struct.pack(">IHHIHH", 72 << 16, 1, 1, 72 << 16, 1, 1))
    caption = b"\x1c\x02\x78" + struct.pack(">H", 24) + b"A caption of the picture"
    return out + resource(0x0404, caption) + (resource(0x0425, d.block(16)) if d.chance(0.5) else b"")


def mpf(d, second_size, offset):
    """Body of an APP2 segment that announces a second picture behind the first."""
    ifd = Ifd()
    ifd.raw(0xB000, 7, b"0100")
    ifd.long(0xB001, 2)
    ifd.raw(0xB002, 7, struct.pack(">IIIHH", 0x20030000, offset, 0, 0, 0) + struct.pack(">IIIHH", 0x00010002, second_size, offset, 0, 0))
    return b"MPF\0" + tiff(ifd, True)


def png_text(d, text):
    """(tag, data) of a textual chunk."""
    keyword = d.choice((b"Software", b"Comment", b"Description", b"parameters", b"prompt", b"Title", b"Author", b"Source"))
    kind = d.choice((b"tEXt", b"zTXt", b"iTXt"))
    if kind == b"tEXt":
        return kind, keyword + b"\0" + text.encode("latin-1", "replace")
    if kind == b"zTXt":
        return kind, keyword + b"\0\0" + zlib.compress(text.encode("latin-1", "replace"))
    return kind, keyword + b"\0\0\0en\0\0" + text.encode()
