"""Program of a process of its own: import modules one after the other, and print as JSON how each one went."""

import importlib
import json
import os
import sys
import time

if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the modules print at import goes to stderr
    for name in sys.argv[1:]:
        started = time.perf_counter()
        result: dict[str, object] = {"module": name, "kind": None, "text": ""}
        try:
            importlib.import_module(name)
        except BaseException as error:  # SystemExit, too: some packages end the process where they do not suit
            result |= {"kind": type(error).__name__, "text": str(error)}
        result["seconds"] = round(time.perf_counter() - started, 1)
        answer.write(json.dumps(result) + "\n")
    answer.close()
    os._exit(0)  # nothing is left to do, and the ends of large libraries take time
