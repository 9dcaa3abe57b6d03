"""What the same work costs in PyTorch, eager, on CPU: functions and rows, optimisers, LSTMs over
pictures, and a step of a small net. The rows are those of the criterion groups `elementwise`,
`optim`, `recurrent` and `tape`.

    T=2 python benches/peers.py [elementwise] [optim] [recurrent] [tape]

T sets the threads. With one thread `elementwise` works on 16,384 numbers, else on 8 million.
Each line is a median. Needs PyTorch, which nothing else here does."""

import os
import sys
import time

import torch
import torch.nn.functional as F

THREADS = int(os.environ.get("T", "2"))
torch.set_num_threads(THREADS)


def median(f, seconds=0.6):
    """Seconds that `f` takes, after two calls that do not count."""
    f()
    f()
    times = []
    while len(times) < 5 or (sum(times) < seconds and len(times) < 3000):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def report(name, f):
    print(f"{name}: {median(f) * 1e6:.2f} us", flush=True)


def elementwise():
    n = 16384 if THREADS == 1 else 8 << 20
    x = 3 * torch.sin(torch.arange(n) * 0.37)
    y = torch.empty_like(x)
    rows, g = x.view(-1, 64), torch.randn(n // 64, 64)
    gain, bias = torch.ones(64, requires_grad=True), torch.zeros(64, requires_grad=True)
    classes, bits = torch.randint(0, 64, (n // 64,)), (x > 0).float()
    with torch.no_grad():
        report("relu", lambda: torch.clamp_min(x, 0, out=y))
        report("exp", lambda: torch.exp(x, out=y))
        report("log", lambda: torch.log(x, out=y))
        report("tanh", lambda: torch.tanh(x, out=y))
        report("sigmoid", lambda: torch.sigmoid(x, out=y))
        report("softplus", lambda: F.softplus(x))
        report("gelu", lambda: F.gelu(x))
        report("batch norm", lambda: F.batch_norm(rows, None, None, gain, bias, True))
        report("layer norm", lambda: F.layer_norm(rows, (64,), gain, bias))
        report("bce with logits",
               lambda: F.binary_cross_entropy_with_logits(x, bits, reduction="none"))
        report("cross entropy", lambda: F.cross_entropy(rows, classes, reduction="none"))
    leaf = rows.clone().requires_grad_()
    out = F.layer_norm(leaf, (64,), gain, bias)
    report("layer norm gradient",
           lambda: torch.autograd.grad(out, (leaf, gain, bias), g, retain_graph=True))


def optim():
    p = torch.randn(4 << 20, requires_grad=True)
    p.grad = torch.randn_like(p)
    report("adam", torch.optim.Adam([p], 1e-3).step)
    report("adam, fused", torch.optim.Adam([p], 1e-3, fused=True).step)
    report("adamw, fused", torch.optim.AdamW([p], 1e-3, fused=True).step)
    report("rmsprop", torch.optim.RMSprop([p], 1e-3).step)


def recurrent():
    """16 pictures of 28 x 28: a loop over rows, or over the columns of a picture whose rows are
    skewed. The input's part of the gates is given; both directions of a diagonal layer are one
    batch, which shares the weights."""
    for kind, steps, pictures, taps in (("row", 28, 16, 3), ("diagonal", 55, 32, 2)):
        for channels in (16, 64):
            x = torch.randn(steps, pictures, 4 * channels, 28, requires_grad=True)
            w = (0.1 * torch.randn(4 * channels, channels, taps)).requires_grad_()

            def run():
                h = torch.zeros(pictures, channels, 28)
                c, out = torch.zeros_like(h), []
                for step in x:
                    seen = F.pad(h, (1, 1 if kind == "row" else 0))
                    i, f, o, g = (step + F.conv1d(seen, w)).chunk(4, 1)
                    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                    h = torch.sigmoid(o) * torch.tanh(c)
                    out.append(h)
                return torch.stack(out)

            name = f"{kind}, {channels} channels"
            gh = torch.randn(steps, pictures, channels, 28)
            with torch.no_grad():
                report(f"{name}, forward", run)
            report(f"{name}, with gradients", lambda: torch.autograd.grad(run(), (x, w), gh))


def tape():
    net = torch.nn.Sequential(
        torch.nn.Linear(20, 24), torch.nn.ReLU(), torch.nn.Linear(24, 20))
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    x, target = torch.randn(4, 20), torch.randn(4, 20)

    def step():
        adam.zero_grad()
        (net(x) - target).square().sum().div(4).backward()
        adam.step()

    report("step of 1,004 parameters", step)


for group in sys.argv[1:] or ["elementwise", "optim", "recurrent", "tape"]:
    globals()[group]()
