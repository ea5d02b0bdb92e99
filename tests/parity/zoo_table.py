#!/usr/bin/env python3
"""Writes test_zoo.py's figures into docs/parity.md, between its two marks.

    zoo_table.py FIGURES.json docs/parity.md
"""

import json
import sys

BEGIN, END = "<!-- figures: zoo_table.py -->\n", "<!-- /figures -->\n"
WHATS = ("eval", "train", "gradients", "losses", "statistics")
TITLES = ("logits, evaluation", "logits, training", "gradients", "losses", "statistics")


def row(*cells):
    return "| " + " | ".join(cells) + " |\n"


def table(first, results, cell):
    head = row(*first, *TITLES) + "|---" * len(first) + "|--:" * len(TITLES) + "|\n"
    return head + "".join(cell(r) for r in results)


def short(error):
    return f"{error:.0e}" if error else "0"


def both(result, what):
    """Weft's error and PyTorch's own. Where there is no BatchNorm there are no statistics."""
    ours, theirs = result["weft_f32"][what], result["torch_f32"][what]
    return f"{short(ours)} ({short(theirs)})" if ours or theirs else "-"


def name(result):
    return f"`{result['model']}`" + (" with its auxiliary heads" if result.get("aux") else "")


def images(result):
    return "{batch}x{size}x{size}".format(**result)


def float_row(result):
    return row(name(result), images(result), str(result["steps"]),
               *(both(result, what) for what in WHATS))


def double_row(result):
    return row(name(result), images(result), str(result["steps"]),
               *(short(result["weft_f64"][what]) for what in WHATS))


def figures(results):
    done = [r for r in results if "weft_f32" in r]
    steps = [r for r in done if r["steps"] > 1]
    own = [r for r in done if r["steps"] == 1]
    double = [r for r in steps if "weft_f64" in r]
    first = ("model", "images", "steps")

    def models(rows):
        return len({r["model"] for r in rows})

    return (f"\nSeveral steps on small images, {models(steps)} models:\n\n"
            + table(first, steps, float_row)
            + f"\nOne step on images of the model's own size, {models(own)} models:\n\n"
            + table(first, own, float_row)
            + f"\nIn double, Weft's reference kernels, {models(double)} models:\n\n"
            + table(first, double, double_row) + "\n")


def main():
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        results = sorted(json.load(f), key=lambda r: (r["model"], r["size"]))
    with open(target, encoding="utf-8") as f:
        before, rest = f.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(target, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + figures(results) + END + after)


if __name__ == "__main__":
    main()
