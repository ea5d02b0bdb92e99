#!/usr/bin/env python3
"""Weights files and the `weft` command: what does not fit, what is refused, fine-tuning.

    test_weights.py WEFT [NAME...]
"""

import array
import json
import math
import os
import struct
import sys

import weft_command
from weft_command import done, read_tensors, refused, tensors_bytes, weft, write

TEN = ["--data-path", "synthetic:3x32x32:10:32", "-b", 16, "--threads", 2]
FOUR = ["--data-path", "synthetic:3x32x32:4:32", "-b", 16, "--threads", 2]


# ---- helpers -------------------------------------------------------------------------------------


def trained(tmp, model="cifar_resnet20", name="ten", data=TEN, args=()):
    """The weights file of a step's training."""
    done("train", "--model", model, *data, *args, "--max-steps", 1, "--output-dir", f"{tmp}/{name}")
    return f"{tmp}/{name}/weights.safetensors"


def rewritten(path, to, change, meta=None):
    """A copy of a weights file whose tensors `change` has changed; without metadata unless given."""
    _, tensors = read_tensors(path)
    change(tensors)
    return write(to, tensors_bytes(tensors, meta))


def failed(*args):
    """The lines of the one message of a command that fails, and leaves no run."""
    r = weft(*args)
    assert r.returncode == 1, (args, r)
    lines = r.stderr.splitlines()
    assert lines[0].startswith(f"weft {args[0]}: "), lines
    assert all(line.startswith("  ") for line in lines[1:]), lines
    if "--output-dir" in args:
        assert not os.path.exists(args[args.index("--output-dir") + 1])
    return lines


def floats(entry):
    assert entry[0] == "F32", entry[0]
    return array.array("f", entry[2])


# ---- what does not fit ---------------------------------------------------------------------------


def test_everything_that_does_not_fit_is_in_one_message(tmp):
    def change(t):
        t["fc.wait"] = t.pop("fc.weight")
        t["bn1.bias"] = ("F32", [2], b"\0" * 8)
        t["layer1.0.bn1.bias"] = ("BOOL", [16], b"\0" * 16)
        del t["layer2.1.conv1.weight"], t["conv1.weight"]
        t["extra"] = ("F32", [], b"\0" * 4)

    bad = rewritten(trained(tmp), f"{tmp}/bad.safetensors", change)
    model = ["--model", "cifar_resnet20"]
    for args in (["train", *FOUR, "--output-dir", f"{tmp}/run"], ["eval", *TEN],
                 ["train", *TEN, "--reset-head", "--output-dir", f"{tmp}/run"]):
        lines = failed(args[0], *model, *args[1:], "--weights", bad)
        reset = "--reset-head" in args
        want = ["  missing     conv1.weight", "  missing     fc.weight",
                "  missing     layer2.1.conv1.weight", "  unexpected  extra",
                "  unexpected  fc.wait"]
        if reset:
            want = [line for line in want if "fc" not in line]
        if "eval" in args or reset:
            shapes = []
        else:  # the data have other classes
            shapes = ["  shape       fc.bias            [4] in the network, [10] given"]
        width = len("layer1.0.bn1.bias")
        want += ["  shape       " + "bn1.bias".ljust(width) + "  [16] in the network, [2] given"]
        want += shapes
        want += ["  type        layer1.0.bn1.bias  f32 in the network, BOOL given"]
        assert lines[1:] == want, lines
        assert f"{bad} does not fit ResNet, nothing was loaded: " in lines[0], lines[0]
        assert lines[0].endswith("1 of another type"), lines[0]


def test_weights_of_another_model_name_both(tmp):
    path = trained(tmp)
    lines = failed("eval", "--model", "fmnist_cnn", *TEN, "--weights", path)
    assert lines[-1] == "  the file says that it is of cifar_resnet20, not of fmnist_cnn", lines[-1]
    _, tensors = read_tensors(path)
    told = {line.split()[1] for line in lines if line.startswith("  unexpected")}
    # Three names are in both networks, and are of other shapes there or fit.
    assert told == {n for n in tensors if not n.startswith(("bn1.", "conv1.weight", "fc."))}, told


