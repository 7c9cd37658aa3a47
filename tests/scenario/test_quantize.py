"""slipway quantize: whole models, what it leaves and why, calibration data, bundles, hostile files, the command line."""
import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from helpers.client import tensor
from helpers.onnx_graph import Graph, activation_scale, attribute, initializers, quantized


def numbers(seed, *shape, scale=1.0):
    return (np.random.RandomState(seed).standard_normal(shape) * scale).astype(np.float32)


def mlp(sizes, relu=True, opset=17):
    """Gemm and Relu for each pair of sizes; no Relu behind the last."""
    g = Graph(opset)
    at = g.input("x", ["N", sizes[0]])
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        g.const(f"w{i}", numbers(i, a, b, scale=(2 / a) ** 0.5))
        g.const(f"b{i}", numbers(i + 100, b, scale=0.1))
        at = g.node("Gemm", [at, f"w{i}", f"b{i}"], f"g{i}", name=f"fc{i}")
        if relu and i + 2 < len(sizes):
            at = g.node("Relu", [at], f"r{i}")
    return g.output(at, ["N", sizes[-1]])


def small_cnn():
    """Conv, Relu, MaxPool, Conv, Add of both, Relu, Conv: a block with a way around it."""
    g = Graph()
    g.input("x", ["N", 4, 12, 12])
    for i, (a, b) in enumerate([(4, 8), (8, 8), (8, 6)]):
        g.const(f"w{i}", numbers(i, b, a, 3, 3, scale=(2 / (9 * a)) ** 0.5))
        g.const(f"b{i}", numbers(i + 100, b, scale=0.1))
    g.node("Conv", ["x", "w0", "b0"], "c0", name="conv0", pads=[1] * 4)
    g.node("Relu", ["c0"], "r0")
    g.node("MaxPool", ["r0"], "p0", kernel_shape=[2, 2], strides=[2, 2])
    g.node("Conv", ["p0", "w1", "b1"], "c1", name="conv1", pads=[1] * 4)
    g.node("Add", ["c1", "p0"], "sum")
    g.node("Relu", ["sum"], "r1")
    g.node("Conv", ["r1", "w2", "b2"], "y", name="conv2", pads=[1] * 4)
    return g.output("y", ["N", 6, 6, 6])


@pytest.fixture
def quantize(run_slipway, tmp_path):
    """quantize(graph or path, calibration array or path, *options) -> (report, new model's path)."""
    def run(model, data, *options, out="int8.onnx"):
        path = model if not isinstance(model, Graph) else model.save(tmp_path / "model.onnx")
        if isinstance(data, np.ndarray):
            np.save(tmp_path / "data.npy", data)
            data = tmp_path / "data.npy"
        more = ["--calibration", data] if data is not None else []
        done = run_slipway("quantize", path, tmp_path / out, "--json", *more, *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), tmp_path / out
    return run


@pytest.fixture
def outputs(start_server):
    """outputs([path, ...], x) -> what each model gives for x."""
    def run(paths, x, name="x"):
        server = start_server(*paths)
        found = []
        with server.client() as client:
            for path in paths:
                answer = client.infer(path.name.removesuffix(".onnx"),
                                      [tensor(name, x.shape, "FP32", x.ravel().tolist())])
                assert answer.status == 200, answer
                y = answer.json()["outputs"][0]
                found.append(np.array(y["data"], np.float64).reshape(y["shape"]))
        return found
    return run


def relative_error(got, want):
    return np.sqrt(((got - want) ** 2).mean() / (want ** 2).mean())


# ---- whole models


@pytest.mark.parametrize("mode", ["qdq", "dynamic"])
def test_mlp_is_a_quarter_of_its_size_and_as_good(quantize, outputs, tmp_path, mode):
    x = numbers(9, 64, 100)
    report, path = quantize(mlp([100, 512, 512, 10]), x, "--mode", mode)
    weights = 100 * 512 + 512 * 512 + 512 * 10
    assert weights > 250_000 and report["quantized"] == 3
    assert report["bytes_after"] == path.stat().st_size and report["bytes_before"] == (tmp_path / "model.onnx").stat().st_size
    assert report["size_ratio"] == pytest.approx(report["bytes_after"] / report["bytes_before"]) and report["size_ratio"] <= 0.27
    want, got = outputs([tmp_path / "model.onnx", path], x)
    assert 0 < relative_error(got, want) < 0.03
    assert (got.argmax(1) == want.argmax(1)).mean() > 0.95
    found = report["outputs"][0]
    assert found["name"] == "g2" and found["elements"] == want.size
    if mode == "dynamic":  # scales of a batch are not those of its rows, which the report is about
        want, got = (np.concatenate(rows) for rows in zip(*(outputs([tmp_path / "model.onnx", path], row[None]) for row in x[:4])))
        assert found["max_difference"] >= np.abs(got - want).max() > 0
        return
    assert found["max_difference"] == pytest.approx(np.abs(got - want).max(), rel=1e-3)
    assert found["mean_difference"] == pytest.approx(np.abs(got - want).mean(), rel=1e-3)
    assert found["mean_magnitude"] == pytest.approx(np.abs(want).mean(), rel=1e-3)


@pytest.mark.parametrize("mode", ["qdq", "dynamic"])
def test_cnn_is_a_quarter_of_its_size_and_as_good(quantize, outputs, test_models, tmp_path, mode):
    x = np.random.RandomState(4).random_sample((4, 3, 224, 224)).astype(np.float32)
    report, path = quantize(test_models / "cnn_224.onnx", x, "--mode", mode)
    assert report["quantized"] == 7 and report["size_ratio"] <= 0.27
    assert report["outputs"][0]["mean_difference"] < 0.03 * report["outputs"][0]["mean_magnitude"]


