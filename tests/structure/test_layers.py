#!/usr/bin/env python3
"""The engine's layers, by what functions call: no layer calls a function that a layer above defines.

    test_layers.py ARCHIVE

test_arrows.py asks it of includes. A declaration in a low layer of a function that a high one defines
would pass there; it does not here, but for what engine/graph/op.h offers to lowerings, which is what
that header is for.
"""

import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
sys.path.insert(0, os.path.join(ROOT, "tests", "structure"))
import counted
from test_arrows import ENGINE_MAY_INCLUDE
from test_symbols import declared_functions

# Lowerings ask the plan for tasks and buffers, and tiles report errors to the run.
OFFERED = {"engine/graph/op.h": {"engine/plan", "engine/run"}}


def layer_of(member):
    """The layer of an archive's member: engine_graph_ops_add.c.o is of engine/graph/ops."""
    for layer in sorted(ENGINE_MAY_INCLUDE, key=len, reverse=True):
        if member.startswith(layer.replace("/", "_") + "_"):
            return layer
    return None


def symbols(archive):
    """Per member of the archive: the names it defines and those it lacks."""
    out = subprocess.run(["nm", "-A", archive], check=True, stdout=subprocess.PIPE,
                         universal_newlines=True).stdout
    members = {}
    for line in out.splitlines():
        where, fields = line.rsplit(":", 1)[0], line.rsplit(":", 1)[1].split()
        member = os.path.basename(where.split(":")[-1])
        defined, undefined = members.setdefault(member, (set(), set()))
        if fields[-2] == "U":
            undefined.add(fields[-1])
        elif fields[-2] in "TDRB":
            defined.add(fields[-1])
    return members


def calls_upwards(members, offered):
    home = {name: layer_of(member) for member, (defined, _) in members.items() for name in defined}
    for member, (_, undefined) in sorted(members.items()):
        layer = layer_of(member)
        if layer is None:
            continue
        for name in sorted(undefined):
            other = home.get(name)
            if (other and other != layer and other not in ENGINE_MAY_INCLUDE[layer]
                    and other not in offered.get(name, ())):
                yield f"{member}: {layer} may not use {name} of {other}"


def offered_names():
    names = {}
    for header, layers in OFFERED.items():
        with open(os.path.join(ROOT, header), encoding="utf-8") as f:
            for name in declared_functions(f.read()):
                names.setdefault(name, set()).update(layers)
    return names


class Layers(unittest.TestCase):
    archive = None

    def test_no_layer_calls_one_above(self):
        members = symbols(self.archive)
        self.assertIn("engine/base", {layer_of(m) for m in members})
        problems = list(calls_upwards(members, offered_names()))
        self.assertEqual(problems, [])

    def test_the_offer_is_of_functions_that_exist(self):
        names = offered_names()
        self.assertIn("wf_lower_task", names)
        self.assertNotIn("wf_execute_all", names)

    def test_made_up_members(self):
        members = {"engine_base_x.c.o": ({"a"}, {"b", "malloc"}),
                   "engine_machine_x.c.o": ({"b"}, {"a"}),
                   "engine_graph_ops_x.c.o": ({"c"}, {"d"}),
                   "engine_plan_x.c.o": ({"d"}, {"c"})}
        self.assertEqual(len(list(calls_upwards(members, {}))), 2)
        self.assertEqual(len(list(calls_upwards(members, {"d": {"engine/plan"}}))), 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Layers.archive = sys.argv.pop(1)
    counted.main()
