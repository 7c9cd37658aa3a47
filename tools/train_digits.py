#!/usr/bin/python3
"""Trains the starter model: a small convolutional network that reads handwritten digits.

What it does, in order:
  1. takes the UCI digits that python3-sklearn carries (1797 pictures of 8x8 pixels with values 0..16) and passes every
     pixel through the 8-bit form a PNG has, so that training and serving see the same numbers;
  2. sets a fifth of each class aside; nothing below looks at it before the last measurement;
  3. trains conv 3x3 -> conv 3x3 -> max pool -> dense -> dense with Adam, in numpy, double precision;
  4. rounds the weights to multiples of 1/4096, so that the last bits of a sum, which differ between processors, do not
     change the file: the same seed gives the same bytes;
  5. measures on the held-out digits, and writes the bundle: model, bundle.yaml, samples, golden answers, README.md.

The golden answers come from the numpy forward pass here, never from an ONNX runtime: they check the runtime.

  tools/train_digits.py [--output models/digits] [--seed 1] [--epochs 30] [--validate]

--validate trains on four fifths of the training part and measures on the rest of it; it writes nothing. The settings
below were chosen with it.
"""
import argparse
import json
import math
import os
import struct
import sys
import zlib
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # the matrices are small: threads would cost more than they give

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, checker, helper, numpy_helper
from sklearn.datasets import load_digits

CHANNELS = 16
HIDDEN = 64
BATCH = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
WEIGHT_GRID = 4096
TOLERANCE = 1e-4


# ---- data

def load():
    """Pictures as (n, 8, 8) uint8, 0 black to 255 white ink, and their digits (n,)."""
    data = load_digits()
    pixels = np.rint(data.images * 255.0 / 16.0).astype(np.uint8)
    return pixels, data.target.astype(np.int64)


def split(labels, share, rng):
    """Indices (rest, part), both ascending: `part` takes `share` of each class, chosen by rng."""
    part = []
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        part.extend(rng.permutation(members)[: round(len(members) * share)])
    part = np.array(sorted(part))
    return np.setdiff1d(np.arange(len(labels)), part), part


def to_input(pixels):
    """What the image step makes of a PNG: (n, 1, 8, 8), 0..1."""
    return pixels[:, None].astype(np.float64) / 255.0


# ---- network: each layer as a forward function and the gradient that goes with it

def patches(x):
    """(n, c, 8, 8) -> (n, 64, 9 c): the 3x3 surroundings of each pixel, zero outside the picture."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))  # n, c, h, w, 3, 3
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h * w, c * 9)


def patches_gradient(gradient, channels):
    """Adds each patch's gradient back to the pixels it was taken from."""
    n = len(gradient)
    g = gradient.reshape(n, 8, 8, channels, 3, 3)
    padded = np.zeros((n, channels, 10, 10))
    for dy in range(3):
        for dx in range(3):
            padded[:, :, dy:dy + 8, dx:dx + 8] += g[:, :, :, :, dy, dx].transpose(0, 3, 1, 2)
    return padded[:, :, 1:9, 1:9]


def conv(x, weight, bias):
    """Returns the output (n, out, 8, 8) and the patches it was made from."""
    p = patches(x)
    y = p @ weight.reshape(len(weight), -1).T + bias
    return y.transpose(0, 2, 1).reshape(len(x), len(weight), 8, 8), p


def conv_gradient(gradient, p, weight):
    g = gradient.reshape(len(gradient), len(weight), 64).transpose(0, 2, 1)
    flat = g.reshape(-1, len(weight))
    weight_gradient = (flat.T @ p.reshape(len(flat), -1)).reshape(weight.shape)
    return g @ weight.reshape(len(weight), -1), weight_gradient, flat.sum(axis=0)