def test_scales_codes_and_zero_points_are_those_of_numpy(quantize, tmp_path):
    x = numbers(9, 50, 30) + 0.5
    g = mlp([30, 20, 5])
    _, path = quantize(g, x)
    before, after = initializers(g.model()), initializers(onnx.load(path))
    nodes = onnx.load(path).graph.node
    made = {o: n for n in nodes for o in n.output}
    hidden = np.maximum(x.astype(np.float64) @ before["w0"] + before["b0"], 0)
    activations = [x, hidden]
    gemms = [n for n in nodes if n.op_type == "Gemm"]
    assert len(gemms) == 2
    for i, gemm in enumerate(gemms):
        pair, weights, bias = (made[name] for name in gemm.input)
        assert [n.op_type for n in (pair, weights, bias)] == ["DequantizeLinear"] * 3
        assert made[pair.input[0]].op_type == "QuantizeLinear" and made[pair.input[0]].input[1:] == pair.input[1:]
        scale, zero = activation_scale(activations[i])
        assert after[pair.input[1]] == pytest.approx(scale, rel=1e-5)
        assert after[pair.input[2]].dtype == np.uint8 and after[pair.input[2]] == zero

        w = before[f"w{i}"]
        scales = np.abs(w).max(axis=0) / np.float32(127)
        assert attribute(weights, "axis", 1) == 1
        np.testing.assert_allclose(after[weights.input[1]], scales, rtol=1e-6)
        assert after[weights.input[0]].dtype == np.int8
        np.testing.assert_array_equal(after[weights.input[0]], quantized(w, scales))
        assert after[weights.input[2]].dtype == np.int8 and not after[weights.input[2]].any()

        unit = after[pair.input[1]] * after[weights.input[1]]
        assert attribute(bias, "axis") == 0 and after[bias.input[0]].dtype == np.int32
        np.testing.assert_allclose(after[bias.input[1]], unit, rtol=1e-6)
        np.testing.assert_allclose(after[bias.input[0]] * unit.astype(np.float64), before[f"b{i}"], atol=unit.max())
    assert made[made[gemms[1].input[0]].input[0]].input[0] == "r0", "the pair stands behind Relu"


def test_conv_block_has_pairs_where_a_runtime_can_fuse(quantize, outputs, tmp_path):
    x = numbers(9, 20, 4, 12, 12)
    report, path = quantize(small_cnn(), x)
    graph = onnx.load(path).graph
    made = {o: n for n in graph.node for o in n.output}
    stored = initializers(onnx.load(path))
    quantized_values = {n.input[0]: (stored[n.input[1]], stored[n.input[2]]) for n in graph.node
                        if n.op_type == "QuantizeLinear"}
    output = made["y"]
    assert output.op_type == "DequantizeLinear", "the last Conv is quantised, its output keeps its name"
    last = made[output.input[0]].input[0]
    assert set(quantized_values) == {"x", "r0", "p0", "c1", "r1", last}
    assert quantized_values["r0"] == quantized_values["p0"], "MaxPool only moves values"
    assert quantized_values["r0"][1] == 0 and quantized_values["r1"][1] == 0, "no codes for what Relu cuts off"
    add = next(n for n in graph.node if n.op_type == "Add")
    assert [made[i].op_type for i in add.input] == ["DequantizeLinear"] * 2, "both ways come as integers"
    want, got = outputs([tmp_path / "model.onnx", path], x)
    assert 0 < relative_error(got, want) < 0.03


def test_one_pair_for_all_who_read_a_value(quantize, outputs, tmp_path):
    g = Graph()
    g.input("x", ["N", 8])
    for i in range(3):
        g.node("MatMul", ["x", g.const(f"w{i}", numbers(i, 8, 8))], f"m{i}")
    g.node("Sum", ["m0", "m1", "m2", "x"], "y")
    _, path = quantize(g.output("y", ["N", 8]), numbers(9, 10, 8))
    model = onnx.load(path)
    assert [n.op_type for n in model.graph.node].count("QuantizeLinear") == 1
    total = next(n for n in model.graph.node if n.op_type == "Sum")
    assert total.input[3] == "x", "who is not quantised reads the value itself"
    want, got = outputs([tmp_path / "model.onnx", path], numbers(9, 10, 8))
    assert 0 < relative_error(got, want) < 0.03


@pytest.mark.parametrize("mode", ["qdq", "dynamic"])
def test_weights_of_several_nodes_are_stored_once(quantize, outputs, tmp_path, mode):
    g = Graph()
    at = g.input("x", ["N", 64])
    g.const("w", numbers(0, 64, 64, scale=0.2))
    for i in range(3):
        at = g.node("Relu", [g.node("MatMul", [at, "w"], f"m{i}")], f"r{i}")
    x = numbers(9, 32, 64)
    report, path = quantize(g.output(at, ["N", 64]), x, "--mode", mode)
    model = onnx.load(path)
    large = [t for t in model.graph.initializer if np.prod(t.dims) == 64 * 64]
    assert [t.data_type for t in large] == [T.UINT8] and report["quantized"] == 3
    want, got = outputs([tmp_path / "model.onnx", path], x)
    assert 0 < relative_error(got, want) < 0.03


