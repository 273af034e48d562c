# SPDX-License-Identifier: Apache-2.0
"""Single-stage fine-tuning: calibration of the polynomials layer by layer, then the whole network at once."""
import csv
import math
import os
import time

import numpy as np
import torch
from torch.nn import functional as F

import images
from network import UPPER, PolynomialActivation

CALIBRATION_BATCH = 128
SAMPLES = 50000  # of each channel in a fit: more change nothing


# ---- calibration ------------------------------------------------------------------------------------

def running_maximum(x):
    """Per channel: max |x| of every batch, joined by M <- 0.9 M + 0.1 max"""
    bound = None
    for part in x.split(CALIBRATION_BATCH):
        m = part.abs().amax((0, 2, 3))
        bound = m if bound is None else 0.9 * bound + 0.1 * m
    return bound


def fit(part, x, target, tail):
    """Least squares, for each channel, of p(x/s) on target/s over the data, plus `tail` times the distance
    to the starting polynomial over the whole interval: where there are no data the function stays known."""
    bound = running_maximum(x)
    # a channel that is nearly constant must not get a steep polynomial
    part.bound.copy_(torch.maximum(bound, 0.1 * bound.median()) + UPPER * 1e-3)
    s = part.scale().double().view(-1, 1)
    channels, limit = x.shape[1], part.bound.view(1, -1, 1, 1)
    stride = max(1, x[:, 0].numel() // SAMPLES) | 1  # odd: no column of the picture is preferred
    t, y = (v.transpose(0, 1).reshape(channels, -1)[:, ::stride].double() / s
            for v in (torch.clamp(x, -limit, limit), target))
    if part.degree == 4:
        y = y - part.fixed[1].double().view(-1, 1) * t**4
    u = torch.linspace(-UPPER, UPPER, 401, dtype=torch.float64, device=x.device)
    v, w = torch.stack([t**k for k in range(3)], 2), torch.stack([u**k for k in range(3)], 1)
    prior = w.t() @ w * (tail / len(u))
    gram = v.transpose(1, 2) @ v / t.shape[1] + prior
    right = (v.transpose(1, 2) @ y.unsqueeze(2)) / t.shape[1] + prior @ part.trained.t().double().unsqueeze(2)
    part.trained.copy_(torch.linalg.solve(gram, right).squeeze(2).t().float())


def _in_batches(part, inputs):
    return torch.cat([part(*x) for x in zip(*(v.split(256) for v in inputs))])


@torch.no_grad()
def calibrate(teacher, student, pictures, tail):
    """Both networks advance layer by layer. The student's batch norms get the statistics of its own inputs
    and each polynomial is fitted to what the teacher's function gives there, so that the error of the
    layers before is made good and not added up."""
    teacher.eval(), student.eval()
    x = student.normalise(pictures)
    values = {"input": (x, x)}
    for i, layer in enumerate(student.model.layers):
        old, new = teacher.modules_by_name[layer.name], student.modules_by_name[layer.name]
        y = _in_batches(old, [values[name][0] for name in layer.inputs])
        z = [values[name][1] for name in layer.inputs]
        if isinstance(new, torch.nn.BatchNorm2d):
            new.running_mean.copy_(z[0].mean((0, 2, 3)))
            new.running_var.copy_(z[0].var((0, 2, 3)))
        if isinstance(new, PolynomialActivation):
            fit(new, z[0], y, tail)
            limit = new.bound.view(1, -1, 1, 1)
            z = [torch.clamp(z[0], -limit, limit)]
        values[layer.name] = (y, _in_batches(new, z))
        for name in layer.inputs:
            if student.uses[name] == i:
                values.pop(name, None)


# ---- evaluation -------------------------------------------------------------------------------------

@torch.no_grad()
def evaluate(network, data, track=False, batch=500):
    """Accuracy without any clamp; with `track` the ranges are noted and the second result is the share of
    images that leave the box somewhere, the third how many have finite logits."""
    network.eval()
    right = outside = finite = 0
    parts = [part for _, part in network.activations()]
    for part in parts:
        part.track = track
        if track:
            part.seen[0].fill_(math.inf), part.seen[1].fill_(-math.inf)
    for pictures, labels in zip(data[0].split(batch), data[1].split(batch)):
        logits = network(network.normalise(pictures))
        right += (logits.argmax(1).cpu() == labels).sum().item()
        finite += torch.isfinite(logits).all(1).sum().item()
        if track:
            outside += torch.stack([part.outside for part in parts]).any(0).sum().item()
    for part in parts:
        part.track = False
    n = len(data[1])
    return (right / n, outside / n, finite) if track else right / n


def worst_overshoot(network):
    """max |x| / M over all channels in the last tracked evaluation"""
    return max((part.seen.abs().amax(0) / part.bound).max().item() for _, part in network.activations())


# ---- the loss ---------------------------------------------------------------------------------------

def feature_layers(network, shapes):
    """The last activation of each size of picture"""
    last = {}
    for name, _ in network.activations():
        last[shapes[name]] = name
    return list(last.values())


class Loss:
    def __init__(self, options, features):
        self.options, self.features = options, features

    def __call__(self, student, teacher, x, labels, progress):
        o = self.options
        logits, kept = student(x, self.features)
        parts = {"box": sum(torch.log1p(30 * part.overflow) for _, part in student.activations())}
        strength = o.box * (0.2 + 0.8 * min(1.0, progress / 0.8))
        parts["ce"] = F.cross_entropy(logits, labels)
        if not o.distil:
            return parts["ce"] + strength * parts["box"], parts
        with torch.no_grad():
            wanted, wanted_kept = teacher(x, self.features)
        heat = o.temperature
        parts["kd"] = F.kl_div(F.log_softmax(logits / heat, 1), F.softmax(wanted / heat, 1),
                               reduction="batchmean") * heat**2
        parts["features"] = sum(F.mse_loss(a, b) / b.square().mean() for a, b in zip(kept, wanted_kept)) / len(kept)
        loss = o.alpha * parts["kd"] + (1 - o.alpha) * parts["ce"] + o.features * parts["features"]
        return loss + strength * parts["box"], parts


# ---- the training loop ------------------------------------------------------------------------------

COLUMNS = ["epoch", "seconds", "cpu_seconds", "lr", "loss", "kd", "ce", "features", "box", "held_back_accuracy",
           "test_accuracy", "overshoot", "outside", "finite"]


def parameter_groups(student, options):
    polynomials = [part.trained for _, part in student.activations()]
    known = {id(p) for p in polynomials}
    rest = [p for p in student.parameters() if id(p) not in known]
    return [{"params": polynomials, "factor": 0.1, "weight_decay": 0.0},
            {"params": [p for p in rest if p.dim() > 1], "factor": 1.0, "weight_decay": options.weight_decay},
            {"params": [p for p in rest if p.dim() <= 1], "factor": 1.0, "weight_decay": 0.0}]


class Training:
    """Everything that a checkpoint holds. All randomness of an epoch comes from (seed, epoch), so that a
    resumed run continues as if it had never stopped."""

    def __init__(self, options, teacher, student, data, held_back, test, shapes):
        self.options, self.teacher, self.student = options, teacher, student
        self.data, self.held_back, self.test = data, held_back, test
        self.loss = Loss(options, feature_layers(student, shapes))
        self.optimiser = torch.optim.SGD(parameter_groups(student, options), options.lr, momentum=0.9, nesterov=True)
        self.epoch, self.rows = 0, []
        self.average = {k: v.clone() for k, v in student.state_dict().items()}
        self.steps = len(data[1]) // options.batch
        if self.steps == 0:
            raise images.DataError("only %d images to train on: fewer than one batch of %d"
                                   % (len(data[1]), options.batch))

    # -- checkpoints --

    def save(self, path):
        state = {"student": self.student.state_dict(), "average": self.average, "epoch": self.epoch,
                 "optimiser": self.optimiser.state_dict(), "rows": self.rows, "epochs": self.options.epochs}
        torch.save(state, path + ".new")
        os.replace(path + ".new", path)

    def restore(self, path):
        state = torch.load(path, map_location=next(self.student.parameters()).device)
        self.student.load_state_dict(state["student"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.epoch, self.rows = state["average"], state["epoch"], state["rows"]

    # -- one epoch --

    def schedule(self, step):
        """Cosine after 200 steps of warm-up; the box opens at 60 % and is gone from 85 % on; batch norm's
        statistics stay as they are from 70 % on."""
        done = step / (self.options.epochs * self.steps)
        rate = min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.lr * group["factor"] * rate
        factor = 1.0 if done < 0.6 else 1.5 if done < 0.85 else 0.0
        for _, part in self.student.activations():
            part.factor = factor
        self.student.train()
        if done >= 0.7:
            for part in self.student.parts:
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.eval()
        return done

    @torch.no_grad()
    def update_average(self, step):
        keep = min(0.998, (1 + step) / (10 + step))
        for name, value in self.student.state_dict().items():
            if value.is_floating_point():
                self.average[name].mul_(keep).add_(value, alpha=1 - keep)
            else:
                self.average[name].copy_(value)

    def one_step(self, step, pictures, labels):
        done = self.schedule(step)
        x = self.student.normalise(pictures)
        loss, parts = self.loss(self.student, self.teacher, x, labels.to(x.device), done)
        self.optimiser.zero_grad(set_to_none=True)
        if not torch.isfinite(loss):
            # one outlier that nothing clamps any more; the average is a network that has not met it
            self.student.load_state_dict(self.average)
            self.optimiser.state.clear()
            return None
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], self.options.clip)
        self.optimiser.step()
        self.update_average(step)
        return {"loss": loss.item(), **{k: v.item() for k, v in parts.items()}}

    def run_epoch(self):
        generator = np.random.default_rng([self.options.seed, self.epoch + 1])
        order = torch.from_numpy(generator.permutation(len(self.data[1])))
        sums, count, lost, began, cpu_began = {}, 0, 0, time.time(), time.process_time()
        for i in range(self.steps):
            chosen = order[i * self.options.batch:(i + 1) * self.options.batch]
            pictures = images.augment(self.data[0][chosen], generator, self.options.margin)
            parts = self.one_step(self.epoch * self.steps + i, pictures, self.data[1][chosen])
            if parts is None:
                lost += 1
                continue
            count += 1
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value
            if (i + 1) % 50 == 0:
                left = (time.time() - began) / (i + 1) * (self.steps * (self.options.epochs - self.epoch) - i - 1)
                print("  epoch %d, step %d of %d: loss %.3f, box %.3f; %.0f min left"
                      % (self.epoch + 1, i + 1, self.steps, sums["loss"] / count, sums["box"] / count, left / 60),
                      flush=True)
        self.epoch += 1
        if lost:
            print("  %d steps without a finite loss" % lost, flush=True)
        if count == 0:
            raise ArithmeticError("no step of epoch %d had a finite loss: lower --lr" % self.epoch)
        means = {k: v / count for k, v in sums.items()}
        return {**means, "cpu_seconds": time.process_time() - cpu_began}, time.time() - began

    # -- reports --

    def report(self, means, seconds):
        """Measures the averaged weights, which are those that are exported"""
        own = {k: v.clone() for k, v in self.student.state_dict().items()}
        self.student.load_state_dict(self.average)
        row = {"epoch": self.epoch, "seconds": round(seconds, 1), "lr": round(self.optimiser.param_groups[1]["lr"], 6)}
        row.update({k: round(v, 5) for k, v in means.items()})
        held, outside, finite = evaluate(self.student, self.held_back, True)
        row.update(held_back_accuracy=held, outside=outside, overshoot=round(worst_overshoot(self.student), 4),
                   finite=finite / len(self.held_back[1]))
        if self.test:
            row["test_accuracy"] = evaluate(self.student, self.test)
        self.student.load_state_dict(own)
        self.rows.append(row)
        print("epoch %d: %.0f s, loss %.3f, held back %.2f %%%s, largest |x|/M %.2f, outside %.2f %%"
              % (self.epoch, seconds, row.get("loss", 0), 100 * held,
                 ", test %.2f %%" % (100 * row["test_accuracy"]) if self.test else "", row["overshoot"],
                 100 * outside), flush=True)

    def write_csv(self, path):
        with open(path, "w", newline="") as f:
            writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def run(self, folder):
        while self.epoch < self.options.epochs:
            means, seconds = self.run_epoch()
            self.report(means, seconds)
            self.write_csv(os.path.join(folder, "training.csv"))
            self.save(os.path.join(folder, "checkpoint.pt"))
        self.student.load_state_dict(self.average)
