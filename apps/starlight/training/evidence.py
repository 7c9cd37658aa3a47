"""Evidence of images and of made-up carriers, by the C code that serves the detector (starlight-evidence)."""
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import made_carriers

ROOT = Path(__file__).resolve().parents[3]
CARRIERS = 8


def names():
    """Names of the evidence, in order, from evidence.h: what the columns of every matrix here are."""
    text = (ROOT / "apps/starlight/evidence.h").read_text()
    body = re.search(r"enum sw_starlight_evidence \{(.*?)SW_STARLIGHT_EVIDENCE_COUNT", text, re.S).group(1)
    result = []
    for name in re.findall(r"^\s*SW_EVIDENCE_(\w+)", body, re.M):
        result += [f"CARRIER_{c}" for c in range(CARRIERS)] if name == "CARRIER" else [name]
    return result


def run(tool, mode, data, width):
    done = subprocess.run([tool, mode], input=data, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, width)


def of_images(tool, folder, jobs=2):
    """Rows of the manifest that decode, and their evidence (n, E, 8). Fails when one does not decode."""
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    width = 1 + len(names()) * CARRIERS
    pieces = [rows[i::jobs] for i in range(jobs)]

    def piece(part):
        paths = "".join(f"{folder / row['file']}\n" for row in part)
        return run(tool, "images", paths.encode(), width)

    with ThreadPoolExecutor(jobs) as pool:
        values = np.concatenate(list(pool.map(piece, pieces)))
    rows = [row for part in pieces for row in part]
    broken = np.flatnonzero(values[:, 0])
    if len(broken):
        raise SystemExit(f"{len(broken)} images do not decode, the first: {rows[broken[0]]['file']}")
    return rows, values[:, 1:].reshape(len(values), -1, CARRIERS)


def of_carriers(tool, records):
    return run(tool, "carriers", b"".join(map(made_carriers.encode, records)), len(names()))
