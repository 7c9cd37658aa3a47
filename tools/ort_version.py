#!/usr/bin/python3
"""Prints the version of an ONNX Runtime library, by loading it: tools/ort_version.py LIBRARY.

Exit code 1 and the reason on standard error when it cannot be loaded or lacks version 20 of the C interface.
"""
import ctypes
import os
import sys


class ApiBase(ctypes.Structure):
    _fields_ = [("get_api", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)),
                ("get_version_string", ctypes.CFUNCTYPE(ctypes.c_char_p))]


def main():
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        library = ctypes.CDLL(os.path.abspath(sys.argv[1]))
        library.OrtGetApiBase.restype = ctypes.POINTER(ApiBase)
    except (OSError, AttributeError) as error:
        sys.exit(f"{error}")
    base = library.OrtGetApiBase().contents
    version = base.get_version_string().decode("ascii", "replace")
    if not base.get_api(20):
        sys.exit(f"version {version} has no C interface 20")
    print(version)


if __name__ == "__main__":
    main()
