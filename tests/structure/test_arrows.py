#!/usr/bin/env python3
"""Who may include whom, and what may exist once only.

    test_arrows.py [SOURCE_DIR]

cli -> train -> {modules, data, comm} -> engine -> kernels: no room includes from a room to its
left, and modules, data and comm not from each other. Inside the engine each folder is a layer, which
includes from the layers below it that ENGINE_MAY_INCLUDE names (test_layers.py asks the same of what
functions call). Each rule is also tried on a made-up tree that breaks it.
"""

import os
import re
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted

# What a room may include besides itself and the public headers.
MAY_INCLUDE = {
    "include": set(),
    "kernels": set(),
    "engine": {"kernels"},
    "modules": {"engine", "kernels"},
    "data": {"engine", "kernels"},
    "comm": {"engine", "kernels"},
    "train": {"modules", "data", "comm", "engine", "kernels"},
    "cli": {"cli/parser"},  # it and the examples are users: the public headers must do
    "cli/parser": set(),  # a room of its own: the flags of weft and of weft-bench
    "examples": set(),
    "bench": {"train", "modules", "data", "comm", "engine", "kernels", "tests", "cli/parser"},
    "tools": {"cli", "bench", "cli/parser"},  # what is written from their tables of flags
    "tests": {"cli", "train", "modules", "data", "comm", "engine", "kernels", "bench",
              "cli/parser"},
}
# What a folder of the engine may include besides itself, the public headers and the kernels. From the
# ground up: a layer names only those above it in this list, so there are no circles.
ENGINE_MAY_INCLUDE = {
    "engine/base": set(),
    "engine/machine": {"engine/base"},
    "engine/files": {"engine/base", "engine/machine"},
    "engine/tune": {"engine/base", "engine/machine", "engine/files"},
    "engine/tensor": {"engine/base", "engine/machine"},
    "engine/graph": {"engine/base", "engine/machine", "engine/tensor"},
    "engine/graph/ops": {"engine/base", "engine/machine", "engine/tune", "engine/tensor",
                         "engine/graph"},
    "engine/graph/autograd": {"engine/base", "engine/machine", "engine/tensor", "engine/graph",
                              "engine/graph/ops"},
    "engine/plan": {"engine/base", "engine/machine", "engine/tune", "engine/tensor",
                    "engine/graph", "engine/graph/ops"},
    "engine/run": {"engine/base", "engine/machine", "engine/files", "engine/tensor",
                   "engine/plan"},
    "engine/step": {"engine/base", "engine/machine", "engine/files", "engine/tune",
                    "engine/tensor", "engine/graph", "engine/graph/ops", "engine/graph/autograd",
                    "engine/plan", "engine/run"},
}
# Kernels know no tensors: the one header they share takes enums from one public header.
PUBLIC_IN_KERNELS = {"kernels/types.h": "include/weft/types.h"}
# Libraries, and the folders that keep each to themselves. Tests may look underneath.
OWNED_HEADERS = {"dnnl": ("kernels/onednn/",), "hwloc": ("engine/machine/",),
                 "benchmark": ("bench/",), "png": ("train/report/", "data/picture/"),
                 "jpeglib": ("data/picture/", "train/report/", "bench/"),
                 "webp": ("data/picture/",), "tiffio": ("data/picture/",),
                 "libexif": ("data/picture/",)}

SOURCE = (".c", ".h", ".cc", ".cpp", ".cxx", ".def", ".inc")
CXX = (".cc", ".cpp", ".cxx", ".hpp")
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]", re.M)
COMMENT = re.compile(
    r"""(?P<keep>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|/\*.*?\*/|//[^\n]*""", re.S)


def without_comments(text):
    """Comments become blanks; what looks like one inside a string stays."""
    return COMMENT.sub(lambda m: m["keep"] or re.sub(r"[^\n]", " ", m.group()), text)


class Tree:
    """The sources of a folder: their text and what they include."""

    def __init__(self, root):
        self.root = root
        self.text = {}
        for room in sorted({room.split("/")[0] for room in MAY_INCLUDE}):
            for folder, _, names in os.walk(os.path.join(root, room)):
                for name in sorted(names):
                    if name.endswith(SOURCE + CXX):
                        path = os.path.join(folder, name)
                        with open(path, encoding="utf-8") as f:
                            self.text[os.path.relpath(path, root)] = without_comments(f.read())
        self.includes = {p: INCLUDE.findall(text) for p, text in self.text.items()}

    def resolve(self, path, name):
        """The file that a quoted include means, relative to the tree, or None. Meson makes X of X.in."""
        for base in (os.path.dirname(path), "", "include", "tests"):
            candidate = os.path.normpath(os.path.join(base, name))
            if any(os.path.exists(os.path.join(self.root, candidate + end)) for end in ("", ".in")):
                return candidate
        return None


