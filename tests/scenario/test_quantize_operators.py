"""slipway quantize, operator by operator: every form of MatMul, Gemm and Conv, in both modes, against a bound.

A bilinear operator with inputs off by at most dx and weights off by at most dw is off by at most
op(|x|, dw) + op(dx, |w|) + op(dx, dw); rounding moves a value by at most half a scale. So the bound of each case is
computed here from the data, and the model run in the server must keep to it.
"""
import json
import subprocess
from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from helpers.client import tensor
from helpers.onnx_graph import Graph, activation_scale, conv, initializers
from helpers.server import Server

pytestmark = pytest.mark.slow  # 150 models are made and served

CASES = {}
SAMPLES = 6


@dataclass
class Case:
    graph: Graph
    x: np.ndarray               # samples of input x, as the calibration's array
    op: callable                # op(x, w): bilinear
    w: np.ndarray               # alpha is in it
    axis: int                   # of its channels; None: one scale
    bias: np.ndarray = 0.0      # beta is in it
    others: dict = field(default_factory=dict)  # more inputs
    single: bool = False        # x is one sample, not one a row
    integer_output: bool = False  # the output is quantised too (Conv)
    left: int = 0               # FP32 initializers of two dimensions and more that stay

    @property
    def batched(self):
        """Is dimension 0 of the model's input free, so that a sample is a row?"""
        return not self.single and self.graph.inputs[0].type.tensor_type.shape.dim[0].dim_param == "N"


def case(function):
    CASES[function.__name__] = function
    return function


def numbers(seed, *shape, scale=1.0):
    return (np.random.RandomState(seed).standard_normal(shape) * scale).astype(np.float32)


def gemm_case(w_shape=(24, 10), bias=None, transA=0, transB=0, alpha=1.0, beta=1.0, bias_input=False, **more):
    g = Graph()
    w = numbers(1, *w_shape, scale=0.2)
    x = numbers(2, 24, SAMPLES) if transA else numbers(2, SAMPLES, 24)
    g.input("x", list(x.shape) if transA or bias is not None and np.ndim(bias) == 2 and len(bias) > 1 else ["N", 24])
    inputs, others = ["x", g.const("w", w)], {}
    if bias is not None:
        inputs.append("b")
        if bias_input:
            g.input("b", list(np.shape(bias)))
            others["b"] = bias
        else:
            g.const("b", bias)
    g.node("Gemm", inputs, "y", name="layer", transA=transA, transB=transB, alpha=alpha, beta=beta)
    g.output("y")
    flat = transA or (bias is not None and np.ndim(bias) == 2 and len(bias) > 1)
    return Case(g, x, lambda x, w: (x.T if transA else x) @ (w.T if transB else w), w * np.float32(alpha),
                0 if transB else 1, 0.0 if bias is None else np.asarray(bias, np.float64) * beta, others,
                single=bool(flat), **more)


@case
def gemm_without_bias():
    return gemm_case()


@case
def gemm_with_bias():
    return gemm_case(bias=numbers(3, 10))


@case
def gemm_with_bias_of_one_row():
    found = gemm_case(bias=numbers(3, 1, 10))
    found.bias = found.bias[0]
    return found


@case
def gemm_with_bias_of_one_number():
    return gemm_case(bias=numbers(3, 1).reshape(()))


@case
def gemm_with_bias_of_one_column():
    return gemm_case(bias=numbers(3, SAMPLES, 1), left=1)


@case
def gemm_with_a_matrix_as_bias():
    return gemm_case(bias=numbers(3, SAMPLES, 10), beta=0.5, left=1)


@case
def gemm_with_bias_from_outside():
    return gemm_case(bias=numbers(3, 10), bias_input=True)


@case
def gemm_transposed_weights():
    return gemm_case(w_shape=(10, 24), transB=1, bias=numbers(3, 10))


@case
def gemm_transposed_input():
    return gemm_case(transA=1, bias=numbers(3, 10))


@case
def gemm_all_at_once():
    return gemm_case(w_shape=(10, 24), transA=1, transB=1, alpha=-0.5, beta=3.0, bias=numbers(3, 10))


@case
def gemm_bias_far_larger_than_weights():
    found = gemm_case(bias=numbers(3, 10, scale=1000))
    found.w[:, 4] = 0
    found.w[:, 5] = 1e-30
    found.graph.initializers.clear()
    found.graph.const("w", found.w)
    found.graph.const("b", found.bias.astype(np.float32))
    return found


def matmul_case(x, w, axis, shape, build=None, **more):
    g = Graph()
    g.input("x", shape)
    weights = build(g, w) if build else g.const("w", w)
    g.node("MatMul", ["x", weights], "y", name="layer")
    g.output("y")
    return Case(g, x, np.matmul, w, axis, **more)


@case
def matmul_matrix():
    return matmul_case(numbers(2, SAMPLES, 24), numbers(1, 24, 10, scale=0.2), 1, ["N", 24])


@case
def matmul_three_dimensions():
    return matmul_case(numbers(2, SAMPLES, 5, 24), numbers(1, 24, 10, scale=0.2), 1, ["N", 5, 24])


