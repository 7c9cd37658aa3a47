"""A detector small enough to be reasoned about, and images for it.

The detector sees the first four bytes of each carrier and says stego exactly when one of them is AI42, with
probability 0.75 (clean: 0.125), all of it in the method that the carrier belongs to. Numbers are exact in binary.
"""
import io
import struct
import zlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

METHODS = ["alpha", "palette", "lsb.rgb", "exif", "raw"]
CARRIERS = ["alpha", "alpha", "lsb.rgb", "lsb.rgb", "palette", "palette", "exif", "raw"]  # of apps/starlight/text.h
STEGO, CLEAN, THRESHOLD = 0.75, 0.125, 0.5

BUNDLE = """\
name: {name}
model: detector.onnx
input: {{ kind: starlight{input} }}
output:
  threshold: {{ value: {threshold}, tensor: stego_probability, name: is_stego }}
  starlight: true
metadata: {{ accuracy: 0.5, false_positive_rate: 0.25 }}
"""


def _model(stego):
    constants = {
        "mark": np.frombuffer(b"AI42", np.uint8).reshape(1, 1, 4),
        "axis2": np.array([2], np.int64), "axis1": np.array([1], np.int64),
        "methods": np.array([[m == c for m in METHODS] for c in CARRIERS], np.float32),
        "zero": np.array(0, np.float32), "one": np.array(1, np.float32),
        "even": np.full((1, 5), 0.2, np.float32),
        "stego": np.array(stego, np.float32), "clean": np.array(CLEAN, np.float32),
    }
    nodes = [
        helper.make_node("Equal", ["carriers", "mark"], ["same"]),
        helper.make_node("Cast", ["same"], ["same_f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["same_f"], ["marked"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["marked", "methods"], ["counts"]),
        helper.make_node("ReduceSum", ["counts", "axis1"], ["total2"], keepdims=1),
        helper.make_node("Greater", ["total2", "zero"], ["any2"]),
        helper.make_node("Max", ["total2", "one"], ["divisor"]),
        helper.make_node("Div", ["counts", "divisor"], ["parts"]),
        helper.make_node("Where", ["any2", "parts", "even"], ["method_shares"]),
        helper.make_node("Where", ["any2", "stego", "clean"], ["probability2"]),
        helper.make_node("Squeeze", ["probability2", "axis1"], ["stego_probability"]),
    ]
    graph = helper.make_graph(
        nodes, "detector",
        [helper.make_tensor_value_info("carriers", TensorProto.UINT8, ["n", 8, 4])],
        [helper.make_tensor_value_info("stego_probability", TensorProto.FLOAT, ["n"]),
         helper.make_tensor_value_info("method_shares", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_detector(folder, name="starlight", stego=STEGO, threshold=THRESHOLD, input_parameters=""):
    """A bundle; input_parameters as in ", max_pixels: 100"."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "detector.onnx").write_bytes(_model(stego).SerializeToString(deterministic=True))
    (folder / "bundle.yaml").write_text(BUNDLE.format(name=name, threshold=threshold, input=input_parameters))
    return folder


# ---- images

def encode(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def clean(kind="PNG", mode="RGB", size=(20, 10), **options):
    rng = np.random.default_rng(3)
    channels = {"RGB": 3, "RGBA": 4, "L": 1, "P": 3}[mode]
    values = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    image = Image.fromarray(values.squeeze(), "RGB" if mode == "P" else mode)
    return encode(image.quantize(16) if mode == "P" else image, kind, **options)


def bits(payload, order):
    return np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="big" if order == "msb-first" else "little")


def with_alpha(text, size=(64, 64)):
    """alpha: AI42, the text and NUL in the least significant bits of the alpha plane, first bit in bit 0."""
    pixels = np.full((size[1], size[0], 4), 200, np.uint8)
    hidden = bits(b"AI42" + text.encode() + b"\0", "lsb-first")
    alpha = pixels[..., 3].reshape(-1)
    alpha[:hidden.size] = alpha[:hidden.size] & 0xFE | hidden
    pixels[..., 3] = alpha.reshape(size[1], size[0])
    return encode(Image.fromarray(pixels, "RGBA"), "PNG")


def with_rgb(text, order, size=(64, 64)):
    pixels = np.full((size[1], size[0], 3), 120, np.uint8)
    hidden = bits(b"AI42" + text.encode() + b"\0", order)
    flat = pixels.reshape(-1)
    flat[:hidden.size] = flat[:hidden.size] & 0xFE | hidden
    return encode(Image.fromarray(flat.reshape(size[1], size[0], 3), "RGB"), "PNG")


def with_raw(text, kind="PNG"):
    return clean(kind) + b"AI42" + text.encode() + b"\0"


def png_chunk(tag, data):
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def png_header_only(width, height):
    """A PNG that claims to be that large and has next to no data."""
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b""))
