#!/usr/bin/env python3
"""Converts PyTorch checkpoints to safetensors files, which Weft loads, and back.

    ./dev convert IN OUT

The ending says which way: .pth, .pt, .bin, .ckpt, .tar and .pkl are PyTorch's, .safetensors the
other. A checkpoint may be a state_dict or hold one under "state_dict", "model" and the like; what
wrappers put before every name ("module." of DataParallel, "_orig_mod." of torch.compile) is taken
off. Nothing of the checkpoint is executed: torch.load(weights_only=True); nor does loading it take
memory out of proportion to the file's size.

Needs PyTorch and safetensors, which ./dev sees to.
"""

import argparse
import collections
import contextlib
import json
import os
import pickle
import re
import resource
import stat
import struct
import sys
import tempfile
import zipfile

TORCH_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
# Where checkpoints keep their state_dict, the likeliest first.
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights",
              "params", "state_dict_ema", "model_ema", "ema")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
# Of torch, those that Weft has too.
DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8", "int32", "int64")
# How deep in a checkpoint a state_dict is looked for; real ones are two deep.
MAX_DEPTH = 16
# Tensors that share or repeat memory are written apart, so a file may grow; hardly by this much.
MAX_GROWTH = 16
SLACK_BYTES = 64 << 20
# What loading may take beyond a multiple of the file's size: PyTorch's own needs.
LOADING_BYTES = 4 << 30


class Problem(Exception):
    """Something the user can act on, told in one line."""


def shown(text):
    """A name of the file's as it may be printed: without control characters, and short."""
    text = text if isinstance(text, str) else f"{type(text).__name__} {text}"
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 120 else f"{text[:117]}..."


def listed(names):
    names = list(names)
    more = f", and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(map(shown, names[:10])) + more


def first_line(error):
    return shown((str(error).strip().splitlines() or [type(error).__name__])[0])


def size_text(count):
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} GB" if count < 1000 else f"{count:,.0f} GB"


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


def file_size(path):
    """In bytes, of a regular file that can be opened: a FIFO would wait for a writer for ever."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise Problem(f"{path}: cannot be read: is no regular file")
        open(path, "rb").close()
    except OSError as error:
        raise Problem(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a zero byte in the path
        raise Problem(f"{shown(path)}: cannot be read: {error}") from None
    return found.st_size


def allowed_bytes(size):
    return MAX_GROWTH * size + SLACK_BYTES


def check_archive(path, size):
    """torch.save does not compress; what does may unpack to anything."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # the older format, or damaged: torch.load says so
        return
    if unpacked > allowed_bytes(size):
        raise Problem(f"{path}: is {size_text(size)} that unpack to {size_text(unpacked)}")


