#!/usr/bin/env python3
"""The inner loops of AVX-512 object code: what they are made of, and the pace that this allows.

    tests/avx512/inner_loops.py BUILD_DIR/kernels/libkernels_avx512.a [PART...]

A line for each innermost loop with multiply-adds, in functions (object:function) whose name contains
a PART, or in all:

    instr  instructions
    fma    multiply-adds of whole vectors
    load   vectors loaded or broadcast from memory, those of multiply-adds included
    spill  vectors stored on or loaded from the stack: registers do not suffice
    other  vector instructions of other kinds, but for copies, which take no port

and the multiply-adds per cycle as a share of what the units do: the bound of the ports (two
multiply-adds or other vector instructions a cycle, two loads, four instructions, as of Skylake-X),
and what llvm-mca makes of it for each --cpus, which knows latencies, too; of one multiply-add a
cycle where its model has one 512-bit unit. Needs objdump, and llvm-mca of LLVM 17 or later.
"""

import argparse
import re
import subprocess
import sys

VECTOR = re.compile(r"%zmm")
ONE_UNIT = {"icelake-server", "sapphirerapids", "znver4"}  # in LLVM's models


def functions(path):
    """(object:function, [(address, instruction)])."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True,
                          stdout=subprocess.PIPE).stdout.decode()
    name, code, member = None, [], ""
    for line in text.splitlines():
        file = re.match(r"(\S+):\s+file format", line)
        start = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        instruction = re.match(r"\s*([0-9a-f]+):\s+(\S.*)", line)
        if file or start:
            if code:
                yield name, code
            member = re.sub(r"\.c\.o$", "", file.group(1).split("/")[-1]) if file else member
            name, code = f"{member}:{start.group(1)}" if start else None, []
        elif instruction and name:
            code.append((int(instruction.group(1), 16),
                         instruction.group(2).split("#")[0].split("<")[0].strip()))
    if code:
        yield name, code


def jump_target(instruction):
    match = re.fullmatch(r"j[a-z]+\s+([0-9a-f]+)", instruction)
    return int(match.group(1), 16) if match else None


def innermost_loops(code):
    at = {address: i for i, (address, _) in enumerate(code)}
    loops = []
    for i, (_, instruction) in enumerate(code):
        start = at.get(jump_target(instruction))
        if start is not None and start <= i:
            loops.append((start, i))
    for start, end in loops:
        if not any((s, e) != (start, end) and s >= start and e <= end for s, e in loops):
            yield [instruction for _, instruction in code[start:end + 1]]


def count(loop):
    """(multiply-adds, loads, spills, other vector instructions)."""
    fma = load = spill = other = 0
    for instruction in loop:
        if not VECTOR.search(instruction):
            continue
        store = re.search(r"\)(\{%k\d\})?$", instruction)
        memory = "(" in instruction
        spill += "(%rsp" in instruction
        load += memory and not store
        if re.match(r"vfn?madd", instruction):
            fma += 1
        elif not memory and not instruction.startswith("vmovap"):
            other += 1
    return fma, load, spill, other


def mca_cycles(loop, cpu, tool):
    """Cycles of one turn, or None where llvm-mca does not know an instruction."""
    body = [i for i in loop if jump_target(i) is None and not i.startswith(("nop", "call"))]
    source = "loop:\n" + "\n".join(body) + "\njne loop\n"
    if cpu == "znver4":  # its model takes a broadcast load for arithmetic
        source = re.sub(r"vbroadcastss(?=.*\(.*%zmm)", "vmovups", source)
    text = subprocess.run([tool, "-mtriple=x86_64", "-mcpu=" + cpu, "-iterations=100"],
                          input=source.encode(), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout.decode()
    match = re.search(r"Total Cycles:\s+(\d+)", text)
    return int(match.group(1)) / 100 if match else None


def percent(fma, cycles, peak):
    return f"{100 * fma / (peak * cycles):.0f} %" if cycles else "?"


def main(argv):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("library")
    p.add_argument("parts", nargs="*", metavar="PART")
    p.add_argument("--mca", default="llvm-mca", metavar="PROGRAM")
    p.add_argument("--cpus", default="skylake-avx512,icelake-server,sapphirerapids,znver4")
    p.add_argument("--least", type=int, default=6, metavar="N",
                   help="multiply-adds of a loop to show")
    args = p.parse_args(argv)
    cpus = [c for c in args.cpus.split(",") if c]
    print(" | ".join(["loop", "instr", "fma", "load", "spill", "other", "ports"] + cpus))
    for name, code in functions(args.library):
        if args.parts and not any(part in name for part in args.parts):
            continue
        for loop in innermost_loops(code):
            fma, load, spill, other = count(loop)
            if fma < args.least:
                continue
            ports = max((fma + other) / 2, load / 2, (len(loop) - 1) / 4)  # compare and jump fuse
            row = [name, *map(str, (len(loop), fma, load, spill, other)), percent(fma, ports, 2)]
            row += [percent(fma, mca_cycles(loop, cpu, args.mca), 1 if cpu in ONE_UNIT else 2)
                    for cpu in cpus]
            print(" | ".join(row))


if __name__ == "__main__":
    main(sys.argv[1:])
