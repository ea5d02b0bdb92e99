#!/usr/bin/env python3
"""What the documentation names exists: files, links, functions, commands and their flags, Notes.

    test_docs.py WEFT WEFT_BENCH

Paths stand in backticks, relative to the tree, to the page's folder or to include/; `<name>` and `*`
stand for anything. A flag behind a command is one of that command's; one alone is some command's.
docs/architecture.md also tells what is not built yet, so its flags are not looked for.
"""

import fnmatch
import functools
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

WEFT, WEFT_BENCH = sys.argv.pop(1), sys.argv.pop(1)

ROOMS = ("bench", "cli", "comm", "data", "docs", "engine", "examples", "include", "kernels",
         "modules", "tests", "tools", "train")
SOURCE = (".c", ".h", ".cc", ".def", ".py", ".build", ".map")
SCRIPTS = {"./dev compare": "bench/compare.py", "./dev convert": "tools/convert.py"}
FILE = re.compile(r"[\w<>*.-]+(?:/[\w<>*.-]+)*")
NOTE = r"Note \[([^\]]+)\]"


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def tree():
    """Every file below the rooms, and the folders that hold them."""
    paths = {name for name in os.listdir(ROOT) if os.path.isfile(os.path.join(ROOT, name))}
    for room in ROOMS:
        for folder, folders, names in os.walk(os.path.join(ROOT, room)):
            folders[:] = [name for name in folders if name != "__pycache__"]
            folder = os.path.relpath(folder, ROOT)
            paths.update([folder], (os.path.join(folder, name) for name in names))
    return paths


PATHS = tree()
PAGES = {path: read(path) for path in sorted(PATHS) if path.endswith(".md")}
CODE = {path: read(path) for path in sorted(PATHS)
        if (path.endswith(SOURCE) or path == "dev") and path != "tests/structure/test_docs.py"}
WORDS = {word for text in CODE.values() for word in re.findall(r"\w+", text)}
PUBLIC = {word for path, text in CODE.items() if path.startswith("include/")
          for word in re.findall(r"\w+", text)}


def without_fences(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def spans(text):
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", without_fences(text))


def lines_of_code(text):
    """Indented and fenced lines."""
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, flags=re.S | re.M))
    return re.findall(r"^ {4,}(.*)$", without_fences(text), re.M) + fenced.splitlines()


def exists(name, page):
    """Whether a path is one of the tree's, as somebody who reads the page would look for it."""
    pattern = re.sub(r"<[\w-]+>", "*", name).rstrip("/")
    places = ("", os.path.dirname(page), "include", "engine")
    wanted = [os.path.normpath(os.path.join(place, pattern)) for place in places]
    if "/" not in pattern:  # a file's name alone is enough where only one place can be meant
        wanted.append("*/" + pattern)
    return any(fnmatch.filter(PATHS, path) for path in wanted)


def names_a_path(word, page):
    if word.endswith((*SOURCE, ".md")) and word not in ("dnnl.h",):
        return True
    first = word.split("/")[0]
    beside = os.path.join(os.path.dirname(page), first)
    return "/" in word and (first in ROOMS or (beside in PATHS and os.path.isdir(
        os.path.join(ROOT, beside))))


@functools.lru_cache(None)
def help_of(command):
    """The help text of "weft train", "weft-bench", "./dev" or "./dev compare"; of a file, such as a
    script that has no command of its own, the text."""
    program, _, rest = command.partition(" ")
    if program in CODE and program != "dev":
        return CODE[program]
    if program == "weft-bench":
        argv = [WEFT_BENCH, "--help"]
    elif program == "weft":
        argv = [WEFT, *rest.split(), "--help"]
    elif rest:  # not by ./dev, which would build first
        argv = [sys.executable, os.path.join(ROOT, SCRIPTS[command]), "--help"]
    else:
        argv = [os.path.join(ROOT, "dev"), "help"]
    run = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         timeout=60)
    return run.stdout if run.returncode == 0 else ""


def commands():
    """The names behind "weft" and "./dev"."""
    weft = re.findall(r"^  (\w+) ", help_of("weft").split("commands:")[1], re.M)
    dev = re.findall(r"^  ([a-z-]+)\b", help_of("./dev").split("environment:")[0], re.M)
    return weft, dev


