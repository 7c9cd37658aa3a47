"""The detector's network in numpy: training, and export to ONNX.

One small network looks at each carrier by itself, with the same weights for all (which carrier it is, is part of the
evidence), and gives a logit: is text hidden in this carrier? The image's logit is the log of the sum of their exponentials
(something is hidden if it is in one of them); the shares of the methods are their softmax, summed by method. In ONNX the
carriers are the positions of 1x1 convolutions.

  evidence [N, E, 8] -> Conv E-384, Relu, Conv 384-384, Relu, Conv 384-64, Relu, Conv 64-1 -> [N, 8]
  -> minus 30 where the carrier is absent -> stego_score [N] (ReduceLogSumExp), method_shares [N, 5]
"""
import math

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

WIDTHS = (384, 384, 64, 1)
ABSENT = -30.0
WEIGHT_GRID = 4096
BATCH = 1024
# Carriers are, in order: alpha lsb, alpha msb, rgb msb, rgb lsb, palette msb, palette lsb, exif, raw.
METHODS = (("alpha", (0, 1)), ("palette", (4, 5)), ("lsb.rgb", (2, 3)), ("exif", (6,)), ("raw", (7,)))


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def initial(inputs, rng):
    parameters = []
    for width in WIDTHS:
        parameters += [rng.normal(0, math.sqrt(2 / inputs), (width, inputs)).astype(np.float32),
                       np.zeros(width, np.float32)]
        inputs = width
    return parameters


def forward(parameters, x):
    """x (n, E): one carrier a row. Returns logits (n,) and the activations that the gradient needs."""
    activations = [x]
    for i in range(0, len(parameters), 2):
        x = x @ parameters[i].T + parameters[i + 1]
        if i + 2 < len(parameters):
            x = np.maximum(x, 0)
        activations.append(x)
    return x[:, 0], activations


def gradients(parameters, x, target, weight):
    """Of the weighted mean cross-entropy. target: 0..1."""
    logits, activations = forward(parameters, x)
    g = ((sigmoid(logits) - target) * weight / weight.sum()).astype(np.float32)[:, None]
    result = [None] * len(parameters)
    for i in range(len(parameters) - 2, -1, -2):
        result[i], result[i + 1] = g.T @ activations[i // 2], g.sum(axis=0)
        if i:
            g = (g @ parameters[i]) * (activations[i // 2] > 0)
    return result


def cross_entropy(logits, target):
    return float(np.mean(np.logaddexp(0, logits) - target * logits))


def train(x, target, weight, seed, epochs, report):
    """Adam (Kingma and Ba, 2015), cosine learning rate, decoupled weight decay; float32."""
    rng = np.random.default_rng(seed)
    parameters = initial(x.shape[1], rng)
    means = [np.zeros_like(p) for p in parameters]
    squares = [np.zeros_like(p) for p in parameters]
    steps, step = epochs * math.ceil(len(x) / BATCH), 0
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start:start + BATCH]
            rate = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
            step += 1
            for p, m, s, g in zip(parameters, means, squares,
                                  gradients(parameters, x[chosen], target[chosen], weight[chosen])):
                m += 0.1 * (g - m)
                s += 0.001 * (g * g - s)
                p -= rate * (m / (1 - 0.9 ** step) / (np.sqrt(s / (1 - 0.999 ** step)) + 1e-8) + 1e-4 * p * (p.ndim > 1))
        report(epoch, parameters)
    return [np.rint(p * WEIGHT_GRID) / np.float32(WEIGHT_GRID) for p in parameters]


def image_logits(parameters, evidence):
    """evidence (n, E, 8) -> stego_score (n,), method_shares (n, 5), carrier logits (n, 8)."""
    n, width, carriers = evidence.shape
    logits = forward(parameters, evidence.transpose(0, 2, 1).reshape(-1, width))[0].reshape(n, carriers)
    logits = logits + ABSENT * (1 - evidence[:, 0, :])
    top = logits.max(axis=1, keepdims=True)
    e = np.exp(logits - top)
    score = top[:, 0] + np.log(e.sum(axis=1))
    soft = e / e.sum(axis=1, keepdims=True)
    shares = np.stack([soft[:, list(c)].sum(axis=1) for _, c in METHODS], axis=1)
    return score, shares, logits


def onnx_model(parameters):
    inputs = parameters[0].shape[1]
    initializers, nodes, value = [], [], "evidence"
    layers = len(parameters) // 2
    for i in range(layers):
        weight, bias = f"conv{i + 1}.weight", f"conv{i + 1}.bias"
        initializers += [numpy_helper.from_array(parameters[2 * i].astype(np.float32)[:, :, None], weight),
                         numpy_helper.from_array(parameters[2 * i + 1].astype(np.float32), bias)]
        nodes.append(helper.make_node("Conv", [value, weight, bias], [f"conv{i + 1}"], f"conv{i + 1}", kernel_shape=[1]))
        value = f"conv{i + 1}"
        if i + 1 < layers:
            nodes.append(helper.make_node("Relu", [value], [f"relu{i + 1}"], f"relu{i + 1}"))
            value = f"relu{i + 1}"

    def ints(name, *numbers):
        initializers.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
        return name

    one, zero, axis = ints("one", 1), ints("zero", 0), ints("axis", 1)
    initializers.append(numpy_helper.from_array(np.array(-ABSENT, np.float32), "absent"))
    node = helper.make_node
    nodes += [
        node("Slice", ["evidence", zero, one, axis], ["present"], "present"),   # [N,1,8]
        node("Mul", ["present", "absent"], ["raised"], "raised"),
        node("Sub", ["raised", "absent"], ["mask"], "mask"),                    # 0, or -30 where absent
        node("Add", [value, "mask"], ["masked"], "masked"),
        node("Squeeze", ["masked", axis], ["carrier_logits"], "carriers"),      # [N,8]
        node("ReduceLogSumExp", ["carrier_logits"], ["stego_score"], "score", axes=[1], keepdims=0),
        node("Softmax", ["carrier_logits"], ["soft"], "soft", axis=1),
        node("Split", ["soft", ints("parts", 2, 2, 2, 1, 1)], ["a2", "r2", "p2", "e1", "w1"], "split", axis=1),
        node("ReduceSum", ["a2", axis], ["a1"], "alpha", keepdims=1),
        node("ReduceSum", ["r2", axis], ["r1"], "lsb", keepdims=1),
        node("ReduceSum", ["p2", axis], ["p1"], "palette", keepdims=1),
        node("Concat", ["a1", "p1", "r1", "e1", "w1"], ["method_shares"], "shares", axis=1),
    ]
    graph = helper.make_graph(
        nodes, "starlight", [helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["n", inputs, 8])],
        [helper.make_tensor_value_info("stego_score", TensorProto.FLOAT, ["n"]),
         helper.make_tensor_value_info("method_shares", TensorProto.FLOAT, ["n", 5])], initializers)
    model = helper.make_model(graph, producer_name="apps/starlight/training/train.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
