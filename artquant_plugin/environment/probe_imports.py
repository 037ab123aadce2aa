"""A program that imports the modules named as its arguments, and prints for each a line of JSON: whether it failed."""

import importlib
import json
import os
import sys
import time

if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # stdout is for the answer, so what the modules print at import goes to stderr
    for name in sys.argv[1:]:
        started = time.perf_counter()
        result: dict[str, object] = {"module": name, "kind": None, "text": ""}
        try:
            importlib.import_module(name)
        except (
            BaseException
        ) as error:  # SystemExit, too: some packages end the process where they do not suit the machine
            result |= {"kind": type(error).__name__, "text": str(error)}
        result["seconds"] = round(time.perf_counter() - started, 1)
        answer.write(json.dumps(result) + "\n")
    answer.close()
    os._exit(0)  # large libraries take time to shut down, and nothing is left to do
