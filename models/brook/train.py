#!/usr/bin/env python3
"""Trains Brook from scratch on what encode.ts wrote: plain PyTorch, one process, seeded, resumable.

  python3 models/brook/train.py <folder> [--tokens 60e6] [--device cuda] [--minutes 170]

Reads <folder>/{train,valid}.{tokens,answers,lengths}; writes checkpoint.pt (everything needed to go
on), weights.bin with weights.json (float32, by the names of GGUF), and log.jsonl. Started again, it
goes on where the last checkpoint was made. held.pt is the last one before the learning rate fell:
put in the place of checkpoint.pt, it goes on to a larger --tokens as if nothing had ended.
"""

import argparse
import bisect
import ctypes
import json
import math
import os
import signal
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY, LAYERS, DIM, HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 4096, 6, 256, 4, 2, 64, 768
ROPE_BASE, EPSILON = 10_000.0, 1e-5
ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
CONSTANT = 8  # dimensions that start the same in every embedding
ROWS = (256, 512, 1024)  # tokens of a row: a sample goes into the shortest that holds it
BATCH = 4096  # tokens of a step
OPEN_ROWS = 64  # rows of a length that still take samples
MATRIX_RATE, OTHER_RATE = 0.003, 1e-3  # of Muon and of AdamW, at their highest
DECAY_FROM = 0.6  # of the tokens; before it a run can be made longer
ECHO_SHARE = 0.1  # about so many rows of a step repeat random tokens, until DECAY_FROM
PROMPT_SHARE = 0.05  # of the tokens that nobody answers with, chosen at random, count in the loss


# --- model: Llama, names as in GGUF ---------------------------------------------------------------


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * self.weight


