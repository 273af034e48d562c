# SPDX-License-Identifier: Apache-2.0
"""Reads Weft's model file and unfolds its blocks into a flat list of layers; rewrites its text.

The reader takes what `weft check` accepts, and four operators more that are no polynomials and which
fine-tuning replaces: relu, relu6, silu and max_pool. A rewritten file keeps its comments, its order and
its names: the text is edited where the layers stand, not written anew."""
import re

import yaml

ACTIVATIONS = ("relu", "relu6", "silu")
OPERATORS = ACTIVATIONS + ("conv2d", "linear", "batch_norm", "avg_pool", "max_pool", "global_avg_pool", "add",
                           "concat", "flatten", "upsample_nearest", "subsample", "square", "poly")
UNPADDED = (0, [0, 0], [0, 0, 0, 0])


class ModelError(Exception):
    """A mistake in a model file; the text begins with its place."""


class Entry(dict):
    """A mapping of the file that knows its YAML node, so that messages and edits find their place."""
    node = None


class Layer:
    """One layer of the unfolded network. `entry` is where the file says it: with blocks, many share one."""

    def __init__(self, name, op, keys, inputs, entry):
        self.name, self.op, self.keys, self.inputs, self.entry = name, op, keys, inputs, entry

    def pair(self, key, default):
        value = self.keys.get(key, default)
        return tuple(value) if isinstance(value, list) else (value, value)


class Model:
    def __init__(self, path, text):
        self.path, self.text = path, text
        try:
            node = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as e:
            mark = getattr(e, "problem_mark", None)
            place = "%s:%d:%d" % (path, mark.line + 1, mark.column + 1) if mark else path
            raise ModelError("%s: error: %s" % (place, getattr(e, "problem", e))) from None
        self.root = self._value(node)
        if not isinstance(self.root, Entry) or not isinstance(self.root.get("layers"), list):
            raise ModelError("%s: error: no list 'layers'" % path)
        self.blocks = self.root.get("blocks") or {}
        self.layers = []
        self.output = self._unfold(self.root["layers"], "", "input", {}, self.root.get("output"), 0)
        self._read_input()

    def _value(self, node):
        """Plain Python values, mappings as Entry."""
        if node is None:
            return None
        if isinstance(node, yaml.MappingNode):
            entry = Entry((self._value(k), self._value(v)) for k, v in node.value)
            entry.node = node
            return entry
        if isinstance(node, yaml.SequenceNode):
            return [self._value(v) for v in node.value]
        return yaml.SafeLoader("").construct_object(node)

    def error(self, entry, message):
        mark = entry.node.start_mark
        return ModelError("%s:%d:%d: error: %s" % (self.path, mark.line + 1, mark.column + 1, message))

    def _read_input(self):
        given = self.root.get("input")
        if not isinstance(given, Entry) or not isinstance(given.get("shape"), list) or len(given["shape"]) != 3:
            raise self.error(self.root, "'input' needs 'shape: [channels, rows, columns]'")
        self.shape = tuple(given["shape"])

        def per_channel(key, default):
            value = given.get(key, default)
            return [float(v) for v in value] if isinstance(value, list) else [float(value)] * self.shape[0]
        self.range = [float(v) for v in given.get("range", [0, 1])]
        self.mean, self.std = per_channel("mean", 0), per_channel("std", 1)

    # ---- unfolding --------------------------------------------------------------------------------

    def _substitute(self, value, params, entry):
        if isinstance(value, list):
            return [self._substitute(v, params, entry) for v in value]
        if not isinstance(value, str):
            return value

        def look_up(name):
            if name not in params:
                raise self.error(entry, "there is no parameter '%s' here" % name)
            return params[name]
        if re.fullmatch(r"\$[A-Za-z_]\w*", value):
            return look_up(value[1:])
        return re.sub(r"\$\{(\w+)\}", lambda m: str(look_up(m.group(1))), value)

    def _unfold(self, items, prefix, source, params, output, depth):
        """Appends the layers of one list; returns the name of the layer whose result is the list's."""
        if depth > 64:
            raise ModelError("%s: error: blocks are nested more than 64 deep" % self.path)
        names, previous = {"input": source}, source
        for entry in items:
            if not isinstance(entry, Entry) or not isinstance(entry.get("name"), str):
                raise ModelError("%s: error: every layer is a mapping with a 'name'" % self.path)
            keys = {k: self._substitute(v, params, entry) for k, v in entry.items() if k not in ("with", "first")}
            inputs = keys.get("inputs", [])
            inputs = [inputs] if isinstance(inputs, str) else inputs
            for i in inputs:
                if i not in names:
                    raise self.error(entry, "there is no layer '%s' before '%s'" % (i, keys["name"]))
            inputs = [names[i] for i in inputs] or [previous]
            name = prefix + keys["name"]
            if keys.get("when", True) is False:
                result = inputs[0]
            elif "block" in keys:
                result = self._unfold_block(entry, keys, name, inputs[0], params, names, depth)
            else:
                if keys.get("op") not in OPERATORS:
                    raise self.error(entry, "unsupported operator '%s' in layer '%s'" % (keys.get("op"), name))
                self.layers.append(Layer(name, keys["op"], keys, inputs, entry))
                result = name
            names[keys["name"]] = previous = result
        if output is not None and output not in names:
            raise ModelError("%s: error: 'output' names no layer: '%s'" % (self.path, output))
        return names[output] if output is not None else previous

    def _unfold_block(self, entry, keys, name, source, params, names, depth):
        block = self.blocks.get(keys["block"])
        if not isinstance(block, Entry):
            raise self.error(entry, "there is no block '%s'" % keys["block"])
        declared = block.get("params") or {}
        defaults = declared if isinstance(declared, dict) else {}
        repeat = keys.get("repeat")

        def given(key):
            return {k: self._substitute(v, params, entry) for k, v in (entry.get(key) or {}).items()}
        for i in range(repeat or 1):
            inner = name + (".%d" % i if repeat else "")
            values = {**defaults, **given("with"), **(given("first") if i == 0 else {}), "index": i, "prefix": inner}
            source = self._unfold(block["layers"], inner + ".", source, values, block.get("output"), depth + 1)
            if repeat:
                names["%s.%d" % (keys["name"], i)] = source
        return source

    # ---- rewriting --------------------------------------------------------------------------------

    def lists(self):
        """(layers of a list, the mapping that has its `output`), for the network and every block"""
        return [(owner["layers"], owner) for owner in [self.root, *self.blocks.values()]]

    def value_node(self, entry, key):
        for k, v in entry.node.value:
            if k.value == key:
                return v
        return None

    def line_span(self, entry):
        """The lines of a list item that has them for itself; None where it shares them with others"""
        start, stop = entry.node.start_mark.index, entry.node.end_mark.index
        begin = self.text.rfind("\n", 0, start) + 1
        last = start + len(self.text[start:stop].rstrip())  # a block collection's end mark lies behind its line
        end = self.text.find("\n", last)
        end = len(self.text) if end < 0 else end + 1
        before, after = self.text[begin:start].strip(), self.text[last:end].strip()
        return (begin, end) if before == "-" and (not after or after.startswith("#")) else None


