/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `layers` list, blocks unfolded, becomes the flat list f->layers in the order of the file.
 * Inputs are only noted here (the default, and where the names will be looked up); graph.c
 * resolves them. layers[0] is the network's input; every use of a block begins with a layer of its
 * own that passes the block's input on, so that names inside and outside never meet.
 */
#include "compiler.h"

#include <string.h>

static const char *const reserved_params[] = {"prefix", "index", NULL};

static uint32_t new_layer(struct front *f, const char *name, const struct yaml *entry,
                          const struct scope *s, uint32_t previous)
{
    if (f->num_layers >= MAX_LAYERS) {
        diag_fatal(entry->loc, "more than %d layers", MAX_LAYERS);
    }
    ARENA_GROW(f->a, f->layers, f->num_layers, f->cap_layers);
    f->layers[f->num_layers] = (struct layer){.name = intern(f->p, name),
                                              .entry = entry,
                                              .scope = s,
                                              .previous = previous,
                                              .value = NONE};
    return f->num_layers++;
}

/* From now on, name means layer i. The place is packed beside it for the message. */
static void declare(struct front *f, const char *name, uint32_t i, struct loc loc)
{
    bool is_new;
    name = intern(f->p, name);
    uint64_t *v = map_put(&f->names, name, strlen(name), &is_new);
    if (is_new) {
        *v = (uint64_t)loc.line << 32 | i;
        return;
    }
    front_error(f, loc, "the name '%s' is given twice", name);
    front_hint(f, loc, "the first one is in line %u", (unsigned)(*v >> 32));
}

/* ---- definitions ---------------------------------------------------------------------------- */

