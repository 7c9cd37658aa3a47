#!/usr/bin/env python3
"""Writes the small ONNX models that tests and benchmarks use, with expected answers beside them.

usage: make_test_models.py DIRECTORY [NAME ...] [--stamp FILE]

Without names every model is made; names pick some (see --list). For a model NAME.onnx the file NAME.golden.jsonl
holds one request a line, as a bundle's golden file does: {"inputs": [tensor, ...], "outputs": [tensor, ...],
"tolerance": t}, tensors in the form of the Open Inference Protocol. The answers are computed here with numpy,
independently of any runtime. FP16 and BF16 values are given as the numbers they stand for. The same bytes come out on
every run.
"""
import argparse
import json
import pathlib

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

OPSET = 17
IR_VERSION = 8

DATATYPES = {  # OIP name -> (ONNX element type, numpy type of its values)
    "BOOL": (T.BOOL, np.bool_), "UINT8": (T.UINT8, np.uint8), "UINT16": (T.UINT16, np.uint16),
    "UINT32": (T.UINT32, np.uint32), "UINT64": (T.UINT64, np.uint64), "INT8": (T.INT8, np.int8),
    "INT16": (T.INT16, np.int16), "INT32": (T.INT32, np.int32), "INT64": (T.INT64, np.int64),
    "FP16": (T.FLOAT16, np.float16), "FP32": (T.FLOAT, np.float32), "FP64": (T.DOUBLE, np.float64),
    "BF16": (T.BFLOAT16, np.float32), "BYTES": (T.STRING, np.object_),
}

MODELS = {}  # name -> function(path to write to)


def model(function):
    MODELS[function.__name__] = function
    return function


# --- helpers ---

def value(name, datatype, shape):
    return helper.make_tensor_value_info(name, DATATYPES[datatype][0], shape)


def constant(name, array):
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


def write(path, nodes, inputs, outputs, initializers=(), opsets=(("", OPSET),), metadata=None, ir_version=IR_VERSION):
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, list(initializers))
    proto = helper.make_model(graph, producer_name="slipway-test-models", producer_version="1",
                              opset_imports=[helper.make_opsetid(d, v) for d, v in opsets], ir_version=ir_version)
    if metadata:
        helper.set_model_props(proto, metadata)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def tensor(name, datatype, array):
    array = np.asarray(array)
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}


def golden(path, *cases, tolerance=1e-5):
    """Each case: (inputs, outputs), both lists of tensor()."""
    lines = [json.dumps({"inputs": i, "outputs": o, "tolerance": tolerance}, separators=(",", ":")) for i, o in cases]
    path.with_suffix(".golden.jsonl").write_text("\n".join(lines) + "\n")


def random(seed):
    return np.random.RandomState(seed)  # its stream never changes between numpy versions


def weights(rng, *shape, fan_in):
    return (rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --- models with real work ---

def mlp_layers(rng, sizes):
    return [(weights(rng, a, b, fan_in=a), (rng.standard_normal(b) * 0.1).astype(np.float32))
            for a, b in zip(sizes, sizes[1:])]


def mlp_nodes(layers, source, target, last):
    """Gemm and Relu for each layer; the last is followed by the operator `last`, or nothing."""
    nodes, initializers, at = [], [], source
    for i, (w, b) in enumerate(layers):
        final = i + 1 == len(layers)
        initializers += [constant(f"w{i}", w), constant(f"b{i}", b)]
        gemm = target if final and not last else f"gemm{i}"
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [gemm]))
        at = gemm
        if not final or last:
            at = target if final else f"act{i}"
            nodes.append(helper.make_node(last if final else "Relu", [gemm], [at]))
    return nodes, initializers


def mlp_reference(layers, x):
    x = x.astype(np.float64)
    for i, (w, b) in enumerate(layers):
        x = x @ w + b
        if i + 1 < len(layers):
            x = relu(x)
    return x


@model
def mlp_45(path):
    """45-64-64-1, ReLU, sigmoid: the small model of the benchmarks."""
    rng = random(45)
    layers = mlp_layers(rng, [45, 64, 64, 1])
    nodes, initializers = mlp_nodes(layers, "features", "probability", "Sigmoid")
    write(path, nodes, [value("features", "FP32", ["N", 45])], [value("probability", "FP32", ["N", 1])], initializers)
    cases = []
    for rows in (1, 3, 32, 0):
        x = rng.standard_normal((rows, 45)).astype(np.float32).round(3)
        y = sigmoid(mlp_reference(layers, x))
        cases.append(([tensor("features", "FP32", x)], [tensor("probability", "FP32", y)]))
    golden(path, *cases)