def test_weights_that_are_not_finite_are_refused_unless_allowed(tmp):
    def change(t):
        values = floats(t["layer1.0.bn1.weight"])
        values[3], values[5] = math.nan, math.inf
        t["layer1.0.bn1.weight"] = ("F32", [16], values.tobytes())
        values = floats(t["fc.bias"])
        values[0] = -math.inf
        t["fc.bias"] = ("F32", [10], values.tobytes())

    meta, _ = read_tensors(trained(tmp))
    bad = rewritten(f"{tmp}/ten/weights.safetensors", f"{tmp}/bad.safetensors", change, meta)
    for args in (["eval", *TEN], ["train", *TEN, "--output-dir", f"{tmp}/run"]):
        lines = failed(*args, "--weights", bad)
        assert "2 with NaN or infinite values" in lines[0], lines
        assert lines[1:] == ["  values      fc.bias              1 of 10 not finite",
                             "  values      layer1.0.bn1.weight  2 of 16 not finite",
                             "  --allow-nan takes them as they are"], lines
    done("eval", *TEN, "--weights", bad, "--allow-nan")
    # A head that begins anew may hold what it likes.
    lines = failed("train", *TEN, "--weights", bad, "--reset-head", "--output-dir", f"{tmp}/run")
    assert len(lines) == 3 and "layer1.0.bn1.weight" in lines[1], lines


def test_half_and_double_precision_load(tmp):
    path = trained(tmp)
    meta, _ = read_tensors(path)
    text = done("eval", *TEN, "--weights", path)
    codes = {"F16": "e", "F64": "d"}
    for dtype, code in codes.items():
        def change(t):
            for name, (kind, shape, raw) in t.items():
                if kind == "F32":
                    values = array.array("f", raw)
                    t[name] = (dtype, shape, struct.pack(f"<{len(values)}{code}", *values))

        other = rewritten(path, f"{tmp}/{dtype}.safetensors", change, meta)
        result = done("eval", *TEN, "--weights", other)
        loss = [float(t.split("loss ")[1].split()[0]) for t in (text, result)]
        assert abs(loss[0] - loss[1]) <= 2e-3 * abs(loss[0]), (dtype, loss)


def test_what_a_wrapper_put_before_names_is_seen_through(tmp):
    """The number of classes, too, is found behind it."""
    path = trained(tmp)
    plain = done("eval", *TEN, "--weights", path)

    def change(t):
        for name in list(t):
            t["module." + name] = t.pop(name)

    wrapped = rewritten(path, f"{tmp}/wrapped.safetensors", change)
    text = done("eval", "--model", "cifar_resnet20", *TEN, "--weights", wrapped)
    assert text.split("top-1")[0] == plain.split("top-1")[0], (text, plain)
    done("eval", "--model", "cifar_resnet20", *FOUR, "--weights", wrapped)  # made for ten classes
    refused(1, "is for 10 classes, and the data have 4", "train", "--model", "cifar_resnet20", *FOUR,
            "--weights", wrapped, "--output-dir", f"{tmp}/run")


# ---- fine-tuning ---------------------------------------------------------------------------------


def test_another_number_of_classes_needs_reset_head(tmp):
    path = trained(tmp)
    tune = ["train", *FOUR, "--weights", path, "--max-steps", 1, "--output-dir", f"{tmp}/run"]
    refused(1, r"is for 10 classes, and the data have 4; --reset-head begins with a new classifier "
               r"\(fc\), --num-classes 10 keeps the old one", *tune)
    assert not os.path.exists(f"{tmp}/run")
    done(*tune, "--reset-head", "--lr", 0, "--wd", 0, "--freeze-bn")
    _, before = read_tensors(path)
    meta, after = read_tensors(f"{tmp}/run/weights.safetensors")
    assert meta["weft.classes"] == "4", meta
    assert [n for n in before if before[n] != after[n]] == ["fc.weight", "fc.bias"]
    assert after["fc.weight"][1] == [4, 64] and len(set(floats(after["fc.weight"]))) > 200
    # eval needs no flags for either, and sees when the data have more classes than the network.
    assert "top-1" in done("eval", *FOUR, "--weights", f"{tmp}/run/weights.safetensors")
    done("eval", *FOUR, "--weights", path)
    refused(1, "is for 4 classes, and the data have 10$", "eval", *TEN, "--weights",
            f"{tmp}/run/weights.safetensors")
    done(*tune, "--num-classes", 10, "--overwrite")
    assert read_tensors(f"{tmp}/run/weights.safetensors")[1]["fc.weight"][1] == [10, 64]
    refused(2, "--reset-head goes with --weights", "train", *FOUR, "--reset-head")


