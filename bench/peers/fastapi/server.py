"""FastAPI with ONNX Runtime: `server.py MODELS_FOLDER PORT` answers POST /v2/models/NAME/infer for each .onnx file there.

Two uvicorn workers (uvloop, httptools), one thread a run. The body is read with orjson and not through a pydantic model,
and the run is made in the event loop: with a small model, both a pydantic model and a thread for each request (`def`
instead of `async def`) are slower, and with two workers on two cores there is nothing to gain by a thread.
"""
import os
import pathlib
import sys

import numpy as np
import onnxruntime as ort
import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response

TYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32}
NAMES = {np.dtype(kind): name for name, kind in TYPES.items()}


def load(folder):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return {path.stem: ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for path in sorted(pathlib.Path(folder).glob("*.onnx"))}


app = FastAPI(openapi_url=None)
sessions = load(os.environ["MODELS"]) if "MODELS" in os.environ else {}
outputs = {name: [o.name for o in session.get_outputs()] for name, session in sessions.items()}


@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request):
    session = sessions.get(name)
    if session is None:
        raise HTTPException(404, f"no model {name}")
    try:
        body = orjson.loads(await request.body())
        inputs = {t["name"]: np.fromiter(t["data"], TYPES[t["datatype"]]).reshape(t["shape"]) for t in body["inputs"]}
        results = session.run(outputs[name], inputs)
    except (KeyError, TypeError, ValueError, ort.capi.onnxruntime_pybind11_state.InvalidArgument) as e:
        raise HTTPException(400, str(e)) from e
    answer = {"model_name": name, "model_version": "1",
              "outputs": [{"name": n, "datatype": NAMES[r.dtype], "shape": r.shape, "data": r.reshape(-1)}
                          for n, r in zip(outputs[name], results)]}
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    os.environ["MODELS"] = sys.argv[1]
    uvicorn.run("server:app", host="127.0.0.1", port=int(sys.argv[2]), workers=2, loop="uvloop", http="httptools",
                access_log=False, log_level="warning")
