#!/usr/bin/env python3
"""Converts PyTorch checkpoints to safetensors files, which Weft loads, and back.

    ./dev convert IN OUT

The ending says which way: .pth, .pt, .bin, .ckpt, .tar and .pkl are PyTorch's, .safetensors the
other. A checkpoint may be a state_dict or hold one under "state_dict", "model" and the like; what
wrappers put before every name ("module." of DataParallel, "_orig_mod." of torch.compile) is taken
off. Nothing of the checkpoint is executed: torch.load(weights_only=True).

Needs PyTorch and safetensors, which ./dev sees to.
"""

import argparse
import collections
import json
import os
import pickle
import re
import struct
import sys
import tempfile

TORCH_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
# Where checkpoints keep their state_dict, the likeliest first.
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights",
              "params", "state_dict_ema", "model_ema", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
# Of torch, those that Weft has too.
DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8", "int32", "int64")


class Problem(Exception):
    """Something the user can act on, told in one line."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"convert: {message}\n")


def numbers(text):
    try:
        values = [float(v) for v in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a list of numbers: {text!r}") from None
    return ",".join(f"{v:.9g}" for v in values)


def parse_args(argv):
    p = Parser(prog="convert", description="PyTorch checkpoints to safetensors files, and back.")
    p.add_argument("input", metavar="IN")
    p.add_argument("output", metavar="OUT")
    p.add_argument("--key", help="where in the checkpoint the state_dict is, e.g. ema or "
                                 "training.model (default: found)")
    p.add_argument("--keep-prefix", action="store_true", help="leave names as they are")
    p.add_argument("--model", metavar="NAME",
                   help="Weft's name of the network, so that it needs no --model for the file")
    p.add_argument("--model-arg", metavar="KEY=VALUE", action="append", default=[],
                   help="an option of the network that the weights need, as `weft models` lists "
                        "them, e.g. transform_input=true; may be repeated")
    p.add_argument("--mean", type=numbers, help="the training images' channel means on the scale "
                                                "0..1, e.g. 0.485,0.456,0.406")
    p.add_argument("--std", type=numbers, help="and deviations, e.g. 0.229,0.224,0.225")
    args = p.parse_args(argv)
    ends = [os.path.splitext(path)[1].lower() for path in (args.input, args.output)]
    args.back = ends[0] == ".safetensors"
    if args.back and ends[1] not in TORCH_ENDINGS:
        p.error(f"{args.output}: the ending must be one of {' '.join(TORCH_ENDINGS)}")
    if not args.back and ends[1] != ".safetensors":
        p.error(f"{args.output}: one of the two files must end in .safetensors")
    if (args.mean is None) != (args.std is None):
        p.error("--mean and --std go together")
    if args.mean and args.mean.count(",") != args.std.count(","):
        p.error("--mean and --std are lists of different lengths")
    if args.model_arg and not args.model:
        p.error("--model-arg goes with --model")
    for pair in args.model_arg:
        if not re.fullmatch("[^=,]+=[^,]*", pair):
            p.error(f"--model-arg: {pair!r} is not of the form key=value")
    if args.back and (args.key or args.model or args.mean or args.keep_prefix):
        p.error("--key, --keep-prefix, --model, --model-arg, --mean and --std are for making "
                "safetensors files")
    return args


# ---- reading a checkpoint ------------------------------------------------------------------------


def load_checkpoint(torch, path):
    try:
        open(path, "rb").close()
    except OSError as error:
        raise Problem(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        if not code:
            raise Problem(f"{path}: is no checkpoint of PyTorch's") from None
        raise Problem(
            f"{path}: holds more than tensors ({code.group(1)}), and loading it would run code of "
            "its own; where you trust it, save its state_dict alone: "
            "torch.save(model.state_dict(), PATH)") from None
    except Exception as error:  # what a damaged archive raises is anything
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Problem(f"{path}: is no checkpoint of PyTorch's, or damaged: {first}") from None


def is_state(torch, value):
    return isinstance(value, dict) and any(isinstance(t, torch.Tensor) for t in value.values())


def at_key(value, key, path):
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            have = ", ".join(map(str, value)) if isinstance(value, dict) else "no dictionary"
            raise Problem(f"{path}: has no '{key}'; where '{part}' should be there is: {have}")
        value = value[part]
    return value


def find_state(torch, value, key, path):
    """The state_dict, and where it was found: "" at the top."""
    if key:
        state = at_key(value, key, path)
        if not is_state(torch, state):
            raise Problem(f"{path}: '{key}' is no state_dict")
        return state, key
    where = ""
    while isinstance(value, dict):
        # First: beside a state_dict a checkpoint may hold tensors, such as its best accuracy.
        inner = next((k for k in STATE_KEYS if isinstance(value.get(k), dict)), None)
        if inner is None:
            break
        value, where = value[inner], f"{where}.{inner}".lstrip(".")
    if is_state(torch, value):
        return value, where
    if not isinstance(value, dict):
        raise Problem(f"{path}: holds a {type(value).__name__}, no state_dict")
    raise Problem(f"{path}: holds no state_dict that is known by its name; it has: "
                  f"{', '.join(map(str, value)) or 'nothing'}; --key says which to take")


def strip_prefixes(state):
    """(the state without what stands before every name, the prefixes)."""
    taken = []
    while True:
        # AveragedModel counts beside the network that it wraps.
        names = [n for n in state if n != "n_averaged"]
        prefix = next((p for p in PREFIXES if names and all(n.startswith(p) for n in names)), None)
        if prefix is None:
            return state, taken
        state = {n[len(prefix):]: state[n] for n in names}
        taken.append(prefix)


def check_tensors(torch, state, path):
    """The tensors as they can be written, and the names of what is none."""
    tensors, left_out, bad = {}, [], []
    for name, t in state.items():
        if not isinstance(t, torch.Tensor):
            left_out.append(name)
        elif t.layout != torch.strided or t.is_quantized:
            bad.append(f"{name} is {'quantized' if t.is_quantized else t.layout}")
        elif str(t.dtype).removeprefix("torch.") not in DTYPES:
            bad.append(f"{name} is {str(t.dtype).removeprefix('torch.')}")
        elif t.dim() > 6:
            bad.append(f"{name} has {t.dim()} dimensions")
        else:
            # A copy of its own: names that share memory, as tied weights do, are written apart.
            tensors[name] = t.detach().clone(memory_format=torch.contiguous_format)
    if bad:
        raise Problem(f"{path}: Weft cannot load {'; '.join(bad)}")
    return tensors, left_out


# ---- writing -------------------------------------------------------------------------------------


def write_whole(path, write):
    """Whole or not at all: beside its place first."""
    from safetensors import SafetensorError

    folder, name = os.path.split(path)
    temporary = None
    try:
        fd, temporary = tempfile.mkstemp(dir=folder or ".", prefix=f"{name}.")
        os.close(fd)
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        temporary = None
    except (OSError, RuntimeError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise Problem(f"{path}: cannot be written: {why}") from None
    finally:
        if temporary:
            os.unlink(temporary)


def describe(tensors):
    kinds = collections.Counter(str(t.dtype).removeprefix("torch.") for t in tensors.values())
    count = sum(t.numel() for t in tensors.values())
    return (f"{len(tensors)} tensors, {count:,} elements "
            f"({', '.join(f'{n} {kind}' for kind, n in kinds.most_common())})")


def to_safetensors(args, torch):
    from safetensors.torch import save_file

    state, where = find_state(torch, load_checkpoint(torch, args.input), args.key, args.input)
    taken = []
    if not args.keep_prefix:
        state, taken = strip_prefixes(state)
    tensors, left_out = check_tensors(torch, state, args.input)
    meta = {"format": "pt"}
    if args.model:
        meta["weft.model"] = args.model
    if args.model_arg:
        meta["weft.model_args"] = ",".join(args.model_arg)
    if args.mean:
        meta.update({"weft.mean": args.mean, "weft.std": args.std})
    write_whole(args.output, lambda path: save_file(tensors, path, metadata=meta))
    print(f"{args.output}: {describe(tensors)}")
    if where:
        print(f"  taken from '{where}' of {args.input}")
    for prefix in taken:
        print(f"  '{prefix}' taken off every name")
    if left_out:
        print(f"  left out, since no tensors: {', '.join(left_out)}")


def header_names(path):
    """The names in the file's own order, which the package does not keep."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        return [name for name in json.loads(f.read(size)) if name != "__metadata__"]


def from_safetensors(args, torch):
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(args.input)
        tensors = collections.OrderedDict((n, tensors[n]) for n in header_names(args.input))
    except (SafetensorError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise Problem(f"{args.input}: cannot be read: {why}") from None
    write_whole(args.output, lambda path: torch.save(tensors, path))
    print(f"{args.output}: {describe(tensors)}")


def main(argv):
    args = parse_args(argv)
    try:
        try:
            import torch
            import safetensors.torch  # noqa: F401
        except ImportError as error:
            raise Problem(f"needs PyTorch and safetensors ({error}); `./dev convert` runs it where "
                          "they are") from None
        (from_safetensors if args.back else to_safetensors)(args, torch)
    except Problem as problem:
        print(f"convert: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
