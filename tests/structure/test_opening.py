#!/usr/bin/env python3
"""What others have written is opened by engine/files/regular_file.c and mapped nowhere.

    test_opening.py
"""

import glob
import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

# Files that open or map something themselves, and what.
ALLOWED = {
    "engine/files/regular_file.c": "what others have written",
    "engine/files/file_calls.c": "files and folders, to write them",
    "engine/files/atomic_file.c": "temporary files and their folder",
    "engine/tune/wisdom_file.c": "the lock on wisdom",
    "engine/machine/cgroup.c": "/proc and /sys",
    "engine/machine/job.c": "/proc",
    "engine/machine/memory_limit.c": "/proc",
    "engine/step/info.c": "/sys",
    "data/cache.c": "a file of its own, to write it",
    "data/formats/index.c": "a folder, to look at those below it",
    "engine/run/trace.c": "the trace, to write it",
    "engine/machine/memory.c": "maps memory, no file",
    "engine/tensor/ring.c": "maps memory, no file",
    "train/run_place.c": "folders and the run's lock",
    "train/run_dir.c": "the run's logs, to write them",
    "cli/cmd_predict.c": "its output, to write it",
    "cli/main.c": "/dev/null",
    "cli/config_file.c": "configurations: regular files of a bounded size",
    "cli/train_plan.c": "/dev/null",
}
CALL = re.compile(r"(?<![\w.>])(?:fopen|freopen|open|openat|open64|gzopen|mmap|json_load_file)\(")


class Opening(unittest.TestCase):
    def test_files_are_opened_in_one_place(self):
        found = set()
        for room in ("engine", "kernels", "modules", "data", "train", "comm", "cli"):
            for path in glob.glob(os.path.join(ROOT, room, "**", "*.c"), recursive=True):
                with open(path, encoding="utf-8") as f:
                    text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
                if re.search(r"^static \w.*\bopen\(", text, re.M):
                    continue  # has a function of its own of that name
                if CALL.search(text):
                    found.add(os.path.relpath(path, ROOT))
        self.assertEqual(found - set(ALLOWED), set(), "use wf_open_regular")
        self.assertEqual(set(ALLOWED) - found, set(), "need no exception")


if __name__ == "__main__":
    counted.main()