@contextlib.contextmanager
def bounded_memory(path, size):
    """Whatever the file asks for, memory stays in proportion to its size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as f:
        used = int(f.read().split()[0]) * resource.getpagesize()
    limit = used + allowed_bytes(size) + LOADING_BYTES
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    except (MemoryError, RecursionError) as error:
        what = "memory" if isinstance(error, MemoryError) else "nesting"
        raise Problem(f"{path}: needs too much {what} for a file of {size_text(size)}") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def load_checkpoint(torch, path, size):
    check_archive(path, size)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, RecursionError):
        raise
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        if not code:
            raise Problem(f"{path}: is no checkpoint of PyTorch's") from None
        raise Problem(
            f"{path}: holds more than tensors ({shown(code.group(1))}), and loading it would run code of "
            "its own; where you trust it, save its state_dict alone: "
            "torch.save(model.state_dict(), PATH)") from None
    except Exception as error:  # what a damaged archive raises is anything
        raise Problem(
            f"{path}: is no checkpoint of PyTorch's, or damaged: {first_line(error)}") from None


def is_state(torch, value):
    return isinstance(value, dict) and any(isinstance(t, torch.Tensor) for t in value.values())


def at_key(value, key, path):
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            have = listed(value) if isinstance(value, dict) else "no dictionary"
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
    keys, seen = [], set()
    while isinstance(value, dict):
        # First: beside a state_dict a checkpoint may hold tensors, such as its best accuracy.
        inner = next((k for k in STATE_KEYS if isinstance(value.get(k), dict)), None)
        if inner is None:
            break
        keys.append(inner)
        seen.add(id(value))
        value = value[inner]
        if id(value) in seen:
            raise Problem(f"{path}: '{'.'.join(keys)}' contains itself; --key says which to take")
        if len(keys) > MAX_DEPTH:
            raise Problem(f"{path}: holds more than {MAX_DEPTH} dictionaries inside each other; "
                          "--key says which to take")
    if is_state(torch, value):
        return value, ".".join(keys)
    if not isinstance(value, dict):
        raise Problem(f"{path}: holds a {type(value).__name__}, no state_dict")
    raise Problem(f"{path}: holds no state_dict that is known by its name; it has: "
                  f"{listed(value) or 'nothing'}; --key says which to take")


def strip_prefixes(state):
    """(the state without what stands before every name, the prefixes)."""
    taken = []
    while True:
        # AveragedModel counts beside the network that it wraps.
        names = [n for n in state if n != "n_averaged"]
        prefix = next((p for p in PREFIXES if names and
                       all(n.startswith(p) and n != p for n in names)), None)
        if prefix is None:
            return state, taken
        state = {n[len(prefix):]: state[n] for n in names}
        taken.append(prefix)


def only_tensors(torch, state, path):
    """(the tensors under their names, which are texts; the names of what is no tensor)."""
    named = {n: t for n, t in state.items() if isinstance(t, torch.Tensor)}
    for name in named:
        if not isinstance(name, str):
            raise Problem(f"{path}: has a tensor under the {shown(name)}, where a name should be")
        if name == "__metadata__" or not encodes(name):
            raise Problem(f"{path}: a safetensors file cannot hold the name '{shown(name)}'")
    return named, [n for n in state if n not in named]


def encodes(name):
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def what_is_wrong(torch, t):
    """Why Weft cannot load the tensor; None: it can."""
    if t.layout != torch.strided or t.is_quantized:
        return f"is {'quantized' if t.is_quantized else t.layout}"
    if t.device.type != "cpu":
        return f"is on the device {t.device.type}, without values"
    if str(t.dtype).removeprefix("torch.") not in DTYPES:
        return f"is {str(t.dtype).removeprefix('torch.')}"
    return f"has {t.dim()} dimensions" if t.dim() > 6 else None


def check_tensors(torch, state, path, size):
    """The tensors as they can be written."""
    wrong = {name: what_is_wrong(torch, t) for name, t in state.items()}
    bad = [f"{shown(name)} {why}" for name, why in wrong.items() if why]
    if bad:
        raise Problem(f"{path}: Weft cannot load {'; '.join(bad[:10])}" +
                      (f"; and {len(bad) - 10} more" if len(bad) > 10 else ""))
    sizes = {name: t.numel() * t.element_size() for name, t in state.items()}
    total = sum(sizes.values())
    if total > allowed_bytes(size):
        largest = max(sizes, key=sizes.get)
        raise Problem(f"{path}: is {size_text(size)} and stands for {size_text(total)} of tensors "
                      f"that repeat or share memory, most of it '{shown(largest)}'")
    # Copies: names that share memory, as tied weights do, are written apart.
    return {name: t.detach().clone(memory_format=torch.contiguous_format)
            for name, t in state.items()}


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

    size = file_size(args.input)
    with bounded_memory(args.input, size):
        checkpoint = load_checkpoint(torch, args.input, size)
        state, where = find_state(torch, checkpoint, args.key, args.input)
        state, left_out = only_tensors(torch, state, args.input)
        taken = []
        if not args.keep_prefix:
            state, taken = strip_prefixes(state)
        tensors = check_tensors(torch, state, args.input, size)
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
        print(f"  left out, since no tensors: {listed(left_out)}")


def header_names(path):
    """The names in the file's own order, which the package does not keep."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        return [name for name in json.loads(f.read(size)) if name != "__metadata__"]


def from_safetensors(args, torch):
    from safetensors.torch import load_file

    size = file_size(args.input)
    with bounded_memory(args.input, size):
        try:
            tensors = load_file(args.input)
            tensors = collections.OrderedDict((n, tensors[n]) for n in header_names(args.input))
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            why = getattr(error, "strerror", None) or first_line(error)
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
        torch.set_num_threads(1)  # copies only; threads would reserve memory for their stacks
        (from_safetensors if args.back else to_safetensors)(args, torch)
    except Problem as problem:
        print(f"convert: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