def test_float_weights_stay_for_those_who_still_need_them(quantize, outputs, tmp_path):
    g = Graph()
    g.input("x", ["N", 8])
    g.const("w", numbers(0, 8, 8))
    g.node("MatMul", ["x", "w"], "m")
    g.node("Add", ["m", g.node("Gather", ["w", g.const("i", np.int64(3))], "row")], "y")
    x = numbers(9, 10, 8)
    _, path = quantize(g.output("y", ["N", 8]), x)
    kept = initializers(onnx.load(path))
    np.testing.assert_array_equal(kept["w"], numbers(0, 8, 8))
    want, got = outputs([tmp_path / "model.onnx", path], x)
    assert 0 < relative_error(got, want) < 0.03


def folding_graph(kind):
    g = Graph()
    c = 6
    factors = {k: numbers(i, c, scale=0.3) + 1 for i, k in enumerate(["gamma", "beta", "mean", "k"])}
    factors["variance"] = np.abs(numbers(8, c)) + 0.5
    if kind == "conv":
        g.input("x", ["N", 3, 8, 8])
        g.node("Conv", ["x", g.const("w", numbers(20, c, 3, 3, 3, scale=0.3)), g.const("b", numbers(21, c))], "a")
        shape = (c, 1, 1)
    else:
        g.input("x", ["N", 10])
        g.node("Gemm", ["x", g.const("w", numbers(20, c, 10, scale=0.3)), g.const("b", numbers(21, c))], "a", transB=1,
               alpha=2.0, beta=0.5)
        shape = (1, c)
    for name in ("gamma", "beta", "mean", "variance"):
        g.const(name, factors[name])
    g.node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], "n", epsilon=1e-3)
    g.node("Mul", [g.const("k", factors["k"].reshape(shape)), "n"], "f")
    g.node("Add", ["f", g.const("t", np.array(0.25, np.float32))], "s")
    g.node("Relu", ["s"], "y")
    return g.output("y", ["N", None] + ([None, None] if kind == "conv" else []))


@pytest.mark.parametrize("mode", ["qdq", "dynamic"])
@pytest.mark.parametrize("kind", ["conv", "gemm"])
def test_what_follows_channel_by_channel_goes_into_the_weights(quantize, outputs, tmp_path, kind, mode):
    x = numbers(9, 16, *((3, 8, 8) if kind == "conv" else (10,)))
    report, path = quantize(folding_graph(kind), x, "--mode", mode)
    ops = {n.op_type for n in onnx.load(path).graph.node}
    assert report["folded"] == 3 and "BatchNormalization" not in ops and "Relu" in ops
    assert not {"gamma", "beta", "mean", "variance", "k", "w", "b"} & set(initializers(onnx.load(path)))
    want, got = outputs([tmp_path / "model.onnx", path], x)
    assert 0 < relative_error(got, want) < 0.03


def test_what_others_look_at_is_not_folded(quantize, outputs, tmp_path):
    g = folding_graph("conv")
    g.output("n", ["N", None, None, None])
    x = numbers(9, 8, 3, 8, 8)
    report, path = quantize(g, x)
    assert report["folded"] == 1 and "Mul" in {n.op_type for n in onnx.load(path).graph.node}


def test_clip_is_quantised_behind_it(quantize, outputs, tmp_path):
    g = Graph()
    g.input("x", ["N", 3, 8, 8])
    g.node("Conv", ["x", g.const("w", numbers(0, 4, 3, 3, 3))], "c")
    g.node("Clip", ["c", g.const("low", np.float32(0)), g.const("high", np.float32(6))], "y")
    x = numbers(9, 8, 3, 8, 8, scale=2)
    _, path = quantize(g.output("y", ["N", 4, 6, 6]), x)
    model = onnx.load(path)
    stored = initializers(model)
    scales = {n.input[0]: stored[n.input[1]] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert len(scales) == 2 and "c" not in scales
    assert next(v for k, v in scales.items() if k != "x") == pytest.approx(6 / 255)
    want, got = outputs([tmp_path / "model.onnx", path], x)
    assert np.abs(got - want).max() < 0.3


def test_percentile_cuts_rare_values_off(quantize, tmp_path):
    x = numbers(9, 1000, 20)
    x[7, 3] = 1000.0
    scale = {}
    for options in ([], ["--method", "percentile"], ["--method", "percentile", "--percentile", "99"]):
        _, path = quantize(mlp([20, 8]), x, *options)
        model = onnx.load(path)
        first = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
        scale[tuple(options)] = float(initializers(model)[first.input[1]]) * 255
    widths = list(scale.values())
    assert widths[0] == pytest.approx(1000 - x.min(), rel=1e-3)
    low, high = np.percentile(x, [0.005, 99.995])
    assert widths[1] == pytest.approx(high - low, rel=0.1)
    low, high = np.percentile(x, [0.5, 99.5])
    assert widths[2] == pytest.approx(high - low, rel=0.05)


def test_the_same_input_gives_the_same_bytes(quantize, tmp_path):
    x = numbers(9, 20, 4, 12, 12)
    files = [quantize(small_cnn(), x, *mode, out=f"{i}.onnx")[1].read_bytes()
             for mode in ([], ["--mode", "dynamic"], ["--method", "percentile"]) for i in range(2)]
    assert files[0] == files[1] and files[2] == files[3] and files[4] == files[5] and files[0] != files[2]


# ---- operator sets


def old_model(opset):
    """Operators whose attributes became inputs, as operator set 7 wrote them; what does not exist then is left out."""
    g = Graph(opset, ir_version=3 if opset < 9 else 6)
    g.input("x", ["N", 1, 12])
    g.node("Clip", ["x"], "a", min=-1.0, max=2.0)
    g.node("Squeeze", ["a"], "b", axes=[1])
    g.node("Pad", ["b"], "c", pads=[0, 0, 0, 2], value=0.5)
    for name, array in (("w", numbers(0, 14, 10)), ("v", numbers(1, 6, 4))):
        g.const(name, array)
        if opset < 9:
            g.input(name, list(array.shape))
    g.node("MatMul", ["c", "w"], "d")
    if opset < 10:
        g.node("Slice", ["d"], "e", axes=[1], starts=[2], ends=[8])
    else:
        for name, value in (("s", 2), ("t", 8), ("u", 1)):
            g.const(name, np.array([value], np.int64))
        g.node("Slice", ["d", "s", "t", "u"], "e")
    g.node("Gemm", ["e", "v", "z"], "f")
    g.const("z", numbers(2, 4))
    if opset < 9:
        g.input("z", [4])
    g.node("Dropout", ["f"], "g", ratio=0.3)
    g.node("Softmax", ["g"], "h", axis=1)
    g.node("Split", ["h"], ["i", "j"], axis=1, split=[1, 3])
    g.node("ReduceSum", ["j"], "k", axes=[1], keepdims=1)
    g.node("Add", ["i", "k"], "l")
    g.node("Unsqueeze", ["l"], "m", axes=[2])
    g.node("Concat", ["m", "m"], "y", axis=2)
    return g.output("y", ["N", 1, 2])


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12])
def test_older_operator_sets_are_raised(quantize, outputs, tmp_path, opset):
    g = old_model(opset)
    if opset >= 11:  # Clip and Pad take inputs by then
        for node, names in (("Clip", ["min", "max"]), ("Pad", ["pads", "value"])):
            found = next(n for n in g.nodes if n.op_type == node)
            for name in names:
                value = helper.get_attribute_value(next(a for a in found.attribute if a.name == name))
                kind = np.int64 if name == "pads" else np.float32
                found.input.append(g.const(f"{node}_{name}", np.array(value, kind)))
            del found.attribute[:]
    if opset == 12:
        next(n for n in g.nodes if n.op_type == "Dropout").attribute.pop()
    x = numbers(9, 10, 1, 12)
    report, path = quantize(g, x)
    model = onnx.load(path)
    assert (report["opset_before"], report["opset_after"]) == (opset, 13) and report["quantized"] == 2
    assert model.opset_import[0].version == 13 and model.ir_version >= 7
    assert [i.name for i in model.graph.input] == ["x"] and report["dropped_inputs"] == []
    onnx.checker.check_model(model)
    want, got = outputs([tmp_path / "model.onnx", path], x)
    assert got.shape == want.shape and np.abs(got - want).max() < 0.05