def forward(parameters, x):
    """Returns logits (n, 10) and what the gradient needs."""
    w1, b1, w2, b2, w3, b3, w4, b4 = parameters
    y1, p1 = conv(x, w1, b1)
    a1 = np.maximum(y1, 0)
    y2, p2 = conv(a1, w2, b2)
    a2 = np.maximum(y2, 0)
    blocks = a2.reshape(len(x), CHANNELS, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(len(x), CHANNELS, 4, 4, 4)
    pooled = blocks.max(axis=4)
    flat = pooled.reshape(len(x), -1)
    y3 = flat @ w3.T + b3
    a3 = np.maximum(y3, 0)
    return a3 @ w4.T + b4, (y1, p1, y2, p2, blocks, flat, y3, a3)


def gradients(parameters, x, labels):
    w1, b1, w2, b2, w3, b3, w4, b4 = parameters
    logits, (y1, p1, y2, p2, blocks, flat, y3, a3) = forward(parameters, x)
    n = len(x)
    g4 = softmax(logits)
    g4[np.arange(n), labels] -= 1.0
    g4 /= n
    g3 = (g4 @ w4) * (y3 > 0)
    g_pooled = (g3 @ w3).reshape(n, CHANNELS, 4, 4)
    g_blocks = np.zeros_like(blocks)
    np.put_along_axis(g_blocks, blocks.argmax(axis=4)[..., None], g_pooled[..., None], axis=4)
    g_a2 = g_blocks.reshape(n, CHANNELS, 4, 4, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, CHANNELS, 8, 8)
    g_p2, g_w2, g_b2 = conv_gradient(g_a2 * (y2 > 0), p2, w2)
    _, g_w1, g_b1 = conv_gradient(patches_gradient(g_p2, CHANNELS) * (y1 > 0), p1, w1)
    return [g_w1, g_b1, g_w2, g_b2, g3.T @ flat, g3.sum(axis=0), g4.T @ a3, g4.sum(axis=0)]


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def train(pixels, labels, seed, epochs):
    """Adam (Kingma and Ba, 2015) with a cosine learning rate and decoupled weight decay."""
    rng = np.random.default_rng(seed)
    shapes = [(CHANNELS, 1, 3, 3), (CHANNELS, CHANNELS, 3, 3), (HIDDEN, CHANNELS * 16), (10, HIDDEN)]
    parameters = []
    for shape in shapes:
        parameters += [rng.normal(0, math.sqrt(2.0 / np.prod(shape[1:])), shape), np.zeros(shape[0])]
    means = [np.zeros_like(p) for p in parameters]
    squares = [np.zeros_like(p) for p in parameters]
    x = to_input(pixels)
    steps_total, step = epochs * math.ceil(len(x) / BATCH), 0
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start:start + BATCH]
            rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps_total))
            step += 1
            for p, m, s, g in zip(parameters, means, squares, gradients(parameters, x[chosen], labels[chosen])):
                m += 0.1 * (g - m)
                s += 0.001 * (g * g - s)
                corrected = (m / (1 - 0.9 ** step)) / (np.sqrt(s / (1 - 0.999 ** step)) + 1e-8)
                p -= rate * (corrected + WEIGHT_DECAY * p * (p.ndim > 1))
        if epoch % 10 == 9 or epoch == epochs - 1:
            print(f"epoch {epoch + 1}: {accuracy(parameters, pixels, labels)[0]:.4f} on the training digits",
                  file=sys.stderr)
    return [np.rint(p * WEIGHT_GRID) / WEIGHT_GRID for p in parameters]


def accuracy(parameters, pixels, labels):
    """Share of right answers and the number of them."""
    right = int((forward(parameters, to_input(pixels))[0].argmax(axis=1) == labels).sum())
    return right / len(labels), right


def wilson(right, n, z=1.959964):
    """95 % interval of a share (E. B. Wilson, 1927)."""
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


# ---- output

