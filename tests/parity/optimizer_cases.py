"""The optimizer cases of layer_cases.py, and plain references of those that PyTorch does not have:
written from the papers, with timm's choices where these leave one."""

import torch


class Reference(torch.optim.Optimizer):
    """Calls self.update(p, g, state, **options) for each parameter, with `step` counted from 1."""
    defaults = {}

    def __init__(self, params, **options):
        super().__init__(params, self.defaults | options)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            options = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                state = self.state[p]
                state["step"] = state.get("step", 0) + 1
                p.copy_(self.update(p.clone(), p.grad.clone(), state, **options))


def trust(numerator, denominator):
    return numerator / denominator if numerator > 0 and denominator > 0 else 1.0


class Lamb(Reference):
    """You et al. 2020, algorithm 2 with bias correction; timm's Lamb with max_grad_norm=None."""
    defaults = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.01}

    def update(self, p, g, state, lr, betas, eps, weight_decay):
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
        m, v = m / (1 - betas[0] ** state["step"]), v / (1 - betas[1] ** state["step"])
        u = m / (v.sqrt() + eps) + weight_decay * p
        ratio = trust(p.norm(), u.norm()) if weight_decay != 0 else 1.0
        return p - lr * ratio * u


class Lars(Reference):
    """You et al. 2017, with momentum behind the ratio, as timm's Lars."""
    defaults = {"lr": 1.0, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0,
                "nesterov": False, "trust_coefficient": 0.001, "eps": 1e-8}

    def update(self, p, g, state, lr, momentum, dampening, weight_decay, nesterov,
               trust_coefficient, eps):
        ratio = 1.0
        if weight_decay != 0 and p.norm() > 0 and g.norm() > 0:
            ratio = trust_coefficient * p.norm() / (g.norm() + weight_decay * p.norm() + eps)
        d = ratio * (g + weight_decay * p)
        if momentum != 0:
            b = state["b"] = momentum * state["b"] + (1 - dampening) * d if "b" in state else d
            d = d + momentum * b if nesterov else b
        return p - lr * d


class Lion(Reference):
    """Chen et al. 2023, program 1."""
    defaults = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0}

    def update(self, p, g, state, lr, betas, weight_decay):
        m = state.get("m", torch.zeros_like(g))
        state["m"] = betas[1] * m + (1 - betas[1]) * g
        return p - lr * (torch.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)


class RMSpropTF(Reference):
    """TensorFlow's: epsilon inside the root, a square that begins at 1, the rate in the momentum."""
    defaults = {"lr": 0.01, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0,
                "centered": False}

    def update(self, p, g, state, lr, alpha, eps, weight_decay, momentum, centered):
        g = g + weight_decay * p
        square = state["q"] = alpha * state.get("q", torch.ones_like(g)) + (1 - alpha) * g * g
        if centered:
            mean = state["a"] = alpha * state.get("a", 0) + (1 - alpha) * g
            square = square - mean * mean
        d = lr * g / (square + eps).sqrt()
        if momentum != 0:
            d = state["b"] = momentum * state.get("b", 0) + d
        return p - d


def make(call, params, options):
    """The optimizer of PyTorch, or a reference."""
    betas = {"betas": (options["beta1"], options["beta2"])} if "beta1" in options else {}
    plain = {k: v for k, v in options.items() if k not in ("beta1", "beta2")}
    return (globals().get(call) or getattr(torch.optim, call))(params, **plain, **betas)


CASES = (
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.7, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.0}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.7, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.01, "beta1": 0.0, "beta2": 0.999}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.0}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.0, "eps": 0.0}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 0.0316, "momentum": 0.9, "weight_decay": 1e-5}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 0.1, "momentum": 0.5, "centered": True}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 0.1, "centered": True}),
    ("RMSpropTF", {"lr": 0.01, "alpha": 0.9, "eps": 0.001, "momentum": 0.9, "weight_decay": 1e-5}),
    ("RMSpropTF", {"lr": 0.01, "alpha": 0.9, "eps": 0.001}),
    ("RMSpropTF", {"lr": 0.01, "alpha": 0.9, "eps": 0.1, "centered": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.01,
                 "initial_accumulator_value": 0.1}),
    ("Lamb", {"lr": 0.01}),
    ("Lamb", {"lr": 0.02, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.99, "eps": 1e-4}),
    ("Lamb", {"lr": 0.01, "weight_decay": 0.0}),
    ("Lars", {"lr": 1.0, "momentum": 0.9, "weight_decay": 1e-3, "trust_coefficient": 0.02}),
    ("Lars", {"lr": 1.0, "momentum": 0.9, "weight_decay": 1e-3, "trust_coefficient": 0.02,
              "nesterov": True}),
    ("Lars", {"lr": 0.1, "momentum": 0.5, "dampening": 0.3}),
    ("Lion", {"lr": 0.01}),
    ("Lion", {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.95, "beta2": 0.98}),
)
