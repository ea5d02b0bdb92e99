#!/usr/bin/env python3
"""The man pages and bash completions that weft-manual writes.

    test_manual.py FOLDER WEFT WEFT_BENCH     the folder has weft.1, weft-bench.1, weft and weft-bench

The formatters say nothing about the pages, every flag that --help shows is in both, and completion
gives what a user would want, case by case. Where they are installed, test_install.py looks.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted  # noqa: E402

FOLDER, WEFT, WEFT_BENCH = (os.path.abspath(sys.argv.pop(1)) for _ in range(3))
PROGRAMS = ("weft", "weft-bench")
FORMATTERS = {
    "man": lambda page: ["man", "--warnings", "-l", page],
    "groff": lambda page: ["groff", "-ww", "-man", "-Tutf8", "-z", page],
    "mandoc": lambda page: ["mandoc", "-T", "lint", page],
}
# Of mandoc's complaints: a page need not refer to one that is installed here.
# Newer mandocs also speak about lines of the source, which nobody reads.
HARMLESS = re.compile(r"referenced manual not found|operating system explicitly specified|"
                      r"input text line longer than")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def page(program):
    return os.path.join(FOLDER, program + ".1")


def output(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout


def plain(roff):
    """The text of a page without fonts and escapes."""
    return re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-").replace("\\(aq", "'")


def weft_commands():
    return re.findall(r"^  (\w+) ", output(WEFT, "help").split("commands:")[1], re.M)


def flags_of(text):
    """What help shows in front of the help texts: --wd, --weight-decay, -b."""
    found = set()
    for line in re.findall(r"^  (-.*)$", text, re.M):
        left = re.split(r"  +", line)[0]
        found.update(re.findall(r"(?<![\w-])--?[a-z][\w-]*", left))
    return found


def complete(program, *words, folder=None):
    """COMPREPLY with the cursor at the end of the last word."""
    script = """
        source "$1"; shift
        name=$1
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        function=$(complete -p "$name"); function=${function#*-F }; function=${function%% *}
        $function
        ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-u", "-c", script, "bash", os.path.join(FOLDER, program), program, *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          cwd=folder, check=True)
    if done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout.splitlines()


class ManPages(unittest.TestCase):
    def check_formatter(self, tool):
        if not shutil.which(tool):
            self.skipTest(f"{tool} is not installed")
        for program in PROGRAMS:
            done = subprocess.run(FORMATTERS[tool](page(program)), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=60,
                                  env=dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8"))
            said = done.stderr + (done.stdout if tool == "mandoc" else "")
            said = [line for line in said.splitlines() if not HARMLESS.search(line)]
            self.assertEqual(said, [], f"{tool} on {program}.1")

    def test_man_says_nothing(self):
        self.check_formatter("man")

    def test_groff_says_nothing(self):
        self.check_formatter("groff")

    def test_mandoc_says_nothing(self):
        self.check_formatter("mandoc")

    def test_sections(self):
        for program in PROGRAMS:
            titles = re.findall(r"^\.SH (.*)$", read(page(program)), re.M)
            for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "FLAGS", "EXIT STATUS", "ENVIRONMENT",
                          "EXAMPLES", "SEE ALSO"):
                self.assertIn(title, titles)
        self.assertIn("FILES", re.findall(r"^\.SH (.*)$", read(page("weft")), re.M))

    def test_every_flag_is_there(self):
        text = plain(read(page("weft")))
        seen = 0
        for command in weft_commands():
            self.assertRegex(text, rf"(?m)^weft {command} \[flags\]")
            for name in flags_of(output(WEFT, command, "--help")):
                seen += 1
                entries = re.findall(rf"(?m)^\.TP\n(?:[^\n]*, )?{name}(?![\w-])[^\n]*\n((?:(?!\.TP)[^\n]*\n)*)", text)
                self.assertTrue(entries, f"weft {command} {name}")
                takers = [re.search(r"\.br\n\(([^)]*)\)", e) for e in entries]
                self.assertTrue(any(t is None or command in re.split(r"[\s,]+", t[1]) for t in takers),
                                f"weft {command} {name}")
        self.assertGreater(seen, 80)
        text = plain(read(page("weft-bench")))
        for name in flags_of(output(WEFT_BENCH, "--help")):
            if not name.startswith("--benchmark_"):
                self.assertRegex(text, rf"(?m)^\.TP\n(?:[^\n]*, )?{name}(?![\w-])")

    def test_no_flag_is_made_up(self):
        known = set().union(*(flags_of(output(WEFT, c, "--help")) for c in weft_commands()))
        text = plain(read(page("weft")))
        for name in re.findall(r"(?m)^\.TP\n(?:-\w, )?(--[\w-]+)", text):
            self.assertIn(name, known)

    def test_the_environment_is_documented(self):
        listed = read(os.path.join(ROOT, "docs", "environment.md"))
        named = set()
        for program in PROGRAMS:
            section = plain(read(page(program))).split(".SH ENVIRONMENT")[1].split(".SH")[0]
            named |= set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", section))
        for name in named:
            self.assertIn(f"`{name}`", listed)
        user = listed.split("## Read by the library")[1].split("## Read by `./dev`")[0]
        for name in re.findall(r"`(WEFT_[A-Z_]+)`", user):
            self.assertIn(name, named, "weft.1 lacks it")


OPTIMIZERS = "sgd sgd_nesterov adam adamw rmsprop rmsprop_tf adagrad lamb lars lion".split()


class Completion(unittest.TestCase):
    def test_commands(self):
        self.assertEqual(complete("weft", "tr"), ["train"])
        self.assertEqual(set(complete("weft", "")),
                         {*weft_commands(), "help", "--help", "--version"})
        self.assertEqual(complete("weft", "help", "pre"), ["predict"])
        self.assertEqual(complete("weft", "nonsense", "--"), [])

    def test_every_flag_of_every_command(self):
        for command in weft_commands():
            shown = flags_of(output(WEFT, command, "--help"))
            self.assertEqual(set(complete("weft", command, "--")),
                             {name for name in shown if name.startswith("--")}, command)

    def test_a_flag_is_offered_once(self):
        self.assertIn("--lr", complete("weft", "train", "--lr"))
        self.assertNotIn("--lr", complete("weft", "train", "--lr", "0.1", "--lr"))

    def test_values(self):
        models = [m.split()[0] for m in output(WEFT, "models").splitlines()[1:] if m and m[0] != " "]
        for words, expected in (
            (("train", "--opt", ""), OPTIMIZERS),
            (("train", "--opt", "=", "sgd_"), ["sgd_nesterov"]),
            (("train", "--opt", "="), OPTIMIZERS),
            (("train", "--amp", "b"), ["bf16"]),
            (("train", "--model", "resnet5"), ["resnet50"]),
            (("train", "--model-arg", "aux_"), ["aux_logits="]),
            (("train", "--lr", ""), []),
            (("train", "-b", ""), []),
            (("models", "vgg16_"), ["vgg16_bn"]),
        ):
            with self.subTest(words=words):
                self.assertEqual(complete("weft", *words), expected)
        for name in complete("weft", "summary", "--model", ""):
            self.assertTrue(any(name == m for m in models), name)

    def test_files_and_folders(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "run of May"))
            for name in ("a file.safetensors", "other.csv"):
                with open(os.path.join(folder, name), "w", encoding="utf-8"):
                    pass
            for words, expected in (
                (("eval", "--weights", "a"), ["a file.safetensors"]),
                (("eval", "--weights", "=", "o"), ["other.csv"]),
                (("report", ""), ["run of May"]),
                (("train", "--output-dir", ""), ["run of May"]),
                # --json of eval is a file, of models nothing but a flag.
                (("eval", "--json", "o"), ["other.csv"]),
                (("models", "--json", "o"), []),
            ):
                with self.subTest(words=words):
                    self.assertEqual(complete("weft", *words, folder=folder), expected)

    def test_the_benchmark(self):
        everything = {name for name in flags_of(output(WEFT_BENCH, "--help"))
                      if name.startswith("--") and not name.startswith("--benchmark_")}
        offered = {name for mode in ((), ("--step", "alexnet"), ("--layers", "vgg16"), ("--costs", "vgg16"),
                                     ("--machine",), ("--errors",), ("--load", "x"))
                   for name in complete("weft-bench", *mode, "--")}
        self.assertEqual({name for name in offered if not name.startswith("--benchmark_")}, everything)
        self.assertEqual(complete("weft-bench", "--step", "alex"), ["alexnet"])
        self.assertEqual(complete("weft-bench", "--layers", "resnet50,alex"), ["resnet50,alexnet"])
        self.assertEqual(complete("weft-bench", "--step", "alexnet", "--dtype", ""), ["f32", "bf16"])
        self.assertNotIn("--csv", complete("weft-bench", "--step", "alexnet", "--"))
        self.assertIn("--benchmark_filter=", complete("weft-bench", "--bench"))


if __name__ == "__main__":
    counted.main()