def test_no_more_is_raised_than_needed(quantize):
    x = numbers(9, 10, 8)
    assert quantize(mlp([8, 4], opset=11), x, "--per-tensor")[0]["opset_after"] == 11
    assert quantize(mlp([8, 4], opset=9), x, "--per-tensor")[0]["opset_after"] == 10
    assert quantize(mlp([8, 4], opset=9), x, "--mode", "dynamic")[0]["opset_after"] == 11
    assert quantize(mlp([8, 4], opset=17), x)[0]["opset_after"] == 17


def with_node(opset, op, shape=("N", 8), extra=(), **attributes):
    """MatMul and one more node, which also takes the constants `extra`."""
    g = Graph(opset)
    g.input("x", list(shape))
    g.node("MatMul", ["x", g.const("w", numbers(0, 8, 8))], "m")
    names = [g.const(f"c{i}", value) for i, value in enumerate(extra)]
    g.node(op, ["m", *names], "y", name="the node", **attributes)
    return g.output("y", [None] * len(shape))


ONES = np.ones(8, np.float32)


@pytest.mark.parametrize("mode, raised_to", [("qdq", 13), ("dynamic", 11)])
@pytest.mark.parametrize("graph, message", [
    (with_node(9, "Upsample", extra=[np.array([1, 2], np.float32)]), "Upsample 'the node' is not known to mean the same"),
    (with_node(10, "Resize", extra=[np.array([1, 2], np.float32)]), "Resize 'the node' samples otherwise since version 11"),
    (with_node(8, "BatchNormalization", extra=[ONES] * 4, spatial=0), "BatchNormalization 'the node' is not spatial"),
    (with_node(6, "Relu"), "only 7 or later can"),
])
def test_operator_sets_that_cannot_be_raised_are_refused(run_slipway, tmp_path, graph, message, mode, raised_to):
    graph.save(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", numbers(0, 2, 8))
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--calibration", "x.npy", "--mode", mode)
    assert done.returncode == 1 and f"m.onnx: the model's operator set {graph.opset} cannot be raised to {raised_to}: " in done.stderr
    assert message in done.stderr and f"export the model with operator set {raised_to} or later" in done.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_softmax_of_another_axis_is_refused_only_where_its_meaning_changes(run_slipway, tmp_path):
    with_node(12, "Softmax", shape=("N", 3, 8), axis=1).save(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", numbers(0, 2, 3, 8))
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--calibration", "x.npy")
    assert done.returncode == 1 and "Softmax 'the node' works along an axis that is not the last" in done.stderr
    assert run_slipway("quantize", "m.onnx", "out.onnx", "--mode", "dynamic").returncode == 0, "11 is low enough"


# ---- what stays


def left_cases():
    g = Graph()
    g.input("x", ["N", 4])
    g.input("v", [4, 4])
    g.input("cond", [], T.BOOL)
    g.input("half", ["N", 4], T.FLOAT16)
    g.node("MatMul", ["x", g.const("w", numbers(0, 4, 4))], "good", name="good")
    g.node("MatMul", ["x", "v"], "a", name="variable")
    g.node("MatMul", [g.const("c", numbers(1, 4, 4)), "v"], "b", name="constant first")
    g.node("MatMul", ["c", "w"], "d", name="both constant")
    g.node("MatMul", ["x", g.const("vector", numbers(2, 4))], "e", name="vector")
    g.node("MatMul", ["x", g.const("nan", np.full((4, 4), np.nan, np.float32))], "f", name="nan")
    g.node("MatMul", ["half", g.const("fp16", numbers(3, 4, 4).astype(np.float16))], "h", name="half")
    g.node("Cast", ["fp16"], "cast", to=T.FLOAT)
    g.node("MatMul", ["x", "cast"], "i", name="cast")
    g.node("MatMul", ["x", g.const("other", numbers(4, 4, 4))], "j", name="not this one")
    g.node("DequantizeLinear", [g.const("q", np.ones((4, 4), np.int8)), g.const("s", np.float32(0.1))], "dq")
    g.node("MatMul", ["x", "dq"], "k", name="done already")
    g.node("Gemm", ["x", "w", "v"], "l", name="beta", beta=0.5)
    g.node("MatMul", ["x", g.const("empty", np.zeros((4, 0), np.float32))], "m", name="empty")
    body = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["t"], name="inside")], "then", [],
                             [helper.make_tensor_value_info("t", T.FLOAT, None)])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["u"])], "else", [],
                              [helper.make_tensor_value_info("u", T.FLOAT, None)])
    g.node("If", ["cond"], "n", then_branch=body, else_branch=other)
    for name in "good a b d e i j k l n".split():
        g.output(name, [None] * (1 if name == "e" else 2))
    return g