@model
def mlp_big(path):
    """784-2048-2048-1000: a model whose run is worth batching."""
    rng = random(784)
    layers = mlp_layers(rng, [784, 2048, 2048, 1000])
    nodes, initializers = mlp_nodes(layers, "input", "logits", None)
    write(path, nodes, [value("input", "FP32", ["N", 784])], [value("logits", "FP32", ["N", 1000])], initializers)
    x = rng.random_sample((2, 784)).astype(np.float32).round(3)
    golden(path, ([tensor("input", "FP32", x)], [tensor("logits", "FP32", mlp_reference(layers, x))]), tolerance=1e-3)


def conv_reference(x, w, b, stride):
    """3x3 convolution with padding 1 on NCHW, as nine shifted matrix products."""
    n, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    out = np.zeros((n, w.shape[0], rows, columns))
    for i in range(3):
        for j in range(3):
            part = padded[:, :, i:i + stride * (rows - 1) + 1:stride, j:j + stride * (columns - 1) + 1:stride]
            out += np.einsum("nchw,oc->nohw", part, w[:, :, i, j], optimize=True)
    return out + b[None, :, None, None]


@model
def cnn_224(path):
    """Six 3x3 convolutions on 3x224x224: an image model of about 1 ms."""
    rng = random(224)
    channels = [3, 16, 40, 80, 160, 192, 256]
    nodes, initializers, layers, at = [], [], [], "image"
    for i, (a, b) in enumerate(zip(channels, channels[1:])):
        w, bias = weights(rng, b, a, 3, 3, fan_in=9 * a), (rng.standard_normal(b) * 0.1).astype(np.float32)
        layers.append((w, bias))
        initializers += [constant(f"w{i}", w), constant(f"b{i}", bias)]
        nodes.append(helper.make_node("Conv", [at, f"w{i}", f"b{i}"], [f"conv{i}"], kernel_shape=[3, 3],
                                      pads=[1, 1, 1, 1], strides=[2, 2]))
        nodes.append(helper.make_node("Relu", [f"conv{i}"], [f"act{i}"]))
        at = f"act{i}"
    head = weights(rng, channels[-1], 1000, fan_in=channels[-1])
    initializers.append(constant("head", head))
    nodes += [helper.make_node("GlobalAveragePool", [at], ["pool"]), helper.make_node("Flatten", ["pool"], ["flat"]),
              helper.make_node("MatMul", ["flat", "head"], ["scores"])]
    write(path, nodes, [value("image", "FP32", ["N", 3, 224, 224])], [value("scores", "FP32", ["N", 1000])],
          initializers)
    x = rng.random_sample((1, 3, 224, 224)).astype(np.float32).round(3)
    y = x.astype(np.float64)
    for w, bias in layers:
        y = relu(conv_reference(y, w, bias, 2))
    y = y.mean(axis=(2, 3)) @ head
    golden(path, ([tensor("image", "FP32", x)], [tensor("scores", "FP32", y)]), tolerance=1e-3)


@model
def big_50mb(path):
    """Three matrix products whose weights are 50 MB in all: something slow to load and heavy to unload."""
    rng = random(50)
    n, hidden = 1024, 6400
    matrices = [rng.standard_normal((n, hidden)) / 32, rng.standard_normal((hidden, n)) / 80]
    matrices = [m.astype(np.float32) for m in matrices]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h"]), helper.make_node("MatMul", ["h", "w1"], ["y"])]
    write(path, nodes, [value("x", "FP32", ["N", n])], [value("y", "FP32", ["N", n])],
          [constant(f"w{i}", m) for i, m in enumerate(matrices)])
    x = rng.standard_normal((1, n)).astype(np.float32).round(2)
    y = x.astype(np.float64) @ matrices[0] @ matrices[1]
    golden(path, ([tensor("x", "FP32", x)], [tensor("y", "FP32", y)]), tolerance=1e-3)


