"""Small ONNX models put together by hand, and what their operators do, in numpy: a reference that knows no runtime."""
import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper


class Graph:
    """g = Graph(); g.input("x", ["N", 3]); g.const("w", array); g.node("MatMul", ["x", "w"], "y"); g.output("y")"""

    def __init__(self, opset=17, ir_version=8):
        self.opset, self.ir_version = opset, ir_version
        self.nodes, self.inputs, self.outputs, self.initializers, self.value_info = [], [], [], [], []
        self.opsets = [helper.make_opsetid("", opset)]

    def input(self, name, shape, kind=T.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name, shape=None, kind=T.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return self

    def const(self, name, array, raw=True):
        array = np.ascontiguousarray(array)
        if raw:
            tensor = numpy_helper.from_array(array, name)
        else:  # numbers in the list of their type
            kind = helper.np_dtype_to_tensor_dtype(array.dtype) if hasattr(helper, "np_dtype_to_tensor_dtype") else \
                {"float32": T.FLOAT, "int64": T.INT64}[str(array.dtype)]
            tensor = helper.make_tensor(name, kind, array.shape, array.ravel().tolist())
        self.initializers.append(tensor)
        return name

    def node(self, op, inputs, outputs, name="", **attributes):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def graph(self, name="g"):
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers,
                                 value_info=self.value_info)

    def model(self):
        return helper.make_model(self.graph(), opset_imports=self.opsets, ir_version=self.ir_version)

    def save(self, path):
        path.write_bytes(self.model().SerializeToString(deterministic=True))
        return path


def initializers(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def attribute(node, name, fallback=None):
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), fallback)


def conv(x, w, strides=None, dilations=None, pads=None, group=1):
    """x [n, c, ...], w [m, c/group, ...], any number of dimensions behind; zero padding."""
    dims = x.ndim - 2
    strides, dilations, pads = strides or [1] * dims, dilations or [1] * dims, pads or [0] * (2 * dims)
    x = np.pad(x, [(0, 0), (0, 0)] + [(pads[i], pads[dims + i]) for i in range(dims)])
    out = [(x.shape[2 + i] - dilations[i] * (w.shape[2 + i] - 1) - 1) // strides[i] + 1 for i in range(dims)]
    m, per_group = w.shape[0] // group, w.shape[1]
    y = np.zeros((x.shape[0], w.shape[0], *out), np.float64)
    for place in np.ndindex(*w.shape[2:]):
        cut = tuple(slice(place[i] * dilations[i], place[i] * dilations[i] + strides[i] * (out[i] - 1) + 1, strides[i])
                    for i in range(dims))
        for g in range(group):
            part = x[(slice(None), slice(g * per_group, (g + 1) * per_group), *cut)]
            taps = w[(slice(g * m, (g + 1) * m), slice(None), *place)]
            y[:, g * m:(g + 1) * m] += np.einsum("nc...,mc->nm...", part, taps)
    return y


def quantized(array, scale, zero=0, low=-127, high=127):
    return np.clip(np.rint(np.asarray(array, np.float64) / scale) + zero, low, high)


def activation_scale(values):
    """Scale and zero point of UINT8 for these values, as QuantizeLinear wants them: 0 lies in the range."""
    low, high = min(float(np.min(values)), 0.0), max(float(np.max(values)), 0.0)
    scale = np.float32((high - low) / 255)
    return scale, int(np.clip(np.rint(-low / float(scale)), 0, 255))