@case
def matmul_stack_of_matrices():
    return matmul_case(numbers(2, SAMPLES, 3, 5, 24), numbers(1, 3, 24, 10, scale=0.2), None, ["N", 3, 5, 24])


@case
def matmul_of_a_vector():
    return matmul_case(numbers(2, SAMPLES, 24), numbers(1, 24, 10, scale=0.2), 1, [24])


@case
def weights_from_a_constant_node():
    def build(g, w):
        return g.node("Constant", [], "w", value=onnx.numpy_helper.from_array(w))
    return matmul_case(numbers(2, SAMPLES, 24), numbers(1, 24, 10, scale=0.2), 1, ["N", 24], build)


@case
def weights_through_identity_and_transpose():
    def build(g, w):
        g.const("stored", w.T)
        return g.node("Transpose", [g.node("Identity", ["stored"], "same")], "w", perm=[1, 0])
    return matmul_case(numbers(2, SAMPLES, 24), numbers(1, 24, 10, scale=0.2), 1, ["N", 24], build)


@case
def weights_that_are_an_input_with_a_default():
    def build(g, w):
        g.input("w", [24, 10])
        return g.const("w", w)
    return matmul_case(numbers(2, SAMPLES, 24), numbers(1, 24, 10, scale=0.2), 1, ["N", 24], build)


@case
def weights_in_an_old_file_where_all_are_inputs():
    found = weights_that_are_an_input_with_a_default()
    found.graph.ir_version = 3
    return found


@case
def weights_not_as_raw_bytes():
    return matmul_case(numbers(2, SAMPLES, 24), numbers(1, 24, 10, scale=0.2), 1, ["N", 24],
                       lambda g, w: g.const("w", w, raw=False))


def add_case(x, shape, bias):
    g = Graph()
    w = numbers(1, 24, 10, scale=0.2)
    g.input("x", shape)
    g.node("MatMul", ["x", g.const("w", w)], "m", name="layer")
    g.node("Add", [g.const("b", bias), "m"], "y")
    g.output("y")
    return Case(g, x, np.matmul, w, 1, bias)


@case
def matmul_and_add_of_matrices():
    return add_case(numbers(2, SAMPLES, 24), ["N", 24], numbers(3, 10))


@case
def matmul_and_add_of_three_dimensions():
    return add_case(numbers(2, SAMPLES, 5, 24), ["N", 5, 24], numbers(3, 10))


