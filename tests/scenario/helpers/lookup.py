"""A detector that answers what a table says, so that every figure about it is known beforehand.

The model takes one text and looks up a logit, a method and a message for it (ONNX's LabelEncoder). The file of sample i
holds the text "k<i>". Its bundle calibrates the logit and applies a threshold."""
import json
import math
import random
from dataclasses import dataclass

from onnx import TensorProto, helper

A, B, THRESHOLD = -0.8, 0.1, 0.9  # of the bundle: Platt's sigmoid; positive from this probability on
METHODS = ("alpha", "lsb.rgb", "palette")
FORMATS = ("png", "webp", "gif")


@dataclass
class Sample:
    key: str
    stego: bool
    logit: float
    method: str | None  # the truth
    said: str  # what the model calls it
    payload: str | None
    message: str
    format: str
    kind: str
    bit_order: str | None

    @property
    def file(self):
        return f"{self.key}.{self.format}"

    @property
    def probability(self):
        return 1 / (1 + math.exp(A * self.logit + B))

    @property
    def positive(self):
        return self.probability >= THRESHOLD


def make_samples(count, seed=5):
    """Scores that overlap, methods and messages that are mostly right."""
    chance = random.Random(seed)
    samples = []
    for i in range(count):
        stego = i % 3 == 1
        method = chance.choice(METHODS) if stego else None
        logit = round(chance.gauss(3.5 if stego else -2.5, 2.2), 3)
        if abs(1 / (1 + math.exp(A * logit + B)) - THRESHOLD) < 1e-4:
            logit += 0.01  # away from where a float could round to the other side
        payload = f"hidden {i} \u00e9" if stego else None
        samples.append(Sample(
            key=f"k{i}", stego=stego, logit=logit, method=method,
            said=method if method and chance.random() < 0.95 else chance.choice(METHODS), payload=payload,
            message=payload if stego and chance.random() < 0.9 else "garbage", format=chance.choice(FORMATS),
            kind=chance.choice(("camera", "made")), bit_order=chance.choice(("lsb-first", "msb-first")) if stego else None))
    return samples


def _lookup(samples, output, values, kind):
    default = {"default_float": 0.0} if kind == "floats" else {"default_string": "?"}
    return helper.make_node("LabelEncoder", ["data"], [output], domain="ai.onnx.ml", keys_strings=[s.key for s in samples],
                            **{f"values_{kind}": values}, **default)


def write_model(samples, folder):
    """Its bundle in the folder."""
    outputs = [("logit", TensorProto.FLOAT, [s.logit for s in samples], "floats"),
               ("method", TensorProto.STRING, [s.said for s in samples], "strings"),
               ("message", TensorProto.STRING, [s.message for s in samples], "strings")]
    graph = helper.make_graph(
        [_lookup(samples, name, values, kind) for name, _, values, kind in outputs], "lookup",
        [helper.make_tensor_value_info("data", TensorProto.STRING, ["N"])],
        [helper.make_tensor_value_info(name, datatype, ["N"]) for name, datatype, _, _ in outputs])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 2)]
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=7).SerializeToString())
    (folder / "calibration.json").write_text(json.dumps({"method": "platt", "a": A, "b": B}))
    (folder / "bundle.yaml").write_text(
        "name: lookup\n"
        "output:\n"
        "  calibrate: { file: calibration.json, tensor: logit, name: probability }\n"
        f"  threshold: {{ value: {THRESHOLD}, tensor: probability, name: is_stego }}\n")
    return folder


def manifest_line(sample):
    return {"file": sample.file, "is_stego": sample.stego, "method": sample.method, "payload": sample.payload,
            "kind": sample.kind, "bit_order": sample.bit_order}


def write_data(samples, folder):
    """The files and their manifest."""
    folder.mkdir(parents=True)
    for sample in samples:
        (folder / sample.file).write_text(sample.key)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(manifest_line(s)) + "\n" for s in samples))
    return folder