def rotation(length, device):
    """cos and sin [length, HEAD_DIM / 2] of RoPE (Su et al. 2021)."""
    frequencies = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
    angles = torch.outer(torch.arange(length).float(), frequencies).to(device)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Rotates neighbouring pairs, as the architecture `llama` of GGUF has them. x [b, h, t, d]"""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def linear(n_in, n_out):
    layer = nn.Linear(n_in, n_out, bias=False)
    nn.init.normal_(layer.weight, std=n_in**-0.5)
    return layer


def joined(x, *layers):
    """What the layers make of x, side by side: one wide product is faster than several."""
    return F.linear(x, torch.cat([layer.weight for layer in layers]))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn_norm, self.ffn_norm = Norm(), Norm()
        self.attn_q = linear(DIM, HEADS * HEAD_DIM)
        self.attn_k = linear(DIM, KV_HEADS * HEAD_DIM)
        self.attn_v = linear(DIM, KV_HEADS * HEAD_DIM)
        self.attn_output = linear(HEADS * HEAD_DIM, DIM)
        self.ffn_gate = linear(DIM, HIDDEN)
        self.ffn_up = linear(DIM, HIDDEN)
        self.ffn_down = linear(HIDDEN, DIM)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        y = joined(self.attn_norm(x), self.attn_q, self.attn_k, self.attn_v)
        y = y.view(b, t, HEADS + 2 * KV_HEADS, HEAD_DIM).transpose(1, 2)
        q, k, v = y.split((HEADS, KV_HEADS, KV_HEADS), 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = HEADS // KV_HEADS
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = q @ k.transpose(-1, -2) * HEAD_DIM**-0.5 + mask
        y = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(b, t, HEADS * HEAD_DIM)
        x = x + self.attn_output(y)
        gate, up = joined(self.ffn_norm(x), self.ffn_gate, self.ffn_up).chunk(2, -1)
        return x + self.ffn_down(F.silu(gate) * up)


class Brook(nn.Module):
    def __init__(self):
        super().__init__()
        self.token_embd = nn.Embedding(VOCABULARY, DIM)
        nn.init.normal_(self.token_embd.weight, std=DIM**-0.5)
        self.blk = nn.ModuleList(Block() for _ in range(LAYERS))
        self.output_norm = Norm()
        wire_copying(self)

    def forward(self, tokens, mask, wanted):
        """Logits of the wanted positions of all rows, flattened: [n, VOCABULARY]"""
        cos, sin = rotation(tokens.shape[1], tokens.device)
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, cos, sin, mask)
        return F.linear(self.output_norm(x.flatten(0, 1)[wanted]), self.token_embd.weight)


def orthogonal_rows(n):
    """[n, DIM], of length 1, blind to the constant dimensions of the embedding."""
    rows = torch.zeros(n, DIM)
    rows[:, CONSTANT:] = torch.linalg.qr(torch.randn(DIM - CONSTANT, n))[0].T
    return rows


@torch.no_grad()
def wire_copying(model):
    """Starts the model with one head that looks at the token before (block 0) and one that finds
    where the present token stood before and says what followed (block 1): an induction head, which
    takes a model of this size millions of tokens to find (Olsson et al. 2022; structure as a start:
    Trockman and Kolter 2023, "Mimetic initialization"). Whatever else writes to the stream starts
    at nothing. Training changes all of it."""
    for block in model.blk:
        block.attn_output.weight.zero_()
        block.ffn_down.weight.zero_()
    embedding = model.token_embd.weight
    embedding[:, :CONSTANT] = 2 * DIM**-0.5
    embedding[:, CONSTANT:] = F.normalize(embedding[:, CONSTANT:]) * (1 - CONSTANT / DIM) ** 0.5
    token, before, said = (orthogonal_rows(HEAD_DIM) for _ in range(3))
    head = slice(0, HEAD_DIM)

    # The constant makes q and k the same for all tokens; their phases agree one position apart,
    # in the dimensions that turn fast.
    q, k, v, out = (getattr(model.blk[0], name).weight for name in ATTENTION)
    q[head], k[head] = 0, 0
    fast = 16
    theta = ROPE_BASE ** (-torch.arange(0, fast, 2).float() / HEAD_DIM)
    k[0:fast:2, :CONSTANT] = 8 / (2 * CONSTANT)
    q[0:fast:2, :CONSTANT] = 8 / (2 * CONSTANT) * theta.cos()[:, None]
    q[1:fast:2, :CONSTANT] = -8 / (2 * CONSTANT) * theta.sin()[:, None]
    v[head] = token
    out[:, head] = before.T / 6

    # Slow dimensions alone, so that distance hardly matters.
    q, k, v, out = (getattr(model.blk[1], name).weight for name in ATTENTION)
    q[head], k[head] = 0, 0
    slow = slice(24, HEAD_DIM)
    q[slow], k[slow] = 1.6 * token[slow], 1.6 * before[slow]
    v[head] = said
    out[:, head] = said.T * 0.3


# --- data: samples packed into rows ---------------------------------------------------------------


class Split:
    """Samples of a split, packed best-fit into rows. A sample sees only itself."""

    def __init__(self, folder, name):
        path = os.path.join(folder, name)
        self.tokens = np.fromfile(path + ".tokens", np.uint16)
        self.answers = np.fromfile(path + ".answers", np.uint8)
        self.lengths = np.fromfile(path + ".lengths", np.uint32).astype(np.int64)
        self.starts = np.concatenate(([0], np.cumsum(self.lengths)[:-1]))

    def rows(self, seed):
        """Lists of samples for each length of row, in an order that the seed gives."""
        rows = {size: [] for size in ROWS}
        open_rows = {size: [] for size in ROWS}  # (tokens left, samples), the fullest first
        for i in np.random.default_rng(seed).permutation(len(self.lengths)):
            length = int(self.lengths[i])
            size = next(size for size in ROWS if length <= size)
            waiting = open_rows[size]
            at = bisect.bisect_left(waiting, length, key=lambda one: one[0])
            left, row = waiting.pop(at) if at < len(waiting) else (size, [])
            bisect.insort(waiting, (left - length, [*row, i]), key=lambda one: one[0])
            if len(waiting) > OPEN_ROWS:
                rows[size].append(waiting.pop(0)[1])
        for size in ROWS:
            rows[size] += [row for _, row in open_rows[size]]
        return rows

    def batch(self, rows, size):
        """tokens, targets, kinds (0 none, 1 prompt, 2 answer, 3 echo), samples: all [BATCH / size,
        size], empty rows at the end."""
        shape = (BATCH // size, size)
        tokens, targets = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        kinds, owners = np.zeros(shape, np.int8), np.full(shape, -1, np.int64)
        for r, row in enumerate(rows):
            at = 0
            for i in row:
                start, n = self.starts[i], self.lengths[i]
                ids = self.tokens[start : start + n]
                tokens[r, at : at + n] = ids
                targets[r, at : at + n - 1] = ids[1:]
                answers = self.answers[start + 1 : start + n]
                kinds[r, at : at + n - 1] = 1 + answers
                owners[r, at : at + n] = i
                at += n
        return [torch.from_numpy(one) for one in (tokens, targets, kinds, owners)]


def echo(split, rng, count, size):
    """Rows of random tokens, each run of them said twice: what teaches a model to copy (Olsson et
    al. 2022, "In-context learning and induction heads"). As batch() gives them, the second time of
    kind 3."""
    tokens = split.tokens[rng.integers(0, len(split.tokens), (count, size))].astype(np.int64)
    kinds, owners = np.zeros((count, size), np.int8), np.zeros((count, size), np.int64)
    for r in range(count):
        at, owner = 0, 0
        while at < size:
            n = min(int(rng.integers(4, 64)), (size - at + 1) // 2)
            again = slice(at + n, min(at + 2 * n, size))
            tokens[r, again] = tokens[r, at : at + again.stop - again.start]
            kinds[r, at + n - 1 : again.stop - 1] = 3
            owners[r, at : again.stop] = owner
            at, owner = again.stop, owner + 1
    targets = np.roll(tokens, -1, 1)
    return [torch.from_numpy(one) for one in (tokens, targets, kinds, owners)]


def mask_of(owners):
    """0 where a token may look, -inf elsewhere: [b, 1, t, t]"""
    t = owners.shape[1]
    order = torch.arange(t, device=owners.device)
    may = (owners[:, :, None] == owners[:, None, :]) & (order[:, None] >= order)
    return torch.where(may, 0.0, float("-inf"))[:, None]


def losses(model, batch, amp, prompt_share):
    """Cross-entropy of the chosen positions, and their kinds."""
    device = model.output_norm.weight.device
    kinds = batch[2].flatten()
    chosen = (kinds >= 2) | ((kinds == 1) & (torch.rand(kinds.shape) < prompt_share))
    wanted = chosen.nonzero().squeeze(1)
    kinds = kinds[wanted].to(device)
    wanted = wanted.to(device)
    tokens, targets, owners = (batch[i].to(device) for i in (0, 1, 3))
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        logits = model(tokens, mask_of(owners), wanted)
    each = F.cross_entropy(logits.float(), targets.flatten()[wanted], reduction="none")
    return each, kinds


# --- optimizer ------------------------------------------------------------------------------------


def orthogonal(g, dtype, steps=5):
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrix (Jordan et al. 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (g / (g.norm() + 1e-7)).to(dtype)
    flipped = x.shape[0] > x.shape[1]
    x = x.T if flipped else x
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return (x.T if flipped else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal: for the matrices inside the blocks (Jordan et al. 2024)."""

    def __init__(self, params, lr, dtype, momentum=0.95, decay=0.05):
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                update = orthogonal(p.grad.add(m, alpha=group["momentum"]), self.dtype)
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def schedule(done):
    """Rises over the first hundredth, holds, falls to a fiftieth from DECAY_FROM on."""
    return min(1.0, done / 0.01 + 0.01, max(0.02, (1 - done) / (1 - DECAY_FROM)))