@model
def int8_extremes(path):
    """A quantised Gemm (QDQ) whose inputs and weights all lie at the end of their range: sums of two products do not
    fit in 16 bits, in which a runtime's fast kernels for INT8 may add them."""
    scale, weight_scale = np.float32(1 / 255), np.full(16, 0.1 / 127, np.float32)
    nodes = [helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_q"]),
             helper.make_node("DequantizeLinear", ["x_q", "x_scale", "x_zero"], ["x_d"]),
             helper.make_node("DequantizeLinear", ["w_q", "w_scale", "w_zero"], ["w_d"], axis=1),
             helper.make_node("Gemm", ["x_d", "w_d"], ["y"])]
    write(path, nodes, [value("x", "FP32", ["N", 64])], [value("y", "FP32", ["N", 16])],
          [constant("x_scale", scale), constant("x_zero", np.uint8(0)), constant("w_scale", weight_scale),
           constant("w_q", np.full((64, 16), 127, np.int8)), constant("w_zero", np.zeros(16, np.int8))])
    x = np.ones((2, 64), np.float32)
    golden(path, ([tensor("x", "FP32", x)], [tensor("y", "FP32", x @ np.full((64, 16), 0.1))]), tolerance=1e-4)


@model
def int8_shared(path):
    """Two quantised Gemms that share their weights, which a runtime may want to convert once for each."""
    rng = random(8)
    scales = {"x": np.float32(1 / 255), "h": np.float32(4 / 255)}
    codes = rng.randint(-60, 61, (16, 16)).astype(np.int8)
    nodes, initializers, at = [], [constant("w_q", codes), constant("w_scale", np.float32(1 / 512)),
                                   constant("w_zero", np.int8(0)), constant("zero", np.uint8(0))], "x"
    nodes.append(helper.make_node("DequantizeLinear", ["w_q", "w_scale", "w_zero"], ["w"]))
    for name, made in (("x", "h"), ("h", "y")):
        initializers.append(constant(f"{name}_scale", scales[name]))
        nodes += [helper.make_node("QuantizeLinear", [at, f"{name}_scale", "zero"], [f"{name}_q"]),
                  helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_scale", "zero"], [f"{name}_d"]),
                  helper.make_node("Gemm", [f"{name}_d", "w"], [made])]
        at = made
    write(path, nodes, [value("x", "FP32", ["N", 16])], [value("y", "FP32", ["N", 16])], initializers)
    x = rng.randint(0, 256, (2, 16)).astype(np.float32) / 255
    h = np.clip(np.rint(x @ (codes / 512) / scales["h"]), 0, 255) * scales["h"]
    golden(path, ([tensor("x", "FP32", x)], [tensor("y", "FP32", h @ (codes / 512))]), tolerance=0.02)


# --- models of every shape ---

@model
def identity_all(path):
    """One input and one output of every data type: out_FP32 is in_FP32, and so on; [rows, 2] each."""
    nodes = [helper.make_node("Identity", [f"in_{d}"], [f"out_{d}"]) for d in DATATYPES]
    write(path, nodes, [value(f"in_{d}", d, ["rows", 2]) for d in DATATYPES],
          [value(f"out_{d}", d, ["rows", 2]) for d in DATATYPES])
    data = {
        "BOOL": [True, False], "UINT8": [0, 255], "UINT16": [1, 65535], "UINT32": [2, 2**32 - 1],
        "UINT64": [3, 2**63 - 1], "INT8": [-128, 127], "INT16": [-2**15, 2**15 - 1], "INT32": [-2**31, 2**31 - 1],
        "INT64": [-2**63, 2**63 - 1], "FP16": [0.5, -65504.0], "FP32": [1.5, -3.25e38], "FP64": [0.1, -1.7e308],
        "BF16": [1.0, -3.0], "BYTES": ["", "h\u00e9llo \u2603"],
    }
    arrays = {d: np.array([v], dtype=DATATYPES[d][1]) for d, v in data.items()}
    golden(path, ([tensor(f"in_{d}", d, a) for d, a in arrays.items()],
                  [tensor(f"out_{d}", d, a) for d, a in arrays.items()]), tolerance=0)