def test_frozen_parameters_stay_and_are_told(tmp):
    path = trained(tmp)
    tune = ["train", *TEN, "--weights", path, "--max-steps", 2, "--overwrite", "--output-dir",
            f"{tmp}/run"]
    _, before = read_tensors(path)
    statistics = {n for n in before if "running" in n or "num_batches" in n}
    cases = [
        (["--freeze", "layer[12].*,conv1"], ("layer1.", "layer2.", "conv1.")),
        (["--freeze", "layer1", "--freeze", "layer2.0.conv1"], ("layer1.", "layer2.0.conv1.")),
        (["--freeze", "*.bn?.*"], tuple(f"layer{i}.{k}.bn{j}." for i in (1, 2, 3)
                                        for k in (0, 1, 2) for j in (1, 2))),
        (["--freeze", "fc.weight", "--opt", "adamw"], ("fc.weight",)),
    ]
    for args, prefixes in cases:
        for freeze_bn in (False, True):
            r = weft(*tune, *args, *(["--freeze-bn"] if freeze_bn else []))
            assert r.returncode == 0 and r.stderr == "", r  # no warning about what was asked for
            _, after = read_tensors(f"{tmp}/run/weights.safetensors")
            frozen = {n for n in before if n.startswith(prefixes)} - statistics
            still = frozen | (statistics if freeze_bn else set())
            assert {n for n in before if before[n] == after[n]} == still, args
            count = sum(math.prod(before[n][1]) for n in set(before) - statistics - frozen)
            assert f"parameters, of which {count} are trained" in r.stdout, (args, r.stdout)
    with open(f"{tmp}/run/config.json") as f:
        options = json.load(f)["options"]
    assert options["freeze"] == "fc.weight" and options["freeze-bn"] is True
    assert options["model"] == "cifar_resnet20" and options["model-arg"] is None


def test_a_pattern_that_matches_nothing_suggests_names(tmp):
    base = ["train", "--model", "cifar_resnet20", *TEN, "--output-dir", f"{tmp}/run", "--freeze"]
    cases = [("layr1", r"matches 'layr1'; did you mean 'layer1'; its parts are: conv1 bn1 layer1 "
                       r"layer2 layer3 fc$"),
             ("layer1,fc.wieght", "matches 'fc.wieght'; did you mean 'fc.weight'"),
             ("backbone*", r"matches 'backbone\*'; its parts are: "),
             ("relu", "matches 'relu'"),  # it has no parameters
             ("*", "nothing of cifar_resnet20 is left to train")]
    for pattern, text in cases:
        refused(2, text, *base, pattern)
    assert not os.path.exists(f"{tmp}/run")


def test_every_small_model_can_be_fine_tuned(tmp):
    """Those whose weights do not fill the disk; tests/train/test_fine_tuning.c has all of them."""
    models = [m for m in json.loads(done("models", "--json")) if m["parameters"] < 9e6]
    assert len(models) >= 5, models
    for m in models:
        name, size = m["name"], max(32, m["smallest"])
        data = ["--data-path", f"synthetic:3x{size}x{size}:%d:8", "-b", 8, "--threads", 2,
                "--max-steps", 1]
        path = trained(tmp, name, "first", [a % 5 if "%d" in str(a) else a for a in data],
                       ["--overwrite"])
        done("train", *[a % 3 if "%d" in str(a) else a for a in data], "--weights", path,
             "--reset-head", "--freeze-bn", "--lr", 0, "--wd", 0, "--overwrite", "--output-dir",
             f"{tmp}/second")
        _, before = read_tensors(path)
        meta, after = read_tensors(f"{tmp}/second/weights.safetensors")
        changed = [n for n in before if before[n] != after[n]]
        assert list(before) == list(after) and meta["weft.model"] == name, name
        assert len(changed) == 2 and len({n.rsplit(".", 1)[0] for n in changed}) == 1, changed
        assert all(before[n][1][0] == 5 and after[n][1][0] == 3 for n in changed), (name, changed)