def room_of(path):
    """The first folder, or where it is a room of its own, the first two."""
    room, _, rest = path.partition("/")
    inner = f"{room}/{rest.partition('/')[0]}"
    return inner if inner in MAY_INCLUDE else room


def check_arrows(tree):
    for path, includes in tree.includes.items():
        room = room_of(path)
        for quote, name in includes:
            target = tree.resolve(path, name)
            if target is None:
                if quote == '"':
                    yield f"{path} includes {name}, which is not in the tree"
                continue
            other = room_of(target)
            if other == "include":
                if room == "kernels" and PUBLIC_IN_KERNELS.get(path) != target:
                    yield f"{path} includes {name}: in kernels only {PUBLIC_IN_KERNELS} may"
            elif other != room and other not in MAY_INCLUDE[room]:
                yield f"{path}: {room} may not include {name}"


def check_engine_layers(tree):
    for path, includes in tree.includes.items():
        folder = os.path.dirname(path)
        if room_of(path) != "engine":
            continue
        if folder not in ENGINE_MAY_INCLUDE:
            yield f"{path}: ENGINE_MAY_INCLUDE has no layer {folder}"
            continue
        for _, name in includes:
            target = tree.resolve(path, name) or ""
            other = os.path.dirname(target)
            if (room_of(target) == "engine" and other != folder
                    and other not in ENGINE_MAY_INCLUDE[folder]):
                yield f"{path}: {folder} may not include {name}"


def check_conv2d_folders(tree):
    """Each kernel of kernels/conv2d keeps to its folder: none includes from another's."""
    kernel = re.compile(r"kernels/conv2d/(\w+)/")
    for path, includes in tree.includes.items():
        for quote, name in includes:
            target = kernel.match(tree.resolve(path, name) or "")
            own = kernel.match(path)
            if target and room_of(path) == "kernels" and not (own and own[1] == target[1]):
                yield f"{path}: only kernels/conv2d/{target[1]} may include {name}"


def check_owned_headers(tree):
    """Directly, or through a header of ours."""

    def reaches(path, library, seen):
        for quote, name in tree.includes.get(path, ()):
            if re.split(r"[._/]", name.removeprefix("oneapi/"))[0] == library and quote == "<":
                return True
            target = tree.resolve(path, name)
            if target and target not in seen:
                seen.add(target)
                if reaches(target, library, seen):
                    return True
        return False

    for path in tree.includes:
        for library, owners in OWNED_HEADERS.items():
            if not path.startswith((*owners, "tests/")) and reaches(path, library, {path}):
                yield f"{path}: only {' and '.join(owners)} may see {library}'s headers"


# Rooms whose files form no circle. The engine's folders have rules of their own.
NO_CIRCLES = ("bench", "cli", "comm", "data", "engine/tune", "modules", "tools", "train")
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
# A function with a name in other files, at its definition: "weft_tensor *weft_add(...) {".
FUNCTION = re.compile(r"^(?!static\b|typedef\b)[a-z_][\w \t*]*?[ *](\w+)\([^;{}]*\)\s*\{", re.M)


def circles(edges):
    """The strongly connected parts of more than one node, each sorted. {node: nodes it points to}"""
    order, lowest, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in order:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return found


def check_circles(tree):
    """No circle of files, and none of folders. A source and the header of its name are one. A file
    points to those it includes and to those whose functions it names: without the latter, two
    files that call each other by a header of a third would be no circle."""
    files = [path for path in tree.text if path.startswith(tuple(f"{f}/" for f in NO_CIRCLES))]
    defined = {}
    for path in files:
        if path.endswith((".c", *CXX)):
            defined.update((name, path) for name in FUNCTION.findall(tree.text[path])
                           if name != "main")
    between_files, between_folders = {}, {}

    def point(path, target):
        one, other = os.path.splitext(path)[0], os.path.splitext(target)[0]
        if one != other:
            between_files.setdefault(one, set()).add(other)
        if os.path.dirname(one) != os.path.dirname(other):
            between_folders.setdefault(os.path.dirname(one), set()).add(os.path.dirname(other))

    for path in files:
        for _, name in tree.includes[path]:
            target = tree.resolve(path, name)
            if target in tree.text:
                point(path, target)
        if path.endswith((".c", *CXX)):
            for word in set(re.findall(r"\w+", STRING.sub("", tree.text[path]))):
                if word in defined:
                    point(path, defined[word])
    for edges, what in ((between_files, "files"), (between_folders, "folders")):
        for part in circles(edges):
            yield f"a circle of {what}: {', '.join(part)}"


