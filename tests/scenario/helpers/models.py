"""Small ONNX models that tell by their answer which one they are, and bundles and archives of them."""
import io
import json
import tarfile
import zipfile

from onnx import TensorProto, helper


def plus(number, shape=("N",), datatype=TensorProto.FLOAT, input_name="x", output_name="y", output_shape=None):
    """The bytes of a model: output = input + number. output_shape: as declared, when not that of the input."""
    constant = helper.make_tensor("number", datatype, [], [number])
    nodes = [helper.make_node("Add", [input_name, "number"], [output_name])]
    inputs = [helper.make_tensor_value_info(input_name, datatype, list(shape))]
    outputs = [helper.make_tensor_value_info(output_name, datatype, list(output_shape or shape))]
    graph = helper.make_graph(nodes, "plus", inputs, outputs, [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(deterministic=True)


def golden_line(x, y):
    return json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [x]}],
                       "outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [y]}]})


def bundle(number, name=None, golden=None, extra=""):
    """{path: bytes} of a bundle around plus(number). golden: the answer its golden file wants for 1; extra: YAML."""
    text = "model: model.onnx\n" + (f"name: {name}\n" if name else "") + extra
    files = {"model.onnx": plus(number)}
    if golden is not None:
        text += "golden: golden.jsonl\n"
        files["golden.jsonl"] = (golden_line(1, golden) + "\n").encode()
    return {**files, "bundle.yaml": text.encode()}


def tar(files, mode="w", top=None, members=()):
    """The bytes of a tar archive; mode "w:gz", "w:xz" packs it; members: tarfile.TarInfo of links and the like."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(f"{top}/{path}" if top else path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return out.getvalue()


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return out.getvalue()
