#!/usr/bin/env python3
"""tools/convert.py, and the files of the `weft` command in PyTorch.

    test_convert.py WEFT

Runs itself under the Python that WEFT_TORCH_PYTHON names, which has PyTorch and safetensors; without
it every test is skipped.
"""

import contextlib
import copy
import io
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

TORCH_PYTHON = os.environ.get("WEFT_TORCH_PYTHON")
if TORCH_PYTHON and os.environ.get("WEFT_CONVERT_TEST") != "1":
    os.execve(TORCH_PYTHON, [TORCH_PYTHON, *sys.argv], {**os.environ, "WEFT_CONVERT_TEST": "1"})

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(ROOT, "tools"), os.path.join(ROOT, "bench")]
import counted  # noqa: E402
import convert  # noqa: E402

WEFT = os.path.abspath(sys.argv.pop(1))
if TORCH_PYTHON:
    import torch
    import torch_models
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file


class Trap:
    """What a hostile checkpoint does when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["WEFT_TRAP"],))


@unittest.skipUnless(TORCH_PYTHON, "WEFT_TORCH_PYTHON is not set")
class Convert(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        torch.manual_seed(3)
        self.net = torch_models.MODELS["cifar_resnet20"].create(num_classes=4, channels=3, size=32)
        self.state = self.net.state_dict()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def saved(self, value, name="in.pth"):
        torch.save(value, self.path(name))
        return self.path(name)

    def convert(self, *args):
        """What it prints; it succeeds."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = convert.main([str(a) for a in args])
        self.assertEqual((status, err.getvalue()), (0, ""))
        return out.getvalue()

    def refused(self, pattern, *args, status=1):
        """It fails with one line and leaves no file."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                got = convert.main([str(a) for a in args])
            except SystemExit as exit:
                got = exit.code
        lines = err.getvalue().splitlines()
        self.assertEqual((got, len(lines), out.getvalue()), (status, 1, ""), lines)
        self.assertRegex(lines[0], f"^convert: .*{pattern}")
        left = [n for n in os.listdir(self.dir.name) if n.startswith("out")]
        self.assertEqual(left, [])

    def weft(self, *args):
        run = subprocess.run([WEFT, *map(str, args)], text=True, capture_output=True, timeout=300)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def assert_same(self, have, want):
        self.assertEqual(sorted(have), sorted(want))
        for name, t in want.items():
            self.assertEqual(have[name].dtype, t.dtype, name)
            self.assertTrue(torch.equal(have[name], t), name)

    def test_a_state_is_found_in_any_usual_checkpoint(self):
        s = self.state
        wrapped = {f"module.{n}": t for n, t in s.items()}
        both = {f"_orig_mod.module.{n}": t for n, t in s.items()}
        cases = {
            "plain": (s, ""),
            "epoch": ({"epoch": 3, "state_dict": s, "best_acc1": torch.tensor(0.5)}, "'state_dict'"),
            "model": ({"model": wrapped, "optimizer": {"state": {}}}, "'module.' taken off"),
            "deep": ({"model": {"state_dict": s}}, "'model.state_dict'"),
            "model_state": ({"model_state": both}, "'module.' taken off"),
            "average": ({**wrapped, "n_averaged": torch.tensor(5)}, "'module.' taken off"),
        }
        for name, (value, said) in cases.items():
            with self.subTest(name):
                out = self.path("out.safetensors")
                text = self.convert(self.saved(value), out)
                self.assertIn(said, text)
                self.assert_same(load_file(out), s)
                count = sum(t.numel() for t in s.values())
                self.assertIn(f"{len(s)} tensors, {count:,} elements", text)

    def test_a_key_and_prefixes_may_be_said(self):
        value = {"state_dict": self.state, "extra": {"ema": {"module.w": torch.ones(3), "n": 4}}}
        out = self.path("out.safetensors")
        text = self.convert(self.saved(value), out, "--key", "extra.ema", "--keep-prefix")
        self.assertEqual(list(load_file(out)), ["module.w"])
        self.assertIn("left out, since no tensors: n", text)
        os.unlink(out)
        self.refused("has no 'extra.emma'; where 'emma' should be there is: ema",
                     self.path("in.pth"), out, "--key", "extra.emma")

    def test_nothing_of_a_checkpoint_is_executed(self):
        os.environ["WEFT_TRAP"] = self.path("trapped")
        path = self.saved({"state_dict": self.state, "hook": Trap()})
        self.refused(r"holds more than tensors \(\w+\.mkdir\), and loading it would run code", path,
                     self.path("out.safetensors"))
        self.assertFalse(os.path.exists(self.path("trapped")))

    def test_bad_input_is_one_error_and_writes_nothing(self):
        out = self.path("out.safetensors")
        with open(self.path("text.pth"), "w", encoding="utf-8") as f:
            f.write("no checkpoint at all")
        whole = self.saved(self.state, "whole.pth")
        with open(whole, "rb") as f, open(self.path("cut.pth"), "wb") as g:
            g.write(f.read()[:5000])
        open(self.path("empty.pth"), "wb").close()
        with open(self.path("bad.safetensors"), "wb") as f:
            f.write(b"\x08\0\0\0\0\0\0\0nonsense")
        cases = [
            ("none.pth: cannot be read: No such file", self.path("none.pth"), out),
            ("text.pth: is no checkpoint", self.path("text.pth"), out),
            ("cut.pth: is no checkpoint", self.path("cut.pth"), out),
            ("empty.pth: is no checkpoint", self.path("empty.pth"), out),
            ("holds a list, no state_dict", self.saved([1, 2], "list.pth"), out),
            ("it has: epoch, lr; --key says", self.saved({"epoch": 1, "lr": 2}, "none2.pth"), out),
            ("Weft cannot load mask is bool; c is complex64",
             self.saved({"w": torch.ones(2), "mask": torch.ones(2, dtype=torch.bool),
                         "c": torch.ones(2, dtype=torch.complex64)}, "types.pth"), out),
            ("s is torch.sparse_coo", self.saved({"s": torch.eye(3).to_sparse()}, "sp.pth"), out),
            ("none.safetensors: cannot be read: No such", self.path("none.safetensors"),
             self.path("out.pth")),
            ("bad.safetensors: cannot be read", self.path("bad.safetensors"), self.path("out.pth")),
            ("nowhere/out.safetensors: cannot be written: No such file", whole,
             self.path("nowhere/out.safetensors")),
        ]
        for pattern, *args in cases:
            with self.subTest(pattern):
                self.refused(pattern, *args)
        for pattern, *args in [
            ("must end in .safetensors", "a.pth", "b.pth"),
            ("the ending must be one of", "a.safetensors", "b.onnx"),
            ("required: IN, OUT",),
            ("not a list of numbers", "a.pth", "b.safetensors", "--mean", "x"),
            ("go together", "a.pth", "b.safetensors", "--mean", "0.5"),
            ("different lengths", "a.pth", "b.safetensors", "--mean", "0.5", "--std", "1,1"),
            ("are for making safetensors", "a.safetensors", "b.pth", "--key", "x"),
            ("--model-arg goes with --model", "a.pth", "b.safetensors", "--model-arg", "a=1"),
            ("'a' is not of the form key=value", "a.pth", "b.safetensors", "--model", "m",
             "--model-arg", "a"),
        ]:
            with self.subTest(pattern):
                self.refused(pattern, *args, status=2)

    def pickled(self, name, body):
        """A checkpoint whose pickle is given as it is, for what torch.save cannot write."""
        with zipfile.ZipFile(self.path(name), "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
            archive.writestr("archive/version", b"3\n")
            archive.writestr("archive/byteorder", b"little")
        return self.path(name)

    def test_a_hostile_checkpoint_is_one_error(self):
        out = self.path("out.safetensors")
        own = {"w": torch.ones(2)}
        own["state_dict"] = own
        ring = {"state_dict": {"model": {}}}
        ring["state_dict"]["model"]["net"] = ring["state_dict"]
        key = b"X\x05\0\0\0model"
        deep = b"}" + (key + b"}") * 100_000 + b"s" * 100_000
        names = {f"{i}\x1b[2J": i for i in range(5000)}
        with open(self.path("bomb.pth"), "wb") as f, \
                zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(200 << 20))
        os.mkfifo(self.path("fifo.pth"))
        os.mkfifo(self.path("fifo.safetensors"))
        os.mkdir(self.path("folder.pth"))
        repeated = torch.zeros(1 << 20)
        cases = [
            ("'state_dict' contains itself; --key says", self.saved(own, "own.pth")),
            ("'state_dict.model.net' contains itself", self.saved(ring, "ring.pth")),
            ("more than 16 dictionaries inside each other", self.pickled("deep.pth", deep)),
            ("is no checkpoint|holds a list|too much", self.pickled("lists.pth", b"]" * 500_000 +
                                                                   b"a" * 499_999)),
            ("has a tensor under the int 0, where", self.saved({0: torch.ones(2)}, "int.pth")),
            ("has a tensor under the tuple", self.saved({(1, "a"): torch.ones(2)}, "tuple.pth")),
            ("has a tensor under the NoneType None, where",
             self.saved({"state_dict": {None: torch.ones(2), "w": torch.ones(1)}}, "none.pth")),
            ("cannot hold the name '__metadata__'",
             self.saved({"__metadata__": torch.ones(2)}, "meta.pth")),
            ("and stands for 400 GB of tensors that repeat or share memory, most of it 'w'",
             self.saved({"w": torch.zeros(1).expand(10**11)}, "expand.pth")),
            ("stands for 839 GB of .* most of it 'w0'",
             self.saved({f"w{i}": repeated.expand(1000, -1) for i in range(200)}, "shared.pth")),
            ("w is on the device meta, without values",
             self.saved({"w": torch.empty(10**11, device="meta")}, "device.pth")),
            ("that unpack to 210 MB", self.path("bomb.pth")),
            ("it has: 0.x1b.2J, .*, and 4990 more; --key", self.saved(names, "names.pth")),
            ("fifo.pth: cannot be read: is no regular file", self.path("fifo.pth")),
            ("folder.pth: cannot be read: is no regular file", self.path("folder.pth")),
        ]
        for pattern, path in cases:
            with self.subTest(pattern):
                self.refused(pattern, path, out)
        self.refused("fifo.safetensors: cannot be read: is no regular file",
                     self.path("fifo.safetensors"), self.path("out.pth"))

    def test_memory_stays_in_proportion_to_the_file(self):
        # A reader that believes a length in the pickle: bytearray(10**12).
        body = b"c__builtin__\nbytearray\n\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85R"
        self.refused("is no checkpoint|too much memory|holds more than tensors",
                     self.pickled("asks.pth", body), self.path("out.safetensors"))

    def test_what_is_odd_but_sound_is_converted(self):
        w = torch.arange(12.).reshape(3, 4)
        value = {"state_dict": {"w": w, "tied": w, "turned": w.t(), "row": w[0].expand(5, -1),
                                "none": w[:0], 7: "no tensor", "scalar": torch.tensor(2.)}}
        out = self.path("out.safetensors")
        text = self.convert(self.saved(value), out)
        self.assertIn("left out, since no tensors: int 7", text)
        self.assert_same(load_file(out), {n: t for n, t in value["state_dict"].items() if n != 7})

    def test_there_and_back_keeps_every_bit_and_the_order(self):
        state = {"b": torch.randn(3, 2, dtype=torch.float16), "a": torch.randn(2).bfloat16(),
                 "tied": torch.randn(4, 5).t(), "n": torch.tensor(7), "d": torch.randn(2).double(),
                 "none": torch.zeros(0, 3)}
        state["tied too"] = state["tied"]
        middle, back = self.path("middle.safetensors"), self.path("back.pt")
        self.convert(self.saved(state), middle)
        self.convert(middle, back)
        self.assert_same(torch.load(back, weights_only=True), state)
        # Weft's own files are in the order of the network's state.
        done = self.path("run/weights.safetensors")
        self.weft("train", "--model", "cifar_resnet20", "--data-path", "synthetic:3x32x32:4:16",
                  "-b", 16, "--max-steps", 1, "--output-dir", self.path("run"))
        self.convert(done, back)
        self.assertEqual(list(torch.load(back, weights_only=True)), list(self.state))

    def test_pytorch_loads_the_files_of_the_command_strictly(self):
        for model, args in (("cifar_resnet20", []), ("squeezenet1_1", ["--model-arg", "dropout=0"]),
                            ("fmnist_cnn", [])):
            with self.subTest(model):
                run, images = self.path(f"run-{model}"), torch.randn(5, 3, 32, 32)
                self.weft("train", "--model", model, "--data-path", "synthetic:3x32x32:4:16", "-b",
                          16, "--max-steps", 2, "--output-dir", run, *args)
                weights = os.path.join(run, "weights.safetensors")
                net = torch_models.MODELS[model].create(num_classes=4, channels=3, size=32)
                net.load_state_dict(load_file(weights), strict=True)
                self.assertEqual(sorted(load_file(weights)), sorted(net.state_dict()))
                with safe_open(weights, "pt") as f:
                    meta = f.metadata()
                self.assertEqual((meta["format"], meta["weft.model"]), ("pt", model))
                self.assert_same_logits(net, weights, images)

    def assert_same_logits(self, net, weights, images, *args):
        """Of the network in PyTorch and of `weft predict` with the file. Sums differ in order."""
        save_file({"images": images}, self.path("images.safetensors"))
        self.weft("predict", "--weights", weights, "--input", self.path("images.safetensors"),
                  "--output", self.path("logits.safetensors"), *args)
        have = load_file(self.path("logits.safetensors"))["logits"]
        with torch.no_grad():
            want = net.eval()(images)
        worst = float((have - want).abs().max() / want.abs().max())
        self.assertLess(worst, 1e-4)

    def test_a_converted_checkpoint_needs_no_flags_in_weft(self):
        with torch.no_grad():
            for name, t in self.net.named_buffers():
                if name.endswith("running_var"):
                    t.uniform_(0.5, 2)
        half = {n: t.half() if t.is_floating_point() else t for n, t in self.state.items()}
        out = self.path("half.safetensors")
        self.convert(self.saved({"state_dict": {f"module.{n}": t for n, t in half.items()}}), out,
                     "--model", "cifar_resnet20", "--mean", "0.5,0.25,0.5", "--std", "1,0.5,2")
        with safe_open(out, "pt") as f:
            self.assertEqual(f.metadata(), {"format": "pt", "weft.model": "cifar_resnet20",
                                            "weft.mean": "0.5,0.25,0.5", "weft.std": "1,0.5,2"})
        self.net.load_state_dict({n: t.float() if t.is_floating_point() else t
                                  for n, t in half.items()})
        self.assert_same_logits(self.net, out, torch.randn(4, 3, 32, 32))
        images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
        shift = torch.tensor([0.5, 0.25, 0.5]).view(3, 1, 1), torch.tensor([1, 0.5, 2]).view(3, 1, 1)
        save_file({"images": images}, self.path("images.safetensors"))
        self.weft("predict", "--weights", out, "--input", self.path("images.safetensors"),
                  "--output", self.path("logits.safetensors"))
        have = load_file(self.path("logits.safetensors"))["logits"]
        with torch.no_grad():
            want = self.net.eval()((images / 255 - shift[0]) / shift[1])
        self.assertLess(float((have - want).abs().max() / want.abs().max()), 1e-4)

    def test_a_networks_own_options_are_in_the_converted_file(self):
        """As torchvision's GoogLeNet needs: its images are normalised otherwise."""
        net = torch_models.MODELS["googlenet"].create(num_classes=4, channels=3, size=32,
                                                      transform_input=True)
        out = self.path("googlenet.safetensors")
        self.convert(self.saved(net.state_dict()), out, "--model", "googlenet", "--model-arg",
                     "transform_input=true", "--model-arg", "dropout=0.1")
        with safe_open(out, "pt") as f:
            self.assertEqual(f.metadata()["weft.model_args"], "transform_input=true,dropout=0.1")
        self.assert_same_logits(net, out, torch.randn(4, 3, 32, 32))

    def test_fine_tuning_moves_what_pytorchs_does(self):
        """Two steps of SGD with layers frozen, and BatchNorm in either mode."""
        frozen = ("conv1.", "layer1.")
        images, labels = torch.randn(32, 3, 32, 32), torch.arange(32) % 4
        save_file({"images": images, "labels": labels}, self.path("data.safetensors"))
        save_file({n: t.clone() for n, t in self.state.items()}, self.path("start.safetensors"))
        for mode in ([], ["--freeze-bn"]):
            self.weft("train", "--model", "cifar_resnet20", "--weights",
                      self.path("start.safetensors"), "--data-path", self.path("data.safetensors"),
                      "-b", 16, "--no-shuffle", "--no-augment", "--opt", "sgd", "--momentum", 0.9,
                      "--wd", 5e-4, "--lr", 1e-3, "--lr-scheduler", "constant",
                      "--lr-warmup-epochs", 0, "--epochs", 1, "--freeze", "conv1,layer1.*", *mode,
                      "--overwrite", "--output-dir", self.path("tuned"))
            have = load_file(self.path("tuned/weights.safetensors"))
            want = self.tuned(images, labels, frozen, bool(mode))
            moved = 0
            for name, before in self.state.items():
                update = float((want[name] - before).abs().max())
                error = float((have[name] - want[name]).abs().max())
                with self.subTest(name, mode=mode):
                    # Rounding, Winograd's above all, and a ReLU that it opens or shuts reach some
                    # hundredths of the largest update; a layer that is not frozen, or a BatchNorm
                    # in the other mode, all of it. Zero where nothing moves.
                    self.assertLessEqual(error, 0.1 * update)
                moved += update > 0
            self.assertGreater(moved, 30)

    def tuned(self, images, labels, frozen, freeze_bn):
        """The state after two steps in PyTorch."""
        net = copy.deepcopy(self.net).train()
        for name, p in net.named_parameters():
            p.requires_grad_(not name.startswith(frozen))
        for m in net.modules():
            m.train(m.training and not (freeze_bn and isinstance(m, torch.nn.BatchNorm2d)))
        sgd = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-3,
                              momentum=0.9, weight_decay=5e-4)
        for x, y in zip(images.split(16), labels.split(16)):
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            sgd.step()
        return net.state_dict()


if __name__ == "__main__":
    counted.main()