def check_cxx(tree):
    cxx = [path for path in tree.text if path.endswith(CXX)]
    for path in cxx:
        if room_of(path) != "bench":
            yield f"{path}: C++ outside of bench"
    if len(cxx) > 1:
        yield "more than one C++ file: " + ", ".join(cxx)


def ops_from_rows(tree, path):
    """Ops that a macro defines for every row of a list: wf_op_##f and the names in the .def files
    that the file includes."""
    text = tree.text[path]
    suffixes = re.findall(r"\bconst\s+wf_op\s+wf_op_##\w+?(?:##(\w+))?\s*=", text)
    rows = []
    for name in {name for _, name in tree.includes.get(path, ()) if suffixes}:
        if name.endswith(".def"):
            target = tree.text.get(tree.resolve(path, name), "")
            rows += re.findall(r"^\s*WF_\w+\((\w+)", target, re.M)
    return [row + suffix for row in rows for suffix in suffixes]


def check_ops(tree):
    ops_def = "engine/graph/ops/ops.def"
    listed = re.findall(r"\bWF_OP\((\w+)\)", tree.text.get(ops_def, ""))
    for name in sorted(set(listed)):
        if listed.count(name) > 1:
            yield f"{ops_def} lists {name} {listed.count(name)} times"
    defined = {}
    for path, text in tree.text.items():
        if room_of(path) in ("tests", "bench"):
            continue
        names = re.findall(r"^const\s+wf_op\s+wf_op_(\w+)\s*=", text, re.M)
        from_rows = ops_from_rows(tree, path)
        names += from_rows
        stem = os.path.splitext(os.path.basename(path))[0]
        # A file with a header of its name is what several ops share.
        shared = os.path.splitext(path)[0] + ".h" in tree.text and not names
        in_ops = path.startswith("engine/graph/ops/") and path.endswith(".c")
        if in_ops and not shared and not from_rows and not any(n.startswith(stem) for n in names):
            yield f"{path} defines no op called {stem}"
        for name in names:
            if name in defined:
                yield f"{path} and {defined[name]} both define op {name}"
            defined[name] = path
            if name not in listed:
                yield f"{path}: op {name} is not in {ops_def}"
    for name in sorted(set(listed) - set(defined)):
        yield f"{ops_def} lists {name}, which no file defines"


def check_readmes(tree):
    """Each folder opens with a README: what it owns, what it may use."""
    folders = {os.path.dirname(p) for p in tree.text if room_of(p) not in ("include", "tests")}
    for folder in sorted(folders):
        if not os.path.exists(os.path.join(tree.root, folder, "README.md")):
            yield f"{folder} has no README.md"


class TheTree(unittest.TestCase):
    root = ROOT

    @classmethod
    def setUpClass(cls):
        cls.tree = Tree(cls.root)

    def expect_none(self, check):
        problems = list(check(self.tree))
        if problems:
            self.fail("\n  " + "\n  ".join(problems))

    def test_the_tree_was_found(self):
        self.assertIn("kernels/types.h", self.tree.text)
        self.assertIn(("\"", "kernels/types.h"), self.tree.includes["kernels/cpu.c"])

    def test_arrows_point_right(self):
        self.expect_none(check_arrows)

    def test_the_engines_layers_lean_one_way(self):
        self.expect_none(check_engine_layers)

    def test_the_table_of_layers_has_no_circles(self):
        below = set()
        for layer, may in ENGINE_MAY_INCLUDE.items():
            self.assertLessEqual(may, below, layer)
            below.add(layer)

    def test_conv2d_kernels_stay_in_their_folders(self):
        self.expect_none(check_conv2d_folders)

    def test_libraries_stay_in_their_rooms(self):
        self.expect_none(check_owned_headers)

    def test_no_circles_outside_the_engine(self):
        self.expect_none(check_circles)
        functions = FUNCTION.findall(self.tree.text["train/trainer.c"])
        self.assertIn("weft_train", functions)

    def test_one_cxx_file(self):
        self.expect_none(check_cxx)

    def test_ops_are_listed_once(self):
        self.expect_none(check_ops)

    def test_folders_have_readmes(self):
        self.expect_none(check_readmes)


