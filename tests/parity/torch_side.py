#!/usr/bin/env python3
"""PyTorch's half of test_parity.py. Prints one JSON object.

    torch_side.py train --model M --dir D --steps N --recipe JSON [--batch B] [--shape C,H,W]
        writes D/init.safetensors and D/data.safetensors, trains, prints the losses; with
        --both from the same weights once more, under autocast to bfloat16: "bf16_losses"
    torch_side.py averages --model M --dir D --weights F
        compares the averages that training left in D with those of F
    torch_side.py logits --model M --dir D --weights F
        compares D/logits.safetensors with the logits of F for D/data.safetensors
"""

import argparse
import json
import os
import sys

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import torch_models  # noqa: E402

def make_data(n, shape, classes):
    g = torch.Generator().manual_seed(7)
    labels = torch.randint(0, classes, (n,), generator=g)
    patterns = torch.randn((classes, *shape), generator=g)
    images = patterns[labels] + 0.5 * torch.randn((n, *shape), generator=g)
    return images.contiguous(), labels


def groups(model, r):
    """As torchvision's set_weight_decay with norm_weight_decay alone."""
    if "norm_wd" not in r:
        return model.parameters()
    norms, others = [], []
    for module in model.modules():
        norm = isinstance(module, (torch.nn.BatchNorm2d, torch.nn.LayerNorm, torch.nn.GroupNorm))
        (norms if norm else others).extend(module.parameters(recurse=False))
    return [{"params": others}, {"params": norms, "weight_decay": r["norm_wd"]}]


def make_optimizer(model, r):
    if r["opt"] == "adamw":
        return torch.optim.AdamW(groups(model, r), lr=r["lr"], weight_decay=r["wd"])
    return torch.optim.SGD(groups(model, r), lr=r["lr"], momentum=r["momentum"],
                           weight_decay=r["wd"], nesterov=r["opt"] == "sgd_nesterov")


def make_averages(model, r):
    """As torchvision's ExponentialMovingAverage."""
    if "ema" not in r:
        return None
    decay = r["ema"]
    return torch.optim.swa_utils.AveragedModel(
        model, avg_fn=lambda average, value, n: decay * average + (1 - decay) * value,
        use_buffers=True)


def create(name, options=None):
    return torch_models.MODELS[name].create(**(options or {}))


def steps(args, model, images, labels, recipe, bf16):
    """The losses of the steps."""
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=recipe["smoothing"])
    optimizer, averages = make_optimizer(model, recipe), make_averages(model, recipe)
    group = recipe.get("accumulate", 1)
    losses = []
    for i in range(args.steps * group):
        if i % group == 0:
            optimizer.zero_grad()
            losses.append(0)
        part = slice(i * args.batch, (i + 1) * args.batch)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = loss_of(model(images[part]), labels[part])
        (loss / group).backward()
        losses[-1] += loss.item() / group
        if i % group < group - 1:
            continue
        if "clip" in recipe:
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["clip"])
        optimizer.step()
        if averages:
            averages.update_parameters(model)
    if averages:
        save_file({k: v.clone().contiguous() for k, v in averages.module.state_dict().items()},
                  os.path.join(args.dir, "averages.safetensors"))
    return losses


def averages(args):
    """Compares weights_ema.safetensors of Weft with what training here has left."""
    want = load_file(os.path.join(args.dir, "averages.safetensors"))
    got = load_file(args.weights)
    errors = [((got[k] - v).abs().max() / v.abs().max().clamp(min=1)).item() for k, v in want.items()]
    return {"same_names": sorted(want) == sorted(got), "max_error": max(errors)}


def train(args):
    recipe = json.loads(args.recipe)
    shape = tuple(map(int, args.shape.split(",")))
    torch.manual_seed(1)
    model = create(args.model, {"num_classes": 10, "size": shape[1]})
    images, labels = make_data(args.batch * args.steps * recipe.get("accumulate", 1), shape, 10)
    init = {k: v.clone().contiguous() for k, v in model.state_dict().items()}
    save_file(init, os.path.join(args.dir, "init.safetensors"))
    save_file({"images": images, "labels": labels}, os.path.join(args.dir, "data.safetensors"))
    result = {"losses": steps(args, model, images, labels, recipe, False)}
    if args.both:
        model.load_state_dict(init)
        result["bf16_losses"] = steps(args, model, images, labels, recipe, True)
    return result


def logits(args):
    model = create(args.model)
    model.load_state_dict(load_file(args.weights), strict=True)
    model.eval()
    images = load_file(os.path.join(args.dir, "data.safetensors"))["images"]
    with torch.no_grad():
        want = model(images)
    got = load_file(os.path.join(args.dir, "logits.safetensors"))["logits"]
    return {"max_error": (got - want).abs().max().item(), "max_logit": want.abs().max().item()}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["train", "logits", "averages"])
    p.add_argument("--model", required=True)
    p.add_argument("--dir", required=True)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--recipe")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--shape", default="1,28,28")
    p.add_argument("--both", action="store_true")
    p.add_argument("--weights")
    args = p.parse_args()
    torch.set_num_threads(2)
    print(json.dumps({"train": train, "logits": logits, "averages": averages}[args.what](args)))


main()
