#!/usr/bin/env python3
"""`meson install` into a folder of its own: a program that knows only pkg-config builds and runs.

    test_install.py BUILD_DIR CC      CC may hold several words: "ccache gcc"
"""

import glob
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import counted

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command, **kwargs):
    """stdout; what went wrong is in the exception's text."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, check=False, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{shlex.join(command)}: exit status {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


class Install(unittest.TestCase):
    build_dir = None
    cc = "cc"

    @classmethod
    def setUpClass(cls):
        cls.dest = tempfile.mkdtemp(prefix="weft-install-")
        cls.addClassCleanup(shutil.rmtree, cls.dest)
        run(["meson", "install", "-C", cls.build_dir, "--no-rebuild", "--destdir", cls.dest])
        options = {o["name"]: o["value"] for o in json.loads(
            run(["meson", "introspect", "--buildoptions", cls.build_dir]))}
        cls.prefix = cls.dest + options["prefix"]
        cls.libdir = os.path.join(cls.prefix, options["libdir"])
        cls.sanitized = options.get("b_sanitize", "none") not in ("none", [])

    def pkg_config(self, *args):
        # The prefix is that of the machine it is made for; --define-variable moves it.
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(self.libdir, "pkgconfig"))
        return shlex.split(run(["pkg-config", f"--define-variable=prefix={self.prefix}", *args,
                                "weft"], env=env))

    def test_a_program_builds_and_runs(self):
        if self.sanitized:
            self.skipTest("a program without the sanitizer cannot load a library with it")
        program = os.path.join(self.dest, "user")
        flags = self.pkg_config("--cflags", "--libs")
        run([*shlex.split(self.cc), "-std=c17", "-Wall", "-Wextra", "-Werror",
             os.path.join(HERE, "user.c"), "-o", program, *flags])
        output = run([program], env=dict(os.environ, LD_LIBRARY_PATH=self.libdir))
        version = self.pkg_config("--modversion")[0]
        self.assertEqual(output, f"weft {version}, 2 threads, sum 5\n")

    def test_users_link_weft_alone(self):
        """What the library itself needs is no user's business."""
        libs = [flag for flag in self.pkg_config("--libs") if flag.startswith("-l")]
        self.assertEqual(libs, ["-lweft"])

    def test_all_headers_are_there(self):
        def names(folder):
            return sorted(os.path.basename(p) for p in glob.glob(os.path.join(folder, "*.h")))

        self.assertEqual(names(os.path.join(self.prefix, "include", "weft")),
                         names(os.path.join(ROOT, "include", "weft")))

    def test_nothing_internal_is_installed(self):
        found = [os.path.relpath(os.path.join(folder, name), self.prefix)
                 for folder, _, names in os.walk(self.prefix) for name in names]
        allowed = ("include/weft/", "bin/weft", "share/",
                   os.path.relpath(self.libdir, self.prefix) + "/libweft.so",
                   os.path.relpath(self.libdir, self.prefix) + "/pkgconfig/weft.pc",
                   os.path.relpath(self.libdir, self.prefix) + "/weft/")
        self.assertEqual([p for p in found if not p.startswith(allowed)], [])

    def test_the_command_runs(self):
        command = os.path.join(self.prefix, "bin", "weft")
        self.assertTrue(os.path.exists(command), "bin/weft is not installed")
        output = run([command, "--help"], env=dict(os.environ, LD_LIBRARY_PATH=self.libdir))
        self.assertIn("weft", output)

    def test_the_benchmark_runs(self):
        command = os.path.join(self.prefix, "bin", "weft-bench")
        self.assertTrue(os.path.exists(command), "bin/weft-bench is not installed")
        self.assertIn("weft-bench", run([command, "--help"]))


    def test_manuals_and_completion_are_where_debian_looks(self):
        for path in ("share/man/man1/weft.1", "share/man/man1/weft-bench.1",
                     "share/bash-completion/completions/weft",
                     "share/bash-completion/completions/weft-bench"):
            with open(os.path.join(self.prefix, path), encoding="utf-8") as f:
                self.assertIn("Written by weft-manual" if path.endswith(".1") else "complete -F",
                              f.read(), path)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    Install.build_dir = sys.argv.pop(1)
    Install.cc = sys.argv.pop(1)
    counted.main()