def test_what_stays_is_told_with_its_reason(run_slipway, tmp_path, start_server):
    left_cases().save(tmp_path / "model.onnx")
    done = run_slipway("quantize", "model.onnx", "out.onnx", "--mode", "dynamic", "--exclude", "not this one", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {n["name"]: n["reason"] for n in report["nodes"]} == {
        "good": None,
        "variable": "its weights are not constant",
        "constant first": "its first input is the constant, not its second",
        "both constant": "both inputs are constant",
        "vector": "its weights have 1 dimension",
        "nan": "its weights do not fit their shape, or hold NaN or infinite values",
        "half": "its weights are FLOAT16",
        "cast": "its weights are cast from another type",
        "not this one": "excluded",
        "done already": "its weights are already quantised",
        "beta": "its bias is not constant, and beta is not 1",
        "empty": "its weights are empty",
        "inside": "it is inside a subgraph",
    }
    assert report["quantized"] == 1
    names = {t.name for t in onnx.load(tmp_path / "out.onnx").graph.initializer}
    assert {"w", "c", "vector", "other"} <= names, "the body of If still reads w"
    done = run_slipway("quantize", "model.onnx", "out.onnx", "--mode", "dynamic")
    assert "left: its weights are FLOAT16" in done.stdout and "left: it is inside a subgraph" in done.stdout
    server = start_server(tmp_path / "out.onnx")
    x = numbers(5, 2, 4)
    with server.client() as client:
        answer = client.infer("out", [tensor("x", [2, 4], "FP32", x.ravel().tolist()),
                                      tensor("v", [4, 4], "FP32", [0.0] * 16), tensor("cond", [], "BOOL", [True])],
                              outputs=[{"name": "n"}])
    assert answer.status in (200, 400)


def test_quantising_twice_changes_nothing(quantize, run_slipway, tmp_path):
    x = numbers(9, 10, 20)
    _, path = quantize(mlp([20, 16, 8]), x)
    done = run_slipway("quantize", path, tmp_path / "again.onnx", "--calibration", tmp_path / "data.npy")
    assert done.returncode == 1 and "nothing to quantise: Gemm 'fc0' stays because its input is already quantised" in done.stderr
    assert not (tmp_path / "again.onnx").exists()


@pytest.mark.parametrize("mode", ["qdq", "dynamic"])
def test_bodies_of_if_still_see_the_values_they_read(quantize, start_server, tmp_path, mode):
    """A value that a subgraph reads keeps its name and meaning, whether or not it is quantised."""
    g = Graph()
    g.input("x", ["N", 3, 6, 6])
    g.node("Conv", ["x", g.const("w", numbers(0, 4, 3, 3, 3))], "c")
    g.node("Relu", ["c"], "r")
    g.node("ReduceMax", ["x"], "most", keepdims=0)
    g.node("Greater", ["most", g.const("limit", np.float32(0))], "cond")
    branch = [helper.make_graph([helper.make_node(op, ["c"], [name])], name, [],
                                [helper.make_tensor_value_info(name, T.FLOAT, None)])
              for op, name in (("Neg", "negative"), ("Identity", "same"))]
    g.node("If", ["cond"], "i", then_branch=branch[0], else_branch=branch[1])
    g.node("Add", ["r", "i"], "y")
    x = numbers(9, 6, 3, 6, 6)
    report, path = quantize(g.output("y", ["N", 4, 4, 4]), x, "--mode", mode)
    found = report["outputs"][0]
    assert 0 < found["mean_difference"] < 0.03 * found["mean_magnitude"]


def test_weights_that_callers_could_replace_are_named(quantize, run_slipway, tmp_path):
    g = mlp([8, 4])
    g.input("w0", [8, 4])
    report, path = quantize(g, numbers(9, 10, 8))
    assert report["dropped_inputs"] == ["w0"]
    assert [i.name for i in onnx.load(path).graph.input] == ["x"]
    done = run_slipway("quantize", "model.onnx", "x.onnx", "--mode", "dynamic")
    assert "w0 is none any more" in done.stdout


def test_what_newer_formats_add_is_kept(quantize, tmp_path):
    """Field 999 of the model is one that no version knows yet."""
    path = mlp([8, 4]).save(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes() + bytes([0xba, 0x3e, 5]) + b"later")
    _, out = quantize(path, numbers(9, 10, 8))
    assert out.read_bytes().endswith(bytes([0xba, 0x3e, 5]) + b"later")


def test_external_data_comes_into_the_file(quantize, outputs, tmp_path):
    path = mlp([8, 6, 4]).save(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    before = path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    x = numbers(9, 10, 8)
    report, out = quantize(path, x)
    assert report["bytes_before"] == before
    os.rename(out, tmp_path / "moved.onnx")
    (tmp_path / "elsewhere").mkdir()
    alone = tmp_path / "elsewhere" / "moved.onnx"
    os.rename(tmp_path / "moved.onnx", alone)
    want, got = outputs([path, alone], x)
    assert 0 < relative_error(got, want) < 0.03


# ---- hostile files


def test_cut_and_broken_files_are_refused(run_slipway, tmp_path):
    whole = mlp([8, 4]).save(tmp_path / "m.onnx").read_bytes()
    for n in range(0, len(whole) - 1, len(whole) // 12):
        (tmp_path / "cut.onnx").write_bytes(whole[:n])
        done = run_slipway("quantize", "cut.onnx", "out.onnx", "--mode", "dynamic")
        assert done.returncode == 1 and "cut.onnx" in done.stderr, (n, done.stderr)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("change, message", [
    (lambda t: t.external_data.add(key="location", value="../outside.bin"), "outside"),
    (lambda t: t.external_data.add(key="location", value="missing.bin"), "missing.bin"),
    (lambda t: [t.external_data.add(key=k, value=v) for k, v in (("location", "short.bin"), ("length", "128"))], "w0"),
])
def test_external_data_that_is_not_there(run_slipway, tmp_path, change, message):
    model = mlp([8, 4]).model()
    (tmp_path / "short.bin").write_bytes(b"1234")
    t = model.graph.initializer[0]
    t.ClearField("raw_data")
    t.data_location = T.EXTERNAL
    change(t)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--mode", "dynamic")
    assert done.returncode in (1, 3) and message in done.stderr and not (tmp_path / "out.onnx").exists()


# ---- calibration data


def calibrated(run_slipway, folder, data, *options):
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--calibration", data, "--json", *options, cwd=folder)
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else done.stderr


def two_inputs():
    g = Graph()
    g.input("a", ["N", 6])
    g.input("n", ["N"], T.INT64)
    g.node("MatMul", ["a", g.const("w", numbers(0, 6, 4))], "m")
    g.node("Cast", ["n"], "f", to=T.FLOAT)
    g.node("Unsqueeze", ["f", g.const("axis", np.array([1], np.int64))], "u")
    g.node("Add", ["m", "u"], "y")
    return g.output("y", ["N", 4])


def test_calibration_data_in_every_form(run_slipway, tmp_path):
    two_inputs().save(tmp_path / "m.onnx")
    a, n = numbers(1, 12, 6), np.arange(12)
    np.savez(tmp_path / "plain.npz", a=a, n=n)
    np.savez_compressed(tmp_path / "packed.npz", a=a.astype(np.float64), n=n.astype(np.int32))
    (tmp_path / "named").mkdir()
    np.save(tmp_path / "named" / "a.npy", a)
    np.save(tmp_path / "named" / "n.npy", n)
    (tmp_path / "parts").mkdir()
    for i in range(3):
        np.savez(tmp_path / "parts" / f"{i}.npz", a=a[4 * i:4 * i + 4], n=n[4 * i:4 * i + 4])
    np.savez(tmp_path / "outer.npz", a=a.reshape(12, 1, 6), n=n.reshape(12, 1))
    lines = [json.dumps({"inputs": [tensor("a", [1, 6], "FP32", row.tolist()), tensor("n", [1], "INT64", [int(k)])],
                         "outputs": [], "tolerance": 1}) for row, k in zip(a, n)]
    (tmp_path / "requests.jsonl").write_text("\n".join(lines) + "\n\n")
    files = {}
    for data in ("plain.npz", "packed.npz", "named", "parts", "outer.npz", "requests.jsonl"):
        code, report = calibrated(run_slipway, tmp_path, data)
        assert code == 0, f"{data}: {report}"
        assert report["samples"] == 12, data
        files[data] = (tmp_path / "out.onnx").read_bytes()
    assert len(set(files.values())) == 1, "the same samples give the same model, in whatever form they come"


def test_of_many_samples_some_are_taken_evenly(run_slipway, tmp_path):
    mlp([4, 3]).save(tmp_path / "m.onnx")
    x = np.zeros((100, 4), np.float32)
    x[0], x[60] = -1, 9
    np.save(tmp_path / "x.npy", x)
    code, report = calibrated(run_slipway, tmp_path, "x.npy", "--samples", "5")
    assert code == 0 and report["samples"] == 5
    model = onnx.load(tmp_path / "out.onnx")
    first = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
    assert initializers(model)[first.input[1]] == pytest.approx(10 / 255), "samples 0, 20, 40, 60 and 80"


@pytest.mark.parametrize("files, data, code, message", [
    ({}, "nowhere", 3, "nowhere"),
    ({"d/.keep": b""}, "d", 2, "d"),
    ({"x.npy": np.zeros((3, 7), np.float32)}, "x.npy", 2, "x.npy sample 1"),
    ({"x.npy": np.zeros((0, 4), np.float32)}, "x.npy", 2, "'x' is empty"),
    ({"x.npy": np.zeros((2, 3, 5, 4), np.float32)}, "x.npy", 2, "of shape [2,3,5,4], input 'x' of [-1,4]"),
    ({"x.npy": np.full((3, 4), np.nan, np.float32)}, "x.npy", 1, "tensor 'x' holds NaN or infinite values"),
    ({"x.npy": np.full((3, 4), 1e300)}, "x.npy", 2, "does not fit into FP32"),
    ({"x.npy": np.array([["a", "b"]])}, "x.npy", 2, "of type '<U1'"),
    ({"x.npy": np.asfortranarray(numbers(0, 3, 4))}, "x.npy", 2, "Fortran order"),
    ({"x.npy": b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'"}, "x.npy", 2, "x.npy: not a .npy array"),
    ({"x.npz": b"PK\x03\x04 and nothing more"}, "x.npz", 2, "x.npz"),
    ({"x.npz": {"z": np.zeros((3, 4))}}, "x.npz", 2, "no input 'z'"),
    ({"x.jsonl": b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2]}]}\n'}, "x.jsonl", 2,
     "x.jsonl line 1"),
    ({"x.jsonl": b'{"inputs": [{"name": "q", "shape": [1], "datatype": "FP32", "data": [1]}]}\n'}, "x.jsonl", 2, 'no input "q"'),
])
def test_calibration_data_that_is_no_use(run_slipway, tmp_path, files, data, code, message):
    mlp([4, 3]).save(tmp_path / "m.onnx")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        elif isinstance(content, dict):
            np.savez(tmp_path / name, **content)
        else:
            np.save(tmp_path / name, content)
    (tmp_path / "tmp").mkdir()
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--calibration", data, env={"TMPDIR": str(tmp_path / "tmp")})
    assert done.returncode == code and message in done.stderr, done.stderr
    assert not (tmp_path / "out.onnx").exists() and not list((tmp_path / "tmp").iterdir())


# ---- bundles


def test_digits_keeps_reading_its_samples(run_slipway, digits, tmp_path, start_server):
    (tmp_path / "tmp").mkdir()
    done = run_slipway("quantize", digits, "digits8", "--calibration", digits / "samples", "--json",
                       env={"TMPDIR": str(tmp_path / "tmp")})
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["quantized"] == report["node_count"] == 4 and report["samples"] == len(list((digits / "samples").iterdir()))
    assert report["size_ratio"] < 0.3 and not list((tmp_path / "tmp").iterdir())
    assert report["golden"]["rewritten"] and report["golden"]["label_changes"] == 0
    made = tmp_path / "digits8"
    assert {p.relative_to(digits) for p in digits.rglob("*")} == {p.relative_to(made) for p in made.rglob("*")}
    assert (made / "bundle.yaml").read_text().splitlines()[1:] == (digits / "bundle.yaml").read_text().splitlines()
    assert "Quantised to INT8 (qdq)" in (made / "bundle.yaml").read_text().splitlines()[0]
    assert run_slipway("validate", made).returncode == 0
    server = start_server(made)
    with server.client() as client:
        for line in (digits / "golden.jsonl").read_text().splitlines():
            request = json.loads(line)
            image = (digits / request["inputs"][0]["file"]).read_bytes()
            answer = client.request("POST", "/v1/models/digits:predict", body=image, headers={"Content-Type": "image/png"})
            assert answer.status == 200
            got = answer.json()["predictions"][0]
            want = {o["name"]: o["data"] for o in request["outputs"]}
            assert got["label"] == want["label"][0]
            assert np.abs(np.array(got["scores"]) - want["scores"]).max() < 0.05


def bundle_of(folder, golden_tolerance=None):
    folder.mkdir()
    g = mlp([4, 3])
    (folder / "weights").mkdir()
    path = folder / "weights" / "net.onnx"
    onnx.save_model(g.model(), str(path), save_as_external_data=True, location="net.bin", size_threshold=0)
    (folder / "bundle.yaml").write_text("model: weights/net.onnx\n" + ("golden: golden.jsonl\n" if golden_tolerance else ""))
    (folder / "notes").mkdir()
    (folder / "notes" / "read.me").write_text("kept")
    (folder / ".hidden").write_text("left")
    if golden_tolerance:
        weights = initializers(g.model())
        x = numbers(3, 1, 4)
        y = x @ weights["w0"] + weights["b0"]
        (folder / "golden.jsonl").write_text(json.dumps({
            "inputs": [tensor("x", [1, 4], "FP32", x.ravel().tolist())],
            "outputs": [tensor("g0", [1, 3], "FP32", y.ravel().tolist())], "tolerance": golden_tolerance}) + "\n")
    return folder


def test_a_bundle_brings_its_files_along_but_not_the_old_weights(run_slipway, tmp_path):
    folder = bundle_of(tmp_path / "b", golden_tolerance=0.2)
    np.save(tmp_path / "x.npy", numbers(9, 50, 4))
    done = run_slipway("quantize", folder, "out/", "--calibration", "x.npy")
    assert done.returncode == 0, done.stderr
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()) == [
        "bundle.yaml", "golden.jsonl", "notes/read.me", "weights/net.onnx"]
    assert (tmp_path / "out" / "golden.jsonl").read_bytes() == (folder / "golden.jsonl").read_bytes()
    assert "golden      all 1 answers still pass" in done.stdout
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("out.")]