def owner(words):
    """The command whose flags these words are about, as help_of takes it; None: nothing of ours."""
    while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
        words = words[1:]
    if not words:
        return None
    if words[0] == "python3":
        words = words[1:]
    if words[0] in CODE and words[0].endswith(".py"):
        return words[0]
    program, rest = os.path.basename(words[0]), words[1:]
    verb = rest[0] if rest and re.fullmatch(r"[a-z-]+", rest[0]) else ""
    if program == "weft-bench":
        return "weft-bench"
    if program == "weft":
        return f"weft {verb}".strip()
    if words[0] != "./dev":
        return None
    if verb == "weft":
        return owner(rest)
    if verb == "bench":
        return "weft-bench"
    if verb == "train":
        return "weft train"
    return f"./dev {verb}" if f"./dev {verb}" in SCRIPTS else "./dev"


def flags(text):
    return re.findall(r"(?<![\w-])(--[a-z][\w-]*)", text)


def known(flag, command):
    text = help_of(command)
    return re.search(rf"(?<![\w-]){flag}(?![\w-])", text) is not None


class Docs(unittest.TestCase):
    def test_links_lead_somewhere(self):
        seen = 0
        for page, text in PAGES.items():
            for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
                if "://" not in link:
                    seen += 1
                    self.assertIn(os.path.normpath(os.path.join(os.path.dirname(page), link)),
                                  PATHS, page)
        self.assertGreater(seen, 0)

    def test_paths_exist(self):
        seen = 0
        for page, text in PAGES.items():
            for span in spans(text):
                for word in FILE.findall(span):
                    if names_a_path(word, page):
                        seen += 1
                        self.assertTrue(exists(word, page), f"{page}: {word}")
        self.assertGreater(seen, 100)
        self.assertFalse(exists("kernels/conv2d/none.c", "README.md"))
        self.assertTrue(names_a_path("kernels/conv2d/none.c", "README.md"))

    def test_functions_and_variables_exist(self):
        """A name that ends in _ or * stands for those that begin so."""
        seen = 0
        for page, text in PAGES.items():
            for name in re.findall(r"\b(?:weft|wf|WEFT|WF)_\w+\b(?!\.[ch]\b)", text):
                seen += 1
                pool = PUBLIC if name.startswith("weft_") and name != "weft_core" else WORDS
                found = (any(word.startswith(name) for word in pool) if name.endswith("_")
                         else name in pool or name in WORDS and name.startswith("WEFT"))
                self.assertTrue(found, f"{page}: {name}")
        self.assertGreater(seen, 200)

    def test_commands_have_the_flags_shown(self):
        weft, dev = commands()
        self.assertIn("train", weft)
        self.assertIn("torch-python", dev)
        everything = [f"weft {name}" for name in weft] + [
            "weft", "weft-bench", "./dev", "tests/shapes/shapes.h", *SCRIPTS]
        seen = 0
        for page, text in PAGES.items():
            scripts = [word for word in FILE.findall(text) if word in CODE and word.endswith(".py")]
            for line in spans(text) + lines_of_code(text):
                for part in re.split(r"[;|]|  #", line):
                    words = part.split()
                    command = owner(words)
                    if command and command.startswith(("weft ", "./dev ")):
                        verb = command.split()[1]
                        self.assertIn(verb, weft if command.startswith("weft") else dev,
                                      f"{page}: {part}")
                    for flag in flags(part) if page != "docs/architecture.md" else ():
                        if command:
                            seen += 1
                            self.assertTrue(known(flag, command), f"{page}: {part}")
                        elif words[0].startswith("--"):
                            seen += 1
                            self.assertTrue(any(known(flag, c) for c in everything + scripts),
                                            f"{page}: {part}")
        self.assertGreater(seen, 80)
        self.assertFalse(known("--epoch", "weft train"))

    def test_every_note_that_is_named_is_written(self):
        written, named = set(), {}
        for path, text in {**PAGES, **CODE}.items():
            flat = re.sub(r"\s+(?:\*\s+)?", " ", text)
            for name in re.findall(NOTE, flat):
                named.setdefault(name, path)
            if path in CODE:
                written.update(re.findall(r"^\s*(?:/?\*|#) (?:[^.\n]*\. )?" + NOTE + r"(?:[.:]|$)",
                                          text, re.M))
        self.assertGreater(len(named), 10)
        for name, path in named.items():
            self.assertIn(name, written, path)
        self.assertNotIn("None such", written)


if __name__ == "__main__":
    counted.main()