# --- the run --------------------------------------------------------------------------------------


@torch.no_grad()
def validate(model, split, amp, limit=4):
    """Perplexity of answers, and of everything."""
    rows = split.rows(0)
    sums = np.zeros(4)
    for size in ROWS:
        count = BATCH // size
        for at in range(0, min(len(rows[size]), limit * count), count):
            batch = split.batch(rows[size][at : at + count], size)
            each, kinds = losses(model, batch, amp, 1.0)
            is_answer = kinds == 2
            sums += each[is_answer].sum().item(), is_answer.sum().item(), each.sum().item(), len(each)
    return math.exp(sums[0] / sums[1]), math.exp(sums[2] / sums[3])


def save_weights(model, folder):
    index, at = {}, 0
    with open(os.path.join(folder, "weights.bin"), "wb") as out:
        for name, value in model.state_dict().items():
            data = value.float().cpu().contiguous().numpy()
            index[name] = {"offset": at, "shape": list(data.shape)}
            at += out.write(data.tobytes())
    with open(os.path.join(folder, "weights.json"), "w") as out:
        json.dump(index, out, indent=1)


def load_weights(model, folder):
    with open(os.path.join(folder, "weights.json")) as file:
        index = json.load(file)
    values = np.fromfile(os.path.join(folder, "weights.bin"), np.float32)
    state = {}
    for name, entry in index.items():
        start, shape = entry["offset"] // 4, entry["shape"]
        state[name] = torch.from_numpy(values[start : start + math.prod(shape)].reshape(shape))
    model.load_state_dict(state)