def test_an_answer_that_no_longer_passes_is_replaced(run_slipway, tmp_path):
    folder = bundle_of(tmp_path / "b", golden_tolerance=1e-6)
    np.save(tmp_path / "x.npy", numbers(9, 50, 4))
    done = run_slipway("quantize", folder, "out", "--calibration", "x.npy")
    assert done.returncode == 0, done.stderr
    assert "golden      1 answers rewritten" in done.stdout and "0 of them with another label" in done.stdout
    assert "golden.jsonl line 1: output 'g0'" in done.stdout
    old, new = (json.loads((f / "golden.jsonl").read_text()) for f in (folder, tmp_path / "out"))
    assert new["inputs"] == old["inputs"] and new["tolerance"] == 0.01
    assert new["outputs"][0]["data"] != old["outputs"][0]["data"]
    np.testing.assert_allclose(new["outputs"][0]["data"], old["outputs"][0]["data"], atol=0.2)
    assert run_slipway("validate", "out").returncode == 0


def test_out_of_a_bundle_may_be_a_file(run_slipway, tmp_path):
    folder = bundle_of(tmp_path / "b")
    np.save(tmp_path / "x.npy", numbers(9, 50, 4))
    done = run_slipway("quantize", folder, "net8.onnx", "--calibration", "x.npy")
    assert done.returncode == 0 and (tmp_path / "net8.onnx").is_file()