class MadeUpTrees(unittest.TestCase):
    """Each rule finds what breaks it, and nothing else."""

    def problems(self, check, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            return list(check(Tree(root)))

    def test_arrows(self):
        headers = {"engine/e.h": "", "kernels/k.h": "", "data/d.h": "", "modules/m.h": "",
                   "train/t.h": "", "include/weft/w.h": "", "include/weft/types.h": "",
                   "cli/c.h": "", "cli/parser/p.h": ""}
        for path, text, bad in (
            ("kernels/x.c", '#include "engine/e.h"', 1),
            ("kernels/x.c", '#include "weft/w.h"', 1),
            ("kernels/x.c", '#include "../engine/e.h"', 1),
            ("kernels/x.c", ' # include  <engine/e.h>', 1),
            ("kernels/types.h", '#include "weft/w.h"', 1),
            ("kernels/types.h", '#include "weft/types.h"', 0),
            ("kernels/x.c", '#include "weft/types.h"', 1),
            ("engine/x.c", '#include "modules/m.h"', 1),
            ("engine/x.c", '#include "kernels/k.h"\n#include "e.h"\n#include "weft/w.h"', 0),
            ("engine/x.c", '/* #include "modules/m.h" */\n// #include "modules/m.h"\n', 0),
            ("engine/x.c", 'char *glob = "a/*.h";\n#include "modules/m.h"\n/**/', 1),
            ("engine/x.c", '#include "no/such.h"', 1),
            ("engine/x.c", '#include <no/such.h>', 0),
            ("modules/x.c", '#include "data/d.h"', 1),
            ("train/x.c", '#include "data/d.h"\n#include "modules/m.h"', 0),
            ("train/x.c", '#include "cli/c.h"', 1),
            ("cli/x.c", '#include "train/t.h"', 1),
            ("cli/x.c", '#include "c.h"\n#include <weft/w.h>', 0),
            ("cli/x.c", '#include "parser/p.h"', 0),
            ("cli/parser/x.c", '#include "p.h"\n#include <weft/w.h>', 0),
            ("cli/parser/x.c", '#include "../c.h"', 1),
            ("cli/parser/x.c", '#include "engine/e.h"', 1),
            ("bench/x.c", '#include "cli/parser/p.h"', 0),
            ("bench/x.c", '#include "cli/c.h"', 1),
            ("train/x.c", '#include "cli/parser/p.h"', 1),
            ("examples/x.c", '#include "engine/e.h"', 1),
            ("include/weft/x.h", '#include "kernels/k.h"', 1),
            ("tests/x.c", '#include "cli/c.h"\n#include "engine/e.h"', 0),
        ):
            with self.subTest(path=path, text=text):
                self.assertEqual(len(self.problems(check_arrows, {**headers, path: text})), bad)

    def test_engine_layers(self):
        """An include of a layer above turns the check red in every folder."""
        layers = list(ENGINE_MAY_INCLUDE)
        headers = {layer + "/h.h": "" for layer in layers}
        for layer in layers:
            for other in layers:
                good = other == layer or other in ENGINE_MAY_INCLUDE[layer]
                files = {**headers, layer + "/x.c": f'#include "{other}/h.h"'}
                with self.subTest(layer=layer, other=other):
                    self.assertEqual(len(self.problems(check_engine_layers, files)), not good)
        self.assertEqual(len(self.problems(check_engine_layers, {"engine/new/x.c": ""})), 1)
        self.assertEqual(self.problems(check_engine_layers, {
            "kernels/k.h": "", "engine/base/x.c": '#include "kernels/k.h"'}), [])

    def test_conv2d_folders(self):
        headers = {"kernels/conv2d/conv2d.h": "", "kernels/conv2d/a/a.h": "",
                   "kernels/conv2d/b/b.h": ""}
        for path, text, bad in (
            ("kernels/conv2d/a/x.c", '#include "kernels/conv2d/a/a.h"', 0),
            ("kernels/conv2d/a/x.c", '#include "kernels/conv2d/conv2d.h"', 0),
            ("kernels/conv2d/a/x.c", '#include "kernels/conv2d/b/b.h"', 1),
            ("kernels/conv2d/x.c", '#include "a/a.h"', 1),
            ("tests/x.c", '#include "kernels/conv2d/a/a.h"', 0),
        ):
            with self.subTest(path=path, text=text):
                self.assertEqual(
                    len(self.problems(check_conv2d_folders, {**headers, path: text})), bad)

    def test_owned_headers(self):
        for files, bad in (
            ({"kernels/onednn/x.c": "#include <dnnl.h>"}, 0),
            ({"tests/x.c": "#include <dnnl.h>"}, 0),
            ({"engine/x.c": "#include <dnnl.h>"}, 1),
            ({"engine/x.c": "#include <oneapi/dnnl/dnnl.h>"}, 1),
            ({"engine/x.c": "#include <dnnl_types.h>"}, 1),
            ({"engine/base/x.c": "#include <hwloc/bitmap.h>"}, 1),
            ({"kernels/onednn/o.h": "#include <dnnl.h>",
              "engine/x.c": '#include "kernels/onednn/o.h"'}, 1),
        ):
            with self.subTest(files=files):
                self.assertEqual(len(self.problems(check_owned_headers, files)), bad)

    def test_circles(self):
        call = "int {}(void)\n{{\n    return {}();\n}}\n".format
        head = "int {}(void);\n".format
        for files, bad in (
            ({"data/a.h": '#include "data/b.h"', "data/b.h": '#include "data/a.h"'}, 1),
            ({"data/a.h": '#include "data/b.h"', "data/b.h": "",
              "data/b.c": '#include "data/a.h"'}, 1),
            ({"data/a.h": '#include "data/b.h"', "data/b.h": "", "data/a.c": '#include "a.h"'}, 0),
            # By functions that a third declares.
            ({"cli/s.h": "", "cli/a.c": call("a", "b"), "cli/b.c": call("b", "a")}, 1),
            ({"cli/s.h": "", "cli/a.c": call("a", "b"), "cli/b.c": call("b", "c"),
              "cli/c.c": call("c", "b")}, 1),
            ({"cli/s.h": head("a") + head("b"), "cli/a.c": call("a", "b"),
              "cli/b.c": call("b", "putchar")}, 0),
            ({"cli/a.c": call("a", "b"), "cli/b.c": 'char *b(void)\n{\n    return "a";\n}\n'}, 0),
            ({"cli/a.c": call("a", "b"), "cli/b.c": "static " + call("a", "b") + call("b", "a")}, 1),
            # Folders, whose files have none.
            ({"train/a.c": '#include "train/r/b.h"', "train/r/b.h": "",
              "train/r/c.c": '#include "train/d.h"', "train/d.h": ""}, 1),
            ({"train/a.c": '#include "train/r/b.h"', "train/r/b.h": ""}, 0),
        ):
            with self.subTest(files=files):
                self.assertEqual(len(self.problems(check_circles, files)), bad)

    def test_cxx(self):
        self.assertEqual(self.problems(check_cxx, {"bench/a.cc": ""}), [])
        self.assertEqual(len(self.problems(check_cxx, {"engine/a.cpp": ""})), 1)
        self.assertEqual(len(self.problems(check_cxx, {"bench/a.cc": "", "bench/b.cc": ""})), 1)

    def test_ops(self):
        ops = "engine/graph/ops/"
        define = "const wf_op wf_op_{} = {{0}};\n".format
        for files, bad in (
            ({"ops.def": "WF_OP(add)", "add.c": define("add")}, 0),
            ({"ops.def": "WF_OP(conv)\nWF_OP(conv_data)",
              "conv.c": define("conv") + define("conv_data")}, 0),
            ({"ops.def": "WF_OP(add)\nWF_OP(add)", "add.c": define("add")}, 1),
            ({"ops.def": "/* WF_OP(add) */", "add.c": define("add")}, 1),
            ({"ops.def": "WF_OP(add)"}, 1),
            ({"ops.def": "WF_OP(add)", "sum.c": define("add")}, 1),
            ({"ops.def": "WF_OP(add)", "add.c": define("add"), "common.c": ""}, 1),
            ({"ops.def": "WF_OP(add)", "add.c": define("add"), "common.c": "", "common.h": ""}, 0),
            ({"ops.def": "WF_OP(add)", "add.c": define("add"), "a.c": define("add")}, 1),
        ):
            with self.subTest(files=files):
                tree = {ops + name: text for name, text in files.items()}
                self.assertEqual(len(self.problems(check_ops, tree)), bad)

    def test_readmes(self):
        self.assertEqual(len(self.problems(check_readmes, {"engine/x/a.c": ""})), 1)
        self.assertEqual(self.problems(check_readmes, {"engine/a.c": "", "engine/README.md": ""}),
                         [])


if __name__ == "__main__":
    if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
        TheTree.root = os.path.abspath(sys.argv.pop(1))
    counted.main()