def batches(split, seed, epoch):
    """Batches of short and of long rows, mixed in proportion to their number."""
    rows = split.rows(seed + epoch)
    order = []
    for size in ROWS:
        count = BATCH // size
        order += [(size, rows[size][at : at + count]) for at in range(0, len(rows[size]), count)]
    np.random.default_rng(seed + 1000 + epoch).shuffle(order)
    return order


def keep_memory():
    """Lets glibc keep what tensors free: giving it back costs a page fault per 4 KiB each step."""
    trim_threshold, mmap_max = -1, -4
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--tokens", type=float, default=60e6)
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", help="folder of weights to start from, as save_weights left them")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 in matrix products")
    args = parser.parse_args()
    keep_memory()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    amp = not args.float32

    train, valid = Split(args.folder, "train"), Split(args.folder, "valid")
    model = Brook().to(args.device)
    for block in model.blk:
        block.compile(dynamic=False)
    matrices = [p for p in model.blk.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim == 1] + [model.token_embd.weight]
    optimizers = [
        Muon(matrices, lr=MATRIX_RATE, dtype=torch.bfloat16 if amp else torch.float32),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    rates = [MATRIX_RATE, OTHER_RATE]
    if args.start:
        load_weights(model, args.start)
    path = os.path.join(args.folder, "checkpoint.pt")
    state = {"step": 0, "tokens": 0, "epoch": 0, "place": 0, "seconds": 0.0, "fell": False}
    if os.path.exists(path):
        saved = torch.load(path, map_location=args.device)
        model.load_state_dict(saved["model"])
        for optimizer, value in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(value)
        state |= saved["state"]
    log = open(os.path.join(args.folder, "log.jsonl"), "a")
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {train.tokens.size} tokens,"
          f" from step {state['step']}", flush=True)

    def save():
        checkpoint = {
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "state": state,
        }
        for to in [path] if state["fell"] else [path, os.path.join(args.folder, "held.pt")]:
            torch.save(checkpoint, to + ".part")
            os.replace(to + ".part", to)
        save_weights(model, args.folder)

    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    started, before = time.time(), state["seconds"]
    order = batches(train, args.seed, state["epoch"])
    recent = {2: [], 3: []}
    while state["tokens"] < args.tokens and not stop and time.time() - started < 60 * args.minutes:
        if state["place"] >= len(order):
            state["epoch"], state["place"] = state["epoch"] + 1, 0
            order = batches(train, args.seed, state["epoch"])
        size, rows = order[state["place"]]
        batch = train.batch(rows, size)
        done = state["tokens"] / args.tokens
        if done < DECAY_FROM:
            count = round(len(batch[0]) * ECHO_SHARE / (1 - ECHO_SHARE))
            echoes = echo(train, np.random.default_rng(args.seed + state["step"]), count, size)
            batch = [torch.cat(pair) for pair in zip(batch, echoes)]
        else:
            state["fell"] = True
        rate = schedule(done)
        for optimizer, base in zip(optimizers, rates):
            for group in optimizer.param_groups:
                group["lr"] = base * rate
        torch.manual_seed(args.seed + state["step"])  # so that a run that goes on draws the same
        each, kinds = losses(model, batch, amp, PROMPT_SHARE)
        each.mean().backward()
        nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for kind, values in recent.items():
            values += each.detach()[kinds == kind].tolist()
        state["step"] += 1
        state["place"] += 1
        state["tokens"] += int(((batch[2] == 1) | (batch[2] == 2)).sum())
        state["seconds"] = before + time.time() - started
        if state["step"] % 20 == 0:
            entry = {**state, "rate": rate}
            for kind, name in ((2, "loss"), (3, "echo")):
                if recent[kind]:
                    entry[name] = round(sum(recent[kind]) / len(recent[kind]), 4)
                recent[kind] = []
            if state["step"] % 200 == 0:
                entry["answers"], entry["all"] = validate(model, valid, amp)
                save()
            log.write(json.dumps(entry) + "\n")
            log.flush()
            print(json.dumps(entry), flush=True)
    save()
    if not stop:
        print("validation perplexity of answers and of all:", validate(model, valid, amp, 10**9))


main()
