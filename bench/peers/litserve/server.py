"""LitServe with ONNX Runtime: `server.py MODELS_FOLDER PORT` answers POST /v2/models/NAME/infer for each .onnx file there.

One LitAPI a model, as LitServe has it for several models, each with two workers; two API servers. LitServe parses the JSON
in an API server and hands what it finds to a worker through a queue of its own; answers come back through ZeroMQ
(fast_queue), made with orjson in the worker.
"""
import pathlib
import sys

import litserve as ls
import numpy as np
import onnxruntime as ort
import orjson
from fastapi import HTTPException, Response

TYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32}
NAMES = {np.dtype(kind): name for name, kind in TYPES.items()}


class Model(ls.LitAPI):
    def __init__(self, path):
        super().__init__(api_path=f"/v2/models/{path.stem}/infer")
        self.path = path

    def setup(self, device):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        self.outputs = [o.name for o in self.session.get_outputs()]

    def decode_request(self, request):
        try:
            return {t["name"]: np.fromiter(t["data"], TYPES[t["datatype"]]).reshape(t["shape"]) for t in request["inputs"]}
        except (KeyError, TypeError, ValueError) as e:
            raise HTTPException(400, str(e)) from e

    def predict(self, inputs):
        return self.session.run(self.outputs, inputs)

    def encode_response(self, results):
        answer = {"model_name": self.path.stem, "model_version": "1",
                  "outputs": [{"name": n, "datatype": NAMES[r.dtype], "shape": r.shape, "data": r.reshape(-1)}
                              for n, r in zip(self.outputs, results)]}
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    models = [Model(path) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))]
    server = ls.LitServer(models, accelerator="cpu", workers_per_device=2, fast_queue=True, disable_openapi_url=True)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=2, generate_client_file=False, log_level="warning",
               access_log=False)