@model
def scalar(path):
    """Scalars in and out: y = 2x."""
    write(path, [helper.make_node("Add", ["x", "x"], ["y"])], [value("x", "FP32", [])], [value("y", "FP32", [])])
    golden(path, ([tensor("x", "FP32", np.float32(1.25))], [tensor("y", "FP32", np.float32(2.5))]), tolerance=0)


@model
def add_sub(path):
    """Two inputs, two outputs, two named dimensions; carries metadata and a second operator set."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    write(path, nodes, [value("a", "FP32", ["rows", "columns"]), value("b", "FP32", ["rows", "columns"])],
          [value("sum", "FP32", ["rows", "columns"]), value("difference", "FP32", ["rows", "columns"])],
          opsets=(("", OPSET), ("ai.onnx.ml", 3)), metadata={"author": "tests", "threshold": "0.25"})
    a, b = np.array([[1, 2, 3]], np.float32), np.array([[10, 20, 30.5]], np.float32)
    golden(path, ([tensor("a", "FP32", a), tensor("b", "FP32", b)],
                  [tensor("sum", "FP32", a + b), tensor("difference", "FP32", a - b)]), tolerance=0)


@model
def optional_output(path):
    """Dropout, whose second output is optional for the operator and declared by the graph."""
    write(path, [helper.make_node("Dropout", ["x"], ["y", "mask"])], [value("x", "FP32", ["N"])],
          [value("y", "FP32", ["N"]), value("mask", "BOOL", ["N"])])
    x = np.array([1, -2], np.float32)
    golden(path, ([tensor("x", "FP32", x)], [tensor("y", "FP32", x), tensor("mask", "BOOL", x != 99)]), tolerance=0)


@model
def default_input(path):
    """y = x * scale, where scale is an initializer that a caller may override: an optional input, 2 by default."""
    write(path, [helper.make_node("Mul", ["x", "scale"], ["y"])],
          [value("x", "FP32", ["N"]), value("scale", "FP32", [1])], [value("y", "FP32", ["N"])],
          [constant("scale", np.array([2], np.float32))])
    x = np.array([1, 2, 3], np.float32)
    golden(path, ([tensor("x", "FP32", x)], [tensor("y", "FP32", x * 2)]),
           ([tensor("x", "FP32", x), tensor("scale", "FP32", np.array([10], np.float32))],
            [tensor("y", "FP32", x * 10)]), tolerance=0)


@model
def passthrough(path):
    """One output is an input as it came, beside one that is computed."""
    write(path, [helper.make_node("Neg", ["x"], ["negative"])], [value("x", "FP32", ["N"])],
          [value("x", "FP32", ["N"]), value("negative", "FP32", ["N"])])
    x = np.array([1, -2], np.float32)
    golden(path, ([tensor("x", "FP32", x)], [tensor("x", "FP32", x), tensor("negative", "FP32", -x)]), tolerance=0)


@model
def nonzero(path):
    """The output's shape depends on the data: the indices of what is not 0."""
    write(path, [helper.make_node("NonZero", ["x"], ["indices"])], [value("x", "FP32", ["N"])],
          [value("indices", "INT64", [1, "found"])])
    cases = [([0, 5, 0, 7], [1, 3]), ([0, 0], [])]
    golden(path, *[([tensor("x", "FP32", np.array(x, np.float32))],
                    [tensor("indices", "INT64", np.array([found], np.int64))]) for x, found in cases], tolerance=0)


@model
def external_data(path):
    """Weights in a file beside the model."""
    array = np.array([10, 20, 30], np.float32)
    write(path, [helper.make_node("Add", ["x", "w"], ["y"])], [value("x", "FP32", [3])], [value("y", "FP32", [3])],
          [external("w", array, "external_data.bin")])
    path.with_name("external_data.bin").write_bytes(array.tobytes())
    x = np.array([1, 2, 3], np.float32)
    golden(path, ([tensor("x", "FP32", x)], [tensor("y", "FP32", x + array)]), tolerance=0)


def external(name, array, location):
    """A tensor whose bytes are in another file."""
    out = T(name=name, data_type=T.FLOAT, dims=array.shape, data_location=T.EXTERNAL)
    for key, text in (("location", location), ("offset", "0"), ("length", str(array.nbytes))):
        out.external_data.add(key=key, value=text)
    return out


# --- models that fail while they run ---

