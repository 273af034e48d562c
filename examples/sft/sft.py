#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a network with ReLU or SiLU computable under encryption: polynomials of degree 2 or 4 in their
place, one stage of fine-tuning, and a model file and weights that `weft build` accepts."""
import argparse
import os
import sys
import time

# waiting threads sleep: on a machine that others use too, spinning ones cost four times as long
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

import export
import images
import plot
import tensors
import training
from model import Model, ModelError
from network import Network, channel_counts, substitute


def parse_options(arguments):
    p = argparse.ArgumentParser(prog="sft.py", description=__doc__)
    p.add_argument("model", metavar="MODEL.yaml", help="the network; its weights are those that it names")
    p.add_argument("data", metavar="DATA", help="folder with data_batch_*.bin and test_batch.bin (CIFAR's binary "
                   "records), or with train/CLASS/*.png and test/CLASS/*.png")
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="checkpoint, model.yaml, weights and reports")
    p.add_argument("--degree", type=int, choices=(2, 4), default=2)
    p.add_argument("--basis", choices=("hermite", "legendre"), default="hermite", help="of the starting polynomial")
    p.add_argument("--headroom", type=float, help="interval of the polynomial by the range of the data "
                   "(default: 1 for degree 2, 1.5 for degree 4)")
    p.add_argument("--padding-mode", choices=("zeros", "circular", "spiral"), help="of all convolutions with padding")
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=0.03)
    p.add_argument("--weight-decay", type=float, default=1e-4)
    p.add_argument("--clip", type=float, default=5.0, help="largest norm of a gradient")
    p.add_argument("--no-distil", dest="distil", action="store_false", help="no teacher: cross entropy alone")
    p.add_argument("--temperature", type=float, default=3.0, help="of distillation")
    p.add_argument("--alpha", type=float, default=0.9, help="weight of distillation beside cross entropy")
    p.add_argument("--features", type=float, default=0.3, help="weight of the distance between feature maps")
    p.add_argument("--box", type=float, default=0.05, help="weight of the penalty on inputs outside of the range")
    p.add_argument("--tail", type=float, default=0.05, help="weight of the starting polynomial in the first fit")
    p.add_argument("--calibration", type=int, default=2048, metavar="N", help="images of the first fit")
    p.add_argument("--held-back", type=int, default=2000, metavar="N", help="training images that are not trained on")
    p.add_argument("--margin", type=int, default=4, help="pixels that training pictures are moved by at most")
    p.add_argument("--limit", type=int, metavar="N", help="only the first N training and test images")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--resume", action="store_true", help="continue from DIR/checkpoint.pt")
    o = p.parse_args(arguments)
    o.headroom = o.headroom or (1.5 if o.degree == 4 else 1.0)
    if min(o.epochs, o.batch, o.calibration, o.held_back, o.threads) < 1 or min(o.lr, o.headroom) <= 0 or o.margin < 0:
        p.error("numbers of images, epochs and threads, --lr and --headroom must be positive")
    return o


def read_model(path):
    with open(path, encoding="utf-8") as f:
        model = Model(path, f.read())
    weights = model.root.get("weights")
    if not isinstance(weights, str):
        raise ModelError("%s: error: it names no file of 'weights'" % path)
    return model, tensors.load(os.path.join(os.path.dirname(path), weights))


def read_data(options, model, classes):
    """Training, held-back and test images. What is held back depends on the seed alone."""
    train, test = images.load(options.data, model.shape, classes)
    if options.limit:
        train = tuple(t[:options.limit] for t in train)
        test = tuple(t[:options.limit] for t in test) if test else None
    if len(train[1]) <= options.held_back:
        raise images.DataError("%s: %d training images, but %d are to be held back"
                               % (options.data, len(train[1]), options.held_back))
    order = torch.randperm(len(train[1]), generator=torch.Generator().manual_seed(options.seed))
    held, rest = order[:options.held_back], order[options.held_back:]
    return tuple(t[rest] for t in train), tuple(t[held] for t in train), test


def run(options):
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, weights = read_model(options.model)
    teacher, student = Network(model, weights), Network(model, weights)
    shapes = channel_counts(teacher.eval())
    substitute(student, shapes, options.basis, options.degree, options.headroom, options.padding_mode)
    data, held_back, test = read_data(options, model, shapes[model.output][0])
    for network in (teacher, student):
        network.to(device, memory_format=torch.channels_last)
    os.makedirs(options.output, exist_ok=True)
    checkpoint = os.path.join(options.output, "checkpoint.pt")
    print("%d images to train on, %d held back, %s to test; %s, %d threads, seed %d"
          % (len(data[1]), len(held_back[1]), len(test[1]) if test else "none", device, options.threads, options.seed))
    resume = options.resume and os.path.exists(checkpoint)
    if not resume:
        began = time.time()
        training.calibrate(teacher, student, data[0][:options.calibration], options.tail)
        print("polynomials fitted in %.0f s" % (time.time() - began), flush=True)
    job = training.Training(options, teacher, student, data, held_back, test, shapes)
    if resume:
        job.restore(checkpoint)
    else:
        before = training.evaluate(teacher, held_back), training.evaluate(teacher, test) if test else 0.0
        print("before: held back %.2f %%, test %.2f %%" % (100 * before[0], 100 * before[1]))
        job.report({}, 0.0)
    job.run(options.output)
    finish(options, job)


def finish(options, job):
    """The files of a trained network"""
    metadata = {"made_by": "examples/sft", "degree": options.degree, "seed": options.seed, "epochs": options.epochs}
    lines = export.export(job.student, options.output, job.data, job.held_back, job.test, options.padding_mode,
                          metadata)
    minutes = sum(row["seconds"] for row in job.rows) / 60
    used = [row["cpu_seconds"] for row in job.rows[1:] if "cpu_seconds" in row]
    processor = ", %.0f of processor time" % (sum(used) / 60) if len(used) == len(job.rows) - 1 else ""
    lines.append("trained in %.0f min%s; seed %d" % (minutes, processor, options.seed))
    print("\n".join(lines))
    with open(os.path.join(options.output, "report.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    picture = plot.svg(job.rows)
    if picture:
        with open(os.path.join(options.output, "training.svg"), "w", encoding="utf-8") as f:
            f.write(picture)
    print("%s: for `weft build`" % os.path.join(options.output, "model.yaml"))


def main(arguments):
    options = parse_options(arguments)
    try:
        run(options)
    except (ModelError, tensors.TensorError, images.DataError, ArithmeticError, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; --resume continues after the last whole epoch", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