def test_a_models_own_options_travel_with_its_weights(tmp):
    data = ["--data-path", "synthetic:3x32x32:4:16", "-b", 16, "--threads", 2]
    one = trained(tmp, "squeezenet1_1", "one", data, ["--model-arg", "dropout=0.9"])
    two = trained(tmp, "squeezenet1_1", "two", data,
                  ["--model-arg", "dropout=0.9", "--model-arg=dropout=0.25"])
    plain = trained(tmp, "squeezenet1_1", "plain", data)
    for path, args in ((one, "dropout=0.9"), (two, "dropout=0.25"), (plain, None)):
        meta, _ = read_tensors(path)
        with open(os.path.join(os.path.dirname(path), "config.json")) as f:
            assert json.load(f)["options"]["model-arg"] == args
        assert meta.get("weft.model_args") == args, meta
    # They are what the network is made of: another dropout, other gradients.
    assert read_tensors(one)[1] != read_tensors(two)[1] != read_tensors(plain)[1]
    # Without flags the file's; a flag goes before it; the options are not those of another model.
    for args, want in (([], "dropout=0.9"), (["--model-arg", "dropout=0"], "dropout=0")):
        run = ["train", *data, "--weights", one, "--max-steps", 1, "--overwrite", *args,
               "--output-dir", f"{tmp}/more"]
        done(*run)
        meta, _ = read_tensors(f"{tmp}/more/weights.safetensors")
        assert meta["weft.model_args"] == want, meta
    done("eval", *data, "--weights", one)
    refused(2, "one/weights.safetensors: squeezenet1_1 has no option 'width'", "eval", *data,
            "--weights", rewritten(one, f"{tmp}/one/weights.safetensors", lambda t: None,
                                   {"weft.model": "squeezenet1_1", "weft.model_args": "width=2"}))
    for args, text in ((["dropout=2"], "dropout: '2' is not a number from 0"),
                       (["dropout="], "dropout: '' is not a number")):
        refused(1, text, "train", "--model", "squeezenet1_1", *data, "--model-arg", *args,
                "--output-dir", f"{tmp}/bad")


def test_auxiliary_heads_in_a_file_are_left_out_where_there_are_none(tmp):
    data = ["--data-path", "synthetic:3x32x32:5:8", "-b", 8, "--threads", 2]
    path = trained(tmp, "googlenet", "aux", data, ["--model-arg", "aux_logits=true"])
    meta, tensors = read_tensors(path)
    aux = [n for n in tensors if n.startswith(("aux1.", "aux2."))]
    assert len(aux) > 8 and meta["weft.model_args"] == "aux_logits=true", meta
    whole = weft("eval", *data, "--weights", path)
    assert (whole.returncode, whole.stderr) == (0, ""), whole
    # With a flag, and from elsewhere, where no metadata say what there is.
    bare = rewritten(path, f"{tmp}/bare.safetensors", lambda t: None)
    lean = rewritten(path, f"{tmp}/lean.safetensors", lambda t: [t.pop(n) for n in aux])
    for file, args in ((path, ["--model-arg", "aux_logits=false"]), (bare, [])):
        r = weft("eval", *data, "--weights", file, "--model", "googlenet", *args)
        loss = [t.split("loss ")[1].split()[0] for t in (r.stdout, whole.stdout)]
        assert r.returncode == 0 and loss[0] == loss[1], (r, loss)
        assert r.stderr == (f"weft eval: note: {file} holds auxiliary heads (aux1, aux2), {len(aux)} "
                            "tensors that googlenet is made without here\n"), r.stderr
    r = weft("eval", *data, "--weights", lean, "--model", "googlenet")
    assert (r.returncode, r.stderr) == (0, ""), r
    lines = failed("eval", *data, "--weights", lean, "--model", "googlenet", "--model-arg",
                   "aux_logits=true")
    assert lines[1:] == [f"  missing     {n}" for n in sorted(aux) if "num_batches" not in n], lines
    # Their classifiers begin anew with the main one.
    done("train", "--data-path", "synthetic:3x32x32:3:8", "-b", 8, "--threads", 2, "--weights", path,
         "--reset-head", "--freeze-bn", "--lr", 0, "--wd", 0, "--max-steps", 1, "--output-dir",
         f"{tmp}/tuned")
    _, after = read_tensors(f"{tmp}/tuned/weights.safetensors")
    heads = [f"{layer}.{part}" for layer in ("aux1.fc2", "aux2.fc2", "fc")
             for part in ("weight", "bias")]
    assert sorted(n for n in tensors if tensors[n] != after[n]) == sorted(heads)


if __name__ == "__main__":
    sys.exit(weft_command.main(sys.argv, globals()))