def test_a_folder_is_replaced_only_when_told_so(run_slipway, tmp_path):
    folder = bundle_of(tmp_path / "b")
    np.save(tmp_path / "x.npy", numbers(9, 50, 4))
    (tmp_path / "out").mkdir()
    command = ("quantize", folder, "out", "--calibration", "x.npy")
    assert run_slipway(*command).returncode == 0, "an empty folder is in nobody's way"
    (tmp_path / "out" / "mine").write_text("mine")
    done = run_slipway(*command)
    assert done.returncode == 1 and "out exists and is not empty; --force replaces it" in done.stderr
    assert (tmp_path / "out" / "mine").exists()
    assert run_slipway(*command, "--force").returncode == 0
    assert not (tmp_path / "out" / "mine").exists() and (tmp_path / "out" / "weights" / "net.onnx").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "out", "x.npy"]


# ---- the command line


@pytest.mark.parametrize("words, message", [
    (["m.onnx", "out.onnx"], "--calibration DATA is needed"),
    (["m.onnx", "out.onnx", "--mode", "static"], "--mode static: must be qdq or dynamic"),
    (["m.onnx", "out.onnx", "--method", "entropy"], "--method entropy: must be minmax or percentile"),
    (["m.onnx", "out.onnx", "--percentile", "50"], "--percentile 50: must be a number from 90 to 100"),
    (["m.onnx", "out.onnx", "--activations", "int4"], "--activations int4: must be uint8 or int8"),
    (["m.onnx", "out.onnx", "--mode", "dynamic", "--activations", "int8"], "does not go with --mode dynamic"),
    (["m.onnx", "out", "--mode", "dynamic"], "out: must end in .onnx"),
    (["m.onnx", "m.onnx", "--mode", "dynamic"], "m.onnx is the model itself"),
    (["m.onnx", "folder.onnx", "--mode", "dynamic"], "folder.onnx is a folder"),
    (["m.onnx", "out.onnx", "--mode", "dynamic", "--exclude", "fc9"], "no MatMul, Gemm or Conv is called 'fc9'"),
])
def test_wrong_usage(run_slipway, tmp_path, words, message):
    mlp([4, 3]).save(tmp_path / "m.onnx")
    (tmp_path / "folder.onnx").mkdir()
    before = (tmp_path / "m.onnx").read_bytes()
    done = run_slipway("quantize", *words)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert (tmp_path / "m.onnx").read_bytes() == before and not (tmp_path / "out.onnx").exists()