def conv_case(x_shape, w_shape, bias=True, **attributes):
    g = Graph()
    w, b = numbers(1, *w_shape, scale=0.2), numbers(3, w_shape[0])
    x = numbers(2, SAMPLES, *x_shape)
    g.input("x", ["N", *x_shape])
    inputs = ["x", g.const("w", w)] + ([g.const("b", b)] if bias else [])
    g.node("Conv", inputs, "y", name="layer", **attributes)
    g.output("y")
    row = b.reshape(-1, *[1] * (len(w_shape) - 2)) if bias else 0.0
    known = {k: v for k, v in attributes.items() if k != "auto_pad"}
    if attributes.get("auto_pad") == "SAME_UPPER":
        known["pads"] = [(k - 1) // 2 for k in w_shape[2:]] * 2
    return Case(g, x, lambda x, w: conv(x, w, **known), w, 0, row, integer_output=True)


@case
def conv_one_dimension():
    return conv_case((4, 20), (6, 4, 5), strides=[2], pads=[2, 2])


@case
def conv_two_dimensions():
    return conv_case((4, 9, 8), (6, 4, 3, 3), pads=[1, 0, 1, 2], strides=[2, 1])


@case
def conv_three_dimensions():
    return conv_case((2, 5, 6, 4), (3, 2, 3, 3, 3), pads=[1] * 6)


@case
def conv_groups():
    return conv_case((4, 8, 8), (6, 2, 3, 3), group=2)


@case
def conv_depthwise():
    return conv_case((4, 8, 8), (4, 1, 3, 3), group=4, pads=[1] * 4)


@case
def conv_dilated_without_bias():
    return conv_case((3, 11, 11), (5, 3, 3, 3), bias=False, dilations=[2, 3])


@case
def conv_padded_by_itself():
    return conv_case((3, 7, 7), (5, 3, 3, 3), auto_pad="SAME_UPPER")


@case
def conv_of_one_pixel():
    return conv_case((12, 4, 4), (7, 12, 1, 1))


MODES = {"qdq": [], "dynamic": ["--mode", "dynamic"], "per_tensor": ["--per-tensor"], "int8": ["--activations", "int8"],
         "reduced": ["--reduce-range"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory, binary):
    """Every case in every mode, and a server of all of them: (folder, cases, reports, server)."""
    folder = tmp_path_factory.mktemp("quantize")
    cases, reports = {}, {}
    for name, build in CASES.items():
        cases[name] = found = build()
        found.graph.outputs.clear()
        found.graph.output("y", [None] * (reference(found).ndim - (not found.single and not found.batched)))
        found.graph.save(folder / f"{name}.onnx")
        np.savez(folder / f"{name}.npz", x=found.x[None] if found.single else found.x,
                 **{k: v[None] for k, v in found.others.items()})
        for mode, options in MODES.items():
            done = subprocess.run([binary, "quantize", folder / f"{name}.onnx", folder / f"{name}.{mode}.onnx", "--json",
                                   "--calibration", folder / f"{name}.npz", *options], capture_output=True, text=True,
                                  timeout=120, check=False)
            assert done.returncode == 0, f"{name} {mode}: {done.stderr}"
            reports[name, mode] = json.loads(done.stdout)
    models = [folder / f"{name}.{mode}.onnx" for name in CASES for mode in MODES]
    with Server(binary, models, cwd=folder) as server:
        yield folder, cases, reports, server


def run(client, model, found):
    """What the model gives for every sample, put together like found.x."""
    samples = [found.x] if found.single else list(found.x)
    outputs = []
    for x in samples:
        x = x[None] if found.batched else x
        more = [tensor(k, v.shape, "FP32", v.ravel().tolist()) for k, v in found.others.items()]
        answer = client.infer(model, [tensor("x", x.shape, "FP32", x.ravel().tolist()), *more])
        assert answer.status == 200, answer
        y = answer.json()["outputs"][0]
        y = np.array(y["data"], np.float64).reshape(y["shape"])
        outputs.append(y[0] if found.batched else y)
    return outputs[0] if found.single else np.stack(outputs)


def bound(found, mode):
    """Largest distance from the float result that rounding explains, element by element."""
    x, w = np.abs(found.x.astype(np.float64)), np.abs(found.w.astype(np.float64))
    limit = 63 if mode == "reduced" else 127
    axes = tuple(i for i in range(w.ndim) if i != found.axis)
    per_channel = found.axis is not None and mode != "per_tensor"
    scale = np.max(w, axis=axes, keepdims=True) / limit if per_channel else np.full([1] * w.ndim, w.max() / limit)
    bias = np.max(np.abs(found.bias)) if np.ndim(found.bias) else abs(found.bias)
    step = float(activation_scale(found.x)[0])
    scale = np.maximum(scale, bias / 2**30 / step)  # raised where the bias would not fit
    dx, dw = np.full_like(x, step / 2), np.broadcast_to(scale / 2, w.shape)
    op = (lambda a, b: found.op(a, b)) if found.single else (lambda a, b: np.stack([found.op(i[None], b)[0]
          if found.axis == 0 and w.ndim > 2 else found.op(i, b) for i in a]))
    error = op(x, dw) + op(dx, w) + op(dx, dw)
    error = error + step * scale.max() / 2 + 1e-5 * (1 + bias)  # the bias in INT32; floats
    if found.integer_output and mode != "dynamic":
        error = error + float(activation_scale(reference(found))[0]) * 0.51
    return error


def reference(found):
    w = found.w.astype(np.float64)
    if found.single:
        return found.op(found.x.astype(np.float64), w) + found.bias
    stacked = found.axis == 0 and w.ndim > 2
    return np.stack([(found.op(i[None], w)[0] if stacked else found.op(i, w)) + found.bias
                     for i in found.x.astype(np.float64)])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_quantised_operator_keeps_to_its_bound(made, name, mode):
    folder, cases, reports, server = made
    found = cases[name]
    with server.client() as client:
        got = run(client, f"{name}.{mode}", found)
    want, error = reference(found), bound(found, mode)
    assert got.shape == want.shape
    apart = np.abs(got - want)
    assert (apart <= error).all(), f"{(apart - error).max()} beyond the bound of {error.max()}"
    assert apart.max() > 0, "nothing was rounded: was it quantised at all?"
    assert np.sqrt((apart ** 2).mean()) < 0.35 * error.mean(), "rounding goes both ways: most of it cancels out"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_weights_are_integers_in_the_file(made, name, mode):
    folder, cases, reports, _ = made
    found, report = cases[name], reports[name, mode]
    model = onnx.load(folder / f"{name}.{mode}.onnx")
    assert [n["name"] for n in report["nodes"] if n["quantized"]] == ["layer"] and report["quantized"] == 1
    weights = [t for t in model.graph.initializer if t.data_type in (T.INT8, T.UINT8) and np.prod(t.dims) == found.w.size]
    unsigned = mode == "dynamic" and name.startswith("conv")
    assert [t.data_type for t in weights] == [T.UINT8 if unsigned else T.INT8]
    assert all(t.HasField("raw_data") for t in weights)
    codes = initializers(model)[weights[0].name].astype(int) - (128 if unsigned else 0)
    assert np.abs(codes).max() == (63 if mode == "reduced" else 127)
    floats = [t for t in model.graph.initializer if t.data_type == T.FLOAT and len(t.dims) > 1 and min(t.dims) > 1 or
              t.name in ("w", "stored", "same")]
    assert len(floats) <= found.left, [t.name for t in floats]
    assert {n.op_type for n in model.graph.node} <= {
        "MatMul", "Gemm", "Conv", "Add", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger",
        "ConvInteger", "Cast", "Mul", "Transpose"} and not any(n.domain for n in model.graph.node)
    onnx.checker.check_model(model)