@model
def gather(path):
    """Looks up five words by index; an index out of range fails at run time."""
    write(path, [helper.make_node("Gather", ["table", "index"], ["row"])], [value("index", "INT64", ["N"])],
          [value("row", "FP32", ["N"])], [constant("table", np.arange(5, dtype=np.float32) * 1.5)])
    golden(path, ([tensor("index", "INT64", np.array([4, 0], np.int64))],
                  [tensor("row", "FP32", np.array([6, 0], np.float32))]), tolerance=0)


@model
def reshape(path):
    """[N] to [2, 3]: fails at run time unless N is 6."""
    write(path, [helper.make_node("Reshape", ["x", "shape"], ["y"])], [value("x", "FP32", ["N"])],
          [value("y", "FP32", [2, 3])], [constant("shape", np.array([2, 3], np.int64))])
    x = np.arange(6, dtype=np.float32)
    golden(path, ([tensor("x", "FP32", x)], [tensor("y", "FP32", x.reshape(2, 3))]), tolerance=0)


@model
def log_nan(path):
    """log(x): NaN for a negative x, minus infinity for 0."""
    write(path, [helper.make_node("Log", ["x"], ["y"])], [value("x", "FP32", ["N", 1])], [value("y", "FP32", ["N", 1])])
    golden(path, ([tensor("x", "FP32", np.array([[1.0]]))], [tensor("y", "FP32", np.array([[0.0]]))]), tolerance=1e-6)


# --- models that cannot be loaded ---

@model
def opset_99(path):
    write(path, [helper.make_node("Relu", ["x"], ["y"])], [value("x", "FP32", ["N"])], [value("y", "FP32", ["N"])],
          opsets=(("", 99),))


@model
def ir_99(path):
    write(path, [helper.make_node("Relu", ["x"], ["y"])], [value("x", "FP32", ["N"])], [value("y", "FP32", ["N"])],
          ir_version=99)


@model
def unknown_operator(path):
    write(path, [helper.make_node("Frobnicate", ["x"], ["y"])], [value("x", "FP32", ["N"])],
          [value("y", "FP32", ["N"])])


@model
def unknown_domain(path):
    write(path, [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")], [value("x", "FP32", ["N"])],
          [value("y", "FP32", ["N"])], opsets=(("", OPSET), ("com.example", 1)))


@model
def wrong_types(path):
    """An operator applied to types it does not take."""
    write(path, [helper.make_node("Add", ["x", "s"], ["y"])], [value("x", "FP32", ["N"]), value("s", "BYTES", ["N"])],
          [value("y", "FP32", ["N"])])


@model
def external_missing(path):
    write(path, [helper.make_node("Add", ["x", "w"], ["y"])], [value("x", "FP32", [3])], [value("y", "FP32", [3])],
          [external("w", np.zeros(3, np.float32), "nowhere.bin")])


@model
def truncated(path):
    mlp_45(path)
    path.with_suffix(".golden.jsonl").unlink()
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])


@model
def empty(path):
    path.write_bytes(b"")


@model
def not_a_model(path):
    path.write_bytes(b"This is a text file, whatever its name says.\n")


@model
def sequence_output(path):
    out = helper.make_tensor_sequence_value_info("parts", T.FLOAT, ["N"])
    write(path, [helper.make_node("SequenceConstruct", ["x", "x"], ["parts"])], [value("x", "FP32", ["N"])], [out])


@model
def optional_type(path):
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(T.FLOAT, ["N"]))
    write(path, [helper.make_node("Optional", ["x"], ["maybe"])], [value("x", "FP32", ["N"])],
          [helper.make_value_info("maybe", kind)])


@model
def shapeless_input(path):
    write(path, [helper.make_node("Relu", ["x"], ["y"])], [value("x", "FP32", None)], [value("y", "FP32", None)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("directory", nargs="?", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--stamp", type=pathlib.Path, help="a file to write when all is done, for build systems")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(MODELS))
        return
    if not arguments.directory:
        parser.error("a directory is needed")
    unknown = [n for n in arguments.names if n not in MODELS]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or MODELS:
        MODELS[name](arguments.directory / f"{name}.onnx")
    if arguments.stamp:
        arguments.stamp.write_text("".join(f"{name}\n" for name in arguments.names or MODELS))


if __name__ == "__main__":
    main()
