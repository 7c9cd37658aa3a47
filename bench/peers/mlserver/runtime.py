"""A runtime of MLServer for ONNX files, of which it has none of its own: $MODELS/NAME.onnx, one thread a run."""
import os
import pathlib

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = pathlib.Path(os.environ["MODELS"]) / f"{self.name}.onnx"
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.output_names = [o.name for o in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {i.name: self.decode(i, default_codec=NumpyCodec) for i in payload.inputs}
        results = self.session.run(self.output_names, inputs)
        outputs = [NumpyCodec.encode_output(n, r) for n, r in zip(self.output_names, results)]
        return InferenceResponse(model_name=self.name, model_version="1", outputs=outputs)