static bool is_reserved(const char *name)
{
    for (uint32_t i = 0; reserved_params[i]; i++) {
        if (strcmp(name, reserved_params[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void check_params(struct front *f, const struct yaml *params)
{
    if (params->kind == YAML_SCALAR) {
        front_error(f, params->loc,
                    "'params' must be a list of names, or a mapping of names to defaults; found %s",
                    yaml_describe(f->a, params));
        return;
    }
    for (uint32_t i = 0; i < params->len; i++) {
        const struct yaml *y = params->kind == YAML_LIST ? params->item[i] : params->key[i];
        const char *name;
        if (!front_name(f, y, "a parameter", &name)) {
            continue;
        }
        if (is_reserved(name) || strpbrk(name, ".-")) {
            front_error(f, y->loc,
                        is_reserved(name) ? "the parameter '%s' is there without being asked for"
                                          : "the parameter '%s' has a '.' or '-' in its name",
                        name);
        }
    }
}

void blocks_read(struct front *f, const struct yaml *blocks)
{
    static const char *const keys[] = {"params", "layers", "output", NULL};
    if (!blocks) {
        return;
    }
    if (blocks->kind != YAML_MAPPING) {
        front_error(f, blocks->loc, "'blocks' must be a mapping of names to blocks, found %s",
                    yaml_describe(f->a, blocks));
        return;
    }
    for (uint32_t i = 0; i < blocks->len; i++) {
        const struct yaml *b = blocks->item[i];
        const char *name;
        if (!front_name(f, blocks->key[i], "a block", &name)) {
            continue;
        }
        if (b->kind != YAML_MAPPING) {
            front_error(f, b->loc, "block '%s' must be a mapping with the key 'layers', found %s",
                        name, yaml_describe(f->a, b));
            continue;
        }
        front_check_keys(f, b, "a block", keys);
        const struct yaml *layers = yaml_get(b, "layers"), *params = yaml_get(b, "params");
        if (params) {
            check_params(f, params);
        }
        if (!layers || layers->kind != YAML_LIST || layers->len == 0) {
            front_error(f, b->loc, "block '%s' needs a list 'layers' with at least one layer",
                        name);
            continue;
        }
        bool is_new;
        *map_put(&f->blocks, name, strlen(name), &is_new) = (uint64_t)(uintptr_t)b;
    }
}

/* ---- use ------------------------------------------------------------------------------------ */

/* The value that a parameter gets, seen from outside: the block does not know the names there. */
static const struct yaml *outer_value(struct front *f, const struct scope *outer,
                                      const struct yaml *y)
{
    y = scope_value(f, outer, y);
    if (!y || y->kind != YAML_SCALAR || !strstr(y->text, "${")) {
        return y;
    }
    const char *text = scope_text(f, outer, y);
    struct yaml *copy = arena_alloc(f->a, sizeof *copy);
    *copy = *y;
    copy->text = text;
    return text ? copy : NULL;
}

static bool has_param(const struct yaml *params, const char *name)
{
    if (!params || params->kind == YAML_MAPPING) {
        return params && yaml_get(params, name);
    }
    for (uint32_t i = 0; params->kind == YAML_LIST && i < params->len; i++) {
        if (params->item[i]->kind == YAML_SCALAR && strcmp(params->item[i]->text, name) == 0) {
            return true;
        }
    }
    return false;
}

/* `with` or `first`: a mapping whose keys are parameters. */
static void check_arguments(struct front *f, const struct yaml *given, const struct yaml *params,
                            const char *block)
{
    if (given->kind != YAML_MAPPING) {
        front_error(f, given->loc, "wanted a mapping of parameters to values, found %s",
                    yaml_describe(f->a, given));
        return;
    }
    uint32_t num = params && params->kind != YAML_SCALAR ? params->len : 0;
    const char **names = arena_array(f->a, num + 1, sizeof *names);
    for (uint32_t i = 0; i < num; i++) {
        const struct yaml *y = params->kind == YAML_LIST ? params->item[i] : params->key[i];
        names[i] = y->kind == YAML_SCALAR ? y->text : "";
    }
    for (uint32_t i = 0; i < given->len; i++) {
        if (has_param(params, given->key[i]->text)) {
            continue;
        }
        front_error(f, given->key[i]->loc, "block '%s' has no parameter %s", block,
                    yaml_describe(f->a, given->key[i]));
        const char *near = diag_nearest(given->key[i]->text, names);
        if (near) {
            front_hint(f, given->key[i]->loc, "did you mean '%s'?", near);
        }
    }
}

static void set_param(struct front *f, struct scope *s, const char *name, const struct yaml *v)
{
    bool is_new;
    (void)f;
    *map_put(&s->params, name, strlen(name), &is_new) = (uint64_t)(uintptr_t)v;
}

static void set_text_param(struct front *f, struct scope *s, const char *name, const char *text,
                           struct loc loc)
{
    struct yaml *y = arena_alloc(f->a, sizeof *y);
    *y = (struct yaml){.kind = YAML_SCALAR, .loc = loc, .text = text, .plain = true, .size = 1};
    set_param(f, s, name, y);
}

/* Each parameter from `first` (in the first repetition), else `with`, else its default. */
static bool bind(struct front *f, struct scope *s, const struct yaml *entry, const char *block,
                 uint32_t index)
{
    const struct yaml *params = yaml_get(s->block, "params");
    const struct yaml *with = yaml_get(entry, "with"),
                      *first = index == 0 ? yaml_get(entry, "first") : NULL;
    map_init(&s->params, f->a);
    for (uint32_t i = 0; params && params->kind != YAML_SCALAR && i < params->len; i++) {
        const struct yaml *key = params->kind == YAML_LIST ? params->item[i] : params->key[i];
        if (key->kind != YAML_SCALAR) {
            return false; /* reported with the definition */
        }
        const struct yaml *v = yaml_get(first, key->text);
        v = v ? v : yaml_get(with, key->text);
        if (v) {
            v = outer_value(f, s->outer, v);
        } else if (params->kind == YAML_MAPPING && !yaml_is_null(params->item[i])) {
            v = params->item[i];
        } else {
            front_error(f, entry->loc, "block '%s' needs a value for its parameter '%s'", block,
                        key->text);
            front_hint(f, entry->loc, "write 'with: {%s: ...}'", key->text);
        }
        if (!v) {
            return false;
        }
        set_param(f, s, key->text, v);
    }
    set_text_param(f, s, "prefix", s->prefix, entry->loc);
    set_text_param(f, s, "index", arena_printf(f->a, "%u", (unsigned)index), entry->loc);
    return true;
}

static uint32_t expand_list(struct front *f, const struct yaml *list, const struct scope *s,
                            uint32_t previous, uint32_t depth);

/* One repetition; its result, or NONE after reporting. */
static uint32_t expand_once(struct front *f, struct scope *s, uint32_t depth)
{
    uint32_t last = expand_list(f, yaml_get(s->block, "layers"), s, s->input, depth + 1);
    const struct yaml *output = yaml_get(s->block, "output");
    if (!output) {
        return last;
    }
    const char *name = scope_text(f, s, output);
    uint32_t found = name ? graph_find(f, s, name) : NONE;
    if (name && found == NONE) {
        front_error(f, output->loc, "the block has no layer '%s'", name);
        const char *near = graph_nearest(f, s, name);
        if (near) {
            front_hint(f, output->loc, "did you mean '%s'?", near);
        }
    }
    return found;
}

static bool contains_itself(struct front *f, const struct scope *outer, const struct yaml *block,
                            const struct yaml *use, const char *name, uint32_t depth)
{
    for (const struct scope *s = outer; s; s = s->outer) {
        if (s->block == block) {
            front_error(f, use->loc, "block '%s' contains itself", name);
            return true;
        }
    }
    if (depth >= MAX_BLOCK_DEPTH) {
        front_error(f, use->loc, "blocks nested deeper than %d", MAX_BLOCK_DEPTH);
        return true;
    }
    return false;
}

/* Definition that a use names, its keys and arguments checked; NULL after reporting. */
static const struct yaml *block_of(struct front *f, const struct yaml *entry,
                                   const struct scope *outer, uint32_t depth, const char **name)
{
    static const char *const keys[] = {"name", "block", "op",     "repeat",
                                       "with", "first", "inputs", NULL};
    front_check_keys(f, entry, "a use of a block", keys);
    const struct yaml *use = yaml_get(entry, "block");
    *name = scope_text(f, outer, use);
    if (!*name) {
        return NULL;
    }
    const uint64_t *found = map_get(&f->blocks, *name, strlen(*name));
    if (!found) {
        const char **names = arena_array(f->a, f->blocks.len + 1, sizeof *names);
        for (uint32_t i = 0; i < f->blocks.len; i++) {
            names[i] = f->blocks.entry[i].key;
        }
        front_error(f, use->loc, "there is no block %s",
                    yaml_describe(f->a, scope_value(f, outer, use)));
        const char *near = diag_nearest(*name, names);
        if (near) {
            front_hint(f, use->loc, "did you mean '%s'?", near);
        }
        return NULL;
    }
    const struct yaml *block = (const struct yaml *)(uintptr_t)*found,
                      *params = yaml_get(block, "params");
    bool is_new;
    map_put(&f->used_blocks, *name, strlen(*name), &is_new);
    const char *const given[] = {"with", "first"};
    for (int i = 0; i < 2; i++) {
        if (yaml_get(entry, given[i])) {
            check_arguments(f, yaml_get(entry, given[i]), params, *name);
        }
    }
    return contains_itself(f, outer, block, use, *name, depth) ? NULL : block;
}

static uint32_t expand_block(struct front *f, const struct yaml *entry, const struct scope *outer,
                             const char *name, uint32_t previous, uint32_t depth)
{
    uint32_t value = new_layer(f, name, entry, outer, previous);
    f->layers[value].silent = true;
    const char *block_name;
    const struct yaml *block = block_of(f, entry, outer, depth, &block_name);
    const struct yaml *count = yaml_get(entry, "repeat"), *first = yaml_get(entry, "first");
    int64_t repeat = 1;
    if (count) {
        count = scope_value(f, outer, count);
        if (count && !yaml_int(count, 1, MAX_REPEAT, &repeat)) {
            front_error(f, count->loc, "'repeat' must be a whole number from 1 to %d, found %s",
                        MAX_REPEAT, yaml_describe(f->a, count));
            count = NULL;
        }
    } else if (first) {
        front_error(f, first->loc, "'first' is for repeated blocks: here is no 'repeat'");
    }
    bool named = block && (count || !yaml_get(entry, "repeat"));
    for (int64_t i = 0; named && i < repeat; i++) {
        struct scope *s = arena_alloc(f->a, sizeof *s);
        s->outer = outer;
        s->prefix = count ? arena_printf(f->a, "%s.%u", name, (unsigned)i) : name;
        s->block = block;
        s->input = value;
        if (!bind(f, s, entry, block_name, (uint32_t)i)) {
            break;
        }
        value = expand_once(f, s, depth);
        if (value == NONE) {
            break;
        }
        if (count) {
            declare(f, s->prefix, value, entry->loc);
        }
    }
    if (value != NONE) {
        declare(f, name, value, entry->loc);
    }
    return value;
}

/* `when: false` leaves the layer out: it passes its first input on. */
static bool left_out(struct front *f, const struct yaml *entry, const struct scope *s)
{
    const struct yaml *when = yaml_get(entry, "when");
    bool on = true;
    when = when ? scope_value(f, s, when) : NULL;
    if (when && !yaml_bool(when, &on)) {
        front_error(f, when->loc, "'when' must be true or false, found %s",
                    yaml_describe(f->a, when));
    }
    return !on;
}

static uint32_t expand_entry(struct front *f, const struct yaml *entry, const struct scope *s,
                             uint32_t previous, uint32_t depth)
{
    if (entry->kind != YAML_MAPPING) {
        front_error(f, entry->loc,
                    "a layer must be a mapping like {name: conv1, op: conv2d}, found %s",
                    yaml_describe(f->a, entry));
        return previous;
    }
    const struct yaml *y = yaml_get(entry, "name"), *merge = yaml_get_key(entry, "<<");
    const char *name;
    if (merge) {
        front_error(f, merge->loc, "merge keys ('<<') are not supported");
        front_hint(f, merge->loc, "write a block with parameters");
        return previous;
    }
    if (!y) {
        front_error(f, entry->loc, "a layer has no 'name'");
        return previous;
    }
    if (!front_name(f, y, "a layer", &name)) {
        return previous;
    }
    if (strcmp(name, "input") == 0) {
        front_error(f, y->loc, "the name 'input' is taken: it means the %s input",
                    s ? "block's" : "network's");
        return previous;
    }
    if (s) {
        name = arena_printf(f->a, "%s.%s", s->prefix, name);
    }
    if (strlen(name) > MAX_NAME) {
        front_error(f, y->loc, "the full name '%s' is longer than %d characters", name, MAX_NAME);
        return previous;
    }
    if (yaml_get(entry, "block")) {
        if (yaml_get(entry, "op")) {
            front_error(f, yaml_get(entry, "op")->loc,
                        "'%s' has an 'op' and a 'block': only one of them can be", name);
        }
        uint32_t value = expand_block(f, entry, s, name, previous, depth);
        return value == NONE ? previous : value;
    }
    uint32_t i = new_layer(f, name, entry, s, previous);
    const struct layer_op *op = layer_op_of(f, entry, s, name);
    f->layers[i].op = left_out(f, entry, s) ? NULL : op;
    f->layers[i].silent = f->layers[i].op == NULL;
    declare(f, name, i, y->loc);
    return i;
}

static uint32_t expand_list(struct front *f, const struct yaml *list, const struct scope *s,
                            uint32_t previous, uint32_t depth)
{
    for (uint32_t i = 0; i < list->len; i++) {
        previous = expand_entry(f, list->item[i], s, previous, depth);
    }
    return previous;
}

uint32_t blocks_expand(struct front *f, const struct yaml *layers)
{
    uint32_t input = new_layer(f, "input", f->root, NULL, NONE);
    f->layers[input].silent = true;
    uint32_t last = expand_list(f, layers, NULL, input, 0);
    for (uint32_t i = 0; i < f->blocks.len; i++) {
        const struct map_entry *e = &f->blocks.entry[i];
        if (!map_get(&f->used_blocks, e->key, e->key_len)) {
            diag_warning(yaml_get_key(yaml_get(f->root, "blocks"), e->key)->loc,
                         "block '%s' is never used", (const char *)e->key);
        }
    }
    return last;
}