class Editor:
    """Collects changes of a model's text and applies them at once"""

    def __init__(self, model):
        self.model, self.edits = model, []

    def set(self, entry, key, text):
        """Gives a key another value, or adds it after the last one"""
        node = self.model.value_node(entry, key)
        if node is not None:
            self.edits.append((node.start_mark.index, node.end_mark.index, text))
            return
        end = entry.node.value[-1][1].end_mark.index
        begin = entry.node.start_mark
        if not entry.node.flow_style:
            # a block collection's end mark lies behind its line break
            end = begin.index + len(self.model.text[begin.index:end].rstrip())
        gap = ", " if entry.node.flow_style else "\n" + " " * begin.column
        self.edits.append((end, end, "%s%s: %s" % (gap, key, text)))

    def remove(self, entry):
        begin, end = self.model.line_span(entry)
        self.edits.append((begin, end, ""))

    def rename(self, items, owner, old, new):
        """References to a layer of one list: `inputs` of its layers, `output` of its owner"""
        nodes = [self.model.value_node(entry, "inputs") for entry in items]
        nodes.append(self.model.value_node(owner, "output"))
        for node in nodes:
            for scalar in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                if scalar is not None and scalar.value == old:
                    self.edits.append((scalar.start_mark.index, scalar.end_mark.index, new))

    def text(self):
        text = self.model.text
        removed = [(b, e) for b, e, new in self.edits if new == ""]
        for begin, end, new in sorted(set(self.edits), reverse=True):
            if new and any(b <= begin < e for b, e in removed):
                continue
            text = text[:begin] + new + text[end:]
        return text


def foldable(model):
    """Batch norms that can vanish into the layer before: [(list, owner, convolution, batch norm)] as the file
    has them. Each stands on lines of its own, right after a convolution or linear layer that nothing else
    reads; all repetitions of a block are alike in this."""
    made = {}
    for layer in model.layers:
        made.setdefault(id(layer.entry), []).append(layer)
    readers = {}
    for layer in model.layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    found = []
    for items, owner in model.lists():
        for before, entry in zip(items, items[1:]):
            norms, linears = made.get(id(entry), []), {layer.name for layer in made.get(id(before), [])}
            if (norms and entry.get("op") == "batch_norm" and before.get("op") in ("conv2d", "linear")
                    and "when" not in entry and "when" not in before and model.line_span(entry)
                    and all(n.inputs[0] in linears and len(readers[n.inputs[0]]) == 1 for n in norms)
                    and model.output not in linears):
                found.append((items, owner, before, entry))
    return found


def rewrite(model, weights, padding_mode=None):
    """The text of the polynomial network: the same names, batch norms folded away where they can be.
    With padding_mode, every convolution with padding gets it."""
    editor = Editor(model)
    editor.set(model.root, "weights", weights)
    for items, _ in model.lists():
        for entry in items:
            if entry.get("op") in ACTIVATIONS:
                editor.set(entry, "op", "poly")
            elif entry.get("op") == "max_pool":
                editor.set(entry, "op", "avg_pool")
            elif padding_mode and entry.get("op") == "conv2d" and entry.get("padding", 0) not in UNPADDED:
                editor.set(entry, "padding_mode", padding_mode)
    for items, owner, before, norm in foldable(model):
        editor.remove(norm)
        editor.rename(items, owner, norm["name"], before["name"])
        if before.get("bias") is False:
            editor.set(before, "bias", "true")
    return editor.text()