def onnx_model(parameters):
    names = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "dense1.weight", "dense1.bias",
             "dense2.weight", "dense2.bias"]
    weights = [numpy_helper.from_array(p.astype(np.float32), name) for p, name in zip(parameters, names)]
    nodes = [
        helper.make_node("Conv", ["pixels", names[0], names[1]], ["conv1"], "conv1", kernel_shape=[3, 3],
                         pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv1"], ["relu1"], "relu1"),
        helper.make_node("Conv", ["relu1", names[2], names[3]], ["conv2"], "conv2", kernel_shape=[3, 3],
                         pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv2"], ["relu2"], "relu2"),
        helper.make_node("MaxPool", ["relu2"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat", axis=1),
        helper.make_node("Gemm", ["flat", names[4], names[5]], ["dense1"], "dense1", transB=1),
        helper.make_node("Relu", ["dense1"], ["relu3"], "relu3"),
        helper.make_node("Gemm", ["relu3", names[6], names[7]], ["scores"], "dense2", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])], weights)
    model = helper.make_model(graph, producer_name="tools/train_digits.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def png(picture):
    """An 8-bit greyscale PNG without filter or compression: the same bytes whatever zlib is installed."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""))


def golden_line(name, logits):
    probabilities = softmax(logits[None])[0]
    label = int(probabilities.argmax())
    return json.dumps({
        "inputs": [{"name": "image", "file": f"samples/{name}"}],
        "outputs": [
            {"name": "scores", "shape": [1, 10], "datatype": "FP32",
             "data": [float(f"{p:.6e}") for p in probabilities]},
            {"name": "label", "shape": [1], "datatype": "BYTES", "data": [str(label)]},
            {"name": "score", "shape": [1], "datatype": "FP32", "data": [float(f"{probabilities[label]:.6e}")]},
        ],
        "tolerance": TOLERANCE,
    })


BUNDLE = """\
# Written by tools/train_digits.py. A starter model: handwritten digits of 8x8 pixels, bright ink on a dark ground.
name: digits
model: digits.onnx
description: Reads one handwritten digit (0 to 9) from a picture.
batching: {{ max_batch: 64, max_delay_us: 500 }}
input:
  kind: image
  width: 8
  height: 8
  channels: 1
output:
  softmax: true
  labels: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
golden: golden.jsonl
metadata:
  accuracy: {accuracy:.4f}            # on held-out digits
  accuracy_n: {n}
  accuracy_right: {right}
  accuracy_interval_95: [{low:.4f}, {high:.4f}]   # Wilson
  training_n: {training_n}
  seed: {seed}
  data: UCI digits, as python3-sklearn carries them (load_digits, 1797 pictures)
  command: tools/train_digits.py --seed {seed} --epochs {epochs}
"""

README = """\
# digits

Reads one handwritten digit from a picture of 8x8 pixels, bright ink on a dark ground (larger pictures are scaled
down). Made by `{command}`; the same command gives the same bytes. Do not edit by hand.

| | |
| --- | --- |
| network | conv 3x3x{channels}, conv 3x3x{channels}, max pool, dense {hidden}, dense 10: {weights:,} weights, {size:,} bytes |
| input | `image`: PNG, JPEG, WebP, GIF or BMP; the network itself takes FP32 `pixels` [n, 1, 8, 8], 0 to 1 |
| output | `scores` [n, 10], the probability of each digit; `label`, the likeliest digit, and `score`, its probability |
| data | UCI digits (E. Alpaydin, C. Kaynak, 1998; CC BY 4.0): {training_n} for training, {n} held out, a fifth of each digit |
| accuracy, held out | {right} of {n} = {accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f} (Wilson) |

The held-out digits were drawn at random and come from the same writers as the training digits: expect less from
writers it has never seen, and little from pictures that are not one centred digit.

`samples/` has two held-out digits of each class: `held-out-D.png`, the first, and `unsure-D.png`, the one the network is
least sure of; D is the true digit. `golden.jsonl` holds what the numpy forward pass of the training script gives for
them (for some of the unsure ones the wrong digit), not what an ONNX runtime gives: they check the runtime.
"""


def write_bundle(output, parameters, pixels, labels, held_out, seed, epochs):
    (output / "samples").mkdir(parents=True, exist_ok=True)
    model = onnx_model(parameters)
    (output / "digits.onnx").write_bytes(model)
    lines = []
    logits = forward(parameters, to_input(pixels))[0]
    certainty = softmax(logits).max(axis=1)
    for digit in range(10):
        members = held_out[labels[held_out] == digit]
        for kind, index in (("held-out", members[0]), ("unsure", members[certainty[members].argmin()])):
            name = f"{kind}-{digit}.png"
            (output / "samples" / name).write_bytes(png(pixels[index]))
            lines.append(golden_line(name, logits[index]))
    (output / "golden.jsonl").write_text("\n".join(lines) + "\n")
    share, right = accuracy(parameters, pixels[held_out], labels[held_out])
    low, high = wilson(right, len(held_out))
    facts = {
        "accuracy": share, "right": right, "n": len(held_out), "low": low, "high": high, "seed": seed,
        "epochs": epochs, "training_n": len(labels) - len(held_out), "channels": CHANNELS, "hidden": HIDDEN,
        "weights": sum(p.size for p in parameters), "size": len(model),
        "command": f"tools/train_digits.py --seed {seed} --epochs {epochs}",
    }
    (output / "bundle.yaml").write_text(BUNDLE.format(**facts))
    (output / "README.md").write_text(README.format(**facts))
    print(f"{output}: accuracy {share:.4f} ({right} of {len(held_out)} held-out digits), 95 % interval "
          f"{low:.4f} to {high:.4f}; model {len(model)} bytes, {len(lines)} golden answers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent.parent / "models" / "digits")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--validate", action="store_true")
    arguments = parser.parse_args()
    pixels, labels = load()
    rest, held_out = split(labels, 0.2, np.random.default_rng(20))
    if arguments.validate:
        inner, check = split(labels[rest], 0.2, np.random.default_rng(21))
        parameters = train(pixels[rest][inner], labels[rest][inner], arguments.seed, arguments.epochs)
        share, right = accuracy(parameters, pixels[rest][check], labels[rest][check])
        print(f"validation accuracy {share:.4f} ({right} of {len(check)})")
        return
    parameters = train(pixels[rest], labels[rest], arguments.seed, arguments.epochs)
    write_bundle(arguments.output, parameters, pixels, labels, held_out, arguments.seed, arguments.epochs)


if __name__ == "__main__":
    main()