def test_what_cannot_be_done(run_slipway, test_models, tmp_path):
    done = run_slipway("quantize", "nowhere.onnx", "out.onnx", "--mode", "dynamic")
    assert done.returncode == 3 and "nowhere.onnx" in done.stderr
    mlp([4, 3]).save(tmp_path / "m.onnx")
    done = run_slipway("quantize", "m.onnx", "no/such/folder/out.onnx", "--mode", "dynamic")
    assert done.returncode == 3 and "no/such/folder/out.onnx" in done.stderr
    done = run_slipway("quantize", test_models / "add_sub.onnx", "out.onnx", "--mode", "dynamic")
    assert done.returncode == 1 and "the model has no MatMul, Gemm or Conv" in done.stderr
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--mode", "dynamic", "--exclude", "fc0")
    assert done.returncode == 1 and "Gemm 'fc0' stays because excluded" in done.stderr


def test_an_old_file_is_replaced_whole(run_slipway, tmp_path):
    mlp([4, 3]).save(tmp_path / "m.onnx")
    (tmp_path / "out.onnx").write_text("old")
    os.chmod(tmp_path / "out.onnx", 0o600)
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--mode", "dynamic")
    assert done.returncode == 0
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "out.onnx"]


def test_table_for_people(run_slipway, tmp_path):
    mlp([4, 6, 3]).save(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", numbers(9, 50, 4))
    done = run_slipway("quantize", "m.onnx", "out.onnx", "--calibration", "x.npy", "--exclude", "fc1")
    lines = done.stdout.splitlines()
    assert lines[0] == "m: qdq, calibrated on 50 samples (least to greatest value)"
    assert lines[2].split() == ["NODE", "OPERATOR", "WEIGHTS", "RESULT"]
    assert lines[3].split() == ["fc0", "Gemm", "[4,6]", "INT8"]
    assert lines[4].split() == ["fc1", "Gemm", "[6,3]", "left:", "excluded"]
    assert "quantised   1 of 2" in lines
    assert any(line.startswith("size ") for line in lines) and any(line.startswith("output      g1: moved by") for line in lines)
    assert lines[-1] == "written     out.onnx"
