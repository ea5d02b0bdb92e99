#!/usr/bin/env python3
"""Each public header compiles alone, twice over, as C17 and as C++17, without a warning.

    test_headers.py CC CXX      each may hold several words: "ccache gcc"
"""

import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted

INCLUDE = os.path.join(ROOT, "include")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def public_headers():
    return sorted(os.path.basename(p) for p in glob.glob(os.path.join(INCLUDE, "weft", "*.h")))


def compile_text(compiler, language, text, *options):
    """What the compiler complains about, "" if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "one.c" if language == "c" else "one.cc")
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        command = shlex.split(compiler) + [
            "-std=c17" if language == "c" else "-std=c++17", *WARNINGS, *options, "-fsyntax-only",
            "-I", INCLUDE, source]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, check=False)
    return "" if done.returncode == 0 else done.stdout or f"exit status {done.returncode}"


def options_structs():
    """The structs of options that the headers define."""
    found = []
    for header in public_headers():
        with open(os.path.join(INCLUDE, "weft", header), encoding="utf-8") as f:
            found += re.findall(r"^\} (weft_(?:\w+_opts|options));$", f.read(), re.M)
    return sorted(found)


# What a C user writes, for both languages. C++ casts what weft_module_create returns.
MACROS = """
#include <weft/weft.h>

WEFT_MODULE(net, "Net", weft_module *fc, *bn; weft_tensor *gain, *count;)

static void net_init(net *self, const void *args)
{
    (void)args;
    weft_context *ctx = self->base.ctx;
    WEFT_REGISTER_MODULE(self, fc, weft_linear_create(ctx, 10, 5, NULL));
    WEFT_REGISTER_MODULE(self, bn, WEFT_SEQUENTIAL(ctx, weft_relu_create(ctx)));
    WEFT_REGISTER_PARAMETER(self, gain, weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(5, 1, 1), 1));
    WEFT_REGISTER_BUFFER(self, count, weft_tensor_full(ctx, WEFT_I64, WEFT_SCALAR, 0), true);
}

static weft_tensor *net_forward(net *self, weft_tensor *x)
{
    x = weft_sum(weft_call(self->fc, x), WEFT_DIMS(-1, 1), false);
    return weft_mean(weft_permute(x, WEFT_DIMS(1, 0)), WEFT_ALL_DIMS, false);
}

weft_module *make(weft_context *ctx);
weft_module *make(weft_context *ctx)
{
    return (weft_module *)weft_module_create(ctx, &net_class, NULL);
}
"""

# Members that stand before, between and after those that the macro sets.
MORE_MEMBERS = """
#include <weft/weft.h>
typedef struct net { weft_module base; } net;
static void show(const weft_module *m, char *text, size_t size);
WEFT_MODULE_CLASS(net, "Net", .version = 2, .extra_repr = show, .aux_loss_weight = 0.5)
static void show(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "%d", m->cls->version);
}
static void net_init(net *self, const void *args)
{
    (void)self;
    (void)args;
}
static weft_tensor *net_forward(net *self, weft_tensor *x)
{
    return self->base.training ? x : NULL;
}
const weft_module_class *get(void);
const weft_module_class *get(void)
{
    return &net_class;
}
"""


def initialisers():
    """A line of C for each WEFT_..._INIT: it begins a variable of the type of its name."""
    lines = []
    for header in public_headers():
        with open(os.path.join(INCLUDE, "weft", header), encoding="utf-8") as f:
            for name in re.findall(r"#define WEFT_(\w+)_INIT\b(?!\()", f.read()):
                lines.append(f"weft_{name.lower()} a_{name.lower()} = WEFT_{name}_INIT;")
    return lines


class Headers(unittest.TestCase):
    cc = "cc"
    cxx = "c++"

    def compile_each(self, compiler, language):
        for header in public_headers():
            with self.subTest(header=header):
                line = f'#include "weft/{header}"\n'
                self.assertEqual(compile_text(compiler, language, line + line), "")

    def test_each_compiles_as_c(self):
        self.compile_each(self.cc, "c")

    def test_each_compiles_as_cxx(self):
        self.compile_each(self.cxx, "c++")

    def test_what_the_macros_make_compiles_as_both(self):
        # Further members of a class are designators, which C++ has from C++20 on.
        begun = "\n#include <weft/weft.h>\n" + "\n".join(initialisers()) + "\n"
        self.assertGreater(len(initialisers()), 30)
        self.assertEqual(compile_text(self.cc, "c", MACROS + begun), "")
        self.assertEqual(compile_text(self.cc, "c", MORE_MEMBERS), "")
        self.assertEqual(compile_text(self.cxx, "c++", MACROS + begun, "-std=c++11"), "")
        self.assertEqual(compile_text(self.cxx, "c++", MACROS + begun, "-std=c++20"), "")
        self.assertEqual(compile_text(self.cxx, "c++", MORE_MEMBERS, "-std=c++20"), "")

    def test_every_struct_of_options_has_its_initialiser(self):
        structs = options_structs()
        self.assertGreater(len(structs), 30)
        begun = {line.split()[0] for line in initialisers()}
        self.assertEqual([s for s in structs if s not in begun], [])

    def test_a_bad_header_would_be_noticed(self):
        self.assertNotEqual(compile_text(self.cc, "c", "static int unused(int x) {}\n"), "")
        self.assertNotEqual(compile_text(self.cxx, "c++", "int *p = (void *)0;\n"), "")
        self.assertNotEqual(compile_text(self.cc, "c", '#include "weft/no_such.h"\n'), "")

    def test_all_are_installed(self):
        with open(os.path.join(INCLUDE, "meson.build"), encoding="utf-8") as f:
            self.assertEqual(sorted(re.findall(r"'weft/(\w+\.h)'", f.read())), public_headers())

    def test_weft_h_includes_all(self):
        with open(os.path.join(INCLUDE, "weft", "weft.h"), encoding="utf-8") as f:
            included = re.findall(r'#include "weft/(\w+\.h)"', f.read())
        self.assertEqual(sorted(included + ["weft.h"]), public_headers())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    Headers.cc = sys.argv.pop(1)
    Headers.cxx = sys.argv.pop(1)
    counted.main()
