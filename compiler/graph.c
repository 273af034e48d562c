/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <string.h>

/* ---- names ---------------------------------------------------------------------------------- */

uint32_t graph_find(struct front *f, const struct scope *s, const char *name)
{
    if (strcmp(name, "input") == 0) {
        return s ? s->input : INPUT_LAYER;
    }
    const char *full = s ? arena_printf(f->a, "%s.%s", s->prefix, name) : name;
    const uint64_t *v = map_get(&f->names, full, strlen(full));
    return v ? (uint32_t)*v : NONE;
}

const char *graph_nearest(struct front *f, const struct scope *s, const char *name)
{
    size_t skip = s ? strlen(s->prefix) + 1 : 0;
    const char **names = arena_array(f->a, f->names.len + 2, sizeof *names);
    uint32_t num = 0;
    names[num++] = "input";
    for (uint32_t i = 0; i < f->names.len; i++) {
        const struct map_entry *e = &f->names.entry[i];
        if (!s || (e->key_len > skip && memcmp(e->key, s->prefix, skip - 1) == 0 &&
                   ((const char *)e->key)[skip - 1] == '.')) {
            names[num++] = (const char *)e->key + skip;
        }
    }
    return diag_nearest(name, names);
}

static uint32_t resolve_name(struct front *f, const struct layer *l, const struct yaml *y)
{
    const char *name = scope_text(f, l->scope, y);
    if (!name) {
        return NONE;
    }
    uint32_t found = graph_find(f, l->scope, name);
    if (found != NONE) {
        return found;
    }
    front_error(f, y->loc, "'%s' takes its input from '%s', which does not exist%s", l->name, name,
                l->scope ? " in this block" : "");
    const char *near = graph_nearest(f, l->scope, name);
    if (near) {
        front_hint(f, y->loc, "did you mean '%s'?", near);
    }
    return NONE;
}

/* False after reporting. */
static bool resolve_inputs(struct front *f, struct layer *l)
{
    const struct yaml *y = yaml_get(l->entry, "inputs");
    l->inputs = &l->previous;
    l->num_inputs = 1;
    if (y && !(y = scope_value(f, l->scope, y))) {
        return false;
    }
    if (y && (y->kind == YAML_MAPPING || yaml_is_null(y) ||
              (y->kind == YAML_LIST && (y->len == 0 || y->len > MAX_INPUTS)))) {
        front_error(f, y->loc, "'inputs' must be a name or a list of 1 to %d names", MAX_INPUTS);
        return false;
    }
    if (y) {
        l->num_inputs = y->kind == YAML_LIST ? y->len : 1;
        l->inputs = arena_array(f->a, l->num_inputs, sizeof *l->inputs);
    }
    bool ok = true;
    for (uint32_t i = 0; y && i < l->num_inputs; i++) {
        l->inputs[i] = resolve_name(f, l, y->kind == YAML_LIST ? y->item[i] : y);
        ok = ok && l->inputs[i] != NONE;
    }
    uint32_t min = l->op ? l->op->min_inputs : 1, max = l->op ? l->op->max_inputs : 1;
    bool passes =
        !l->op &&
        !yaml_get(l->entry, "block"); /* `when: false`: any number, the first one counts */
    if (ok && !passes && (l->num_inputs < min || l->num_inputs > max)) {
        const char *who = l->op ? l->op->name : "a block";
        front_error(f, layer_place(l, "inputs"), "'%s' has %u input%s, but %s takes %s%u", l->name,
                    (unsigned)l->num_inputs, l->num_inputs == 1 ? "" : "s", who,
                    max > min ? "at least " : "", (unsigned)min);
        ok = false;
    }
    return ok;
}

/* ---- order ---------------------------------------------------------------------------------- */

/* Is `to` among what `from` needs? Then the way there, as text: "from, which needs ..., which needs
 * to". */
static const char *path_between(struct front *f, uint32_t from, uint32_t to)
{
    struct arena_mark m = arena_mark(f->a);
    uint32_t *came = arena_array(f->a, f->num_layers, sizeof *came),
             *queue = arena_array(f->a, f->num_layers, sizeof *queue);
    for (uint32_t i = 0; i < f->num_layers; i++) {
        came[i] = NONE;
    }
    uint32_t head = 0, tail = 0;
    came[from] = from;
    queue[tail++] = from;
    while (head < tail && came[to] == NONE) {
        const struct layer *l = &f->layers[queue[head]];
        for (uint32_t k = 0; k < l->num_inputs; k++) {
            if (came[l->inputs[k]] == NONE) {
                came[l->inputs[k]] = queue[head];
                queue[tail++] = l->inputs[k];
            }
        }
        head++;
    }
    if (came[to] == NONE) {
        arena_release(f->a, m);
        return NULL;
    }
    uint32_t len = 0; /* the queue is done with: it holds the way back */
    for (uint32_t i = to; i != from; i = came[i]) {
        queue[len++] = i;
    }
    struct str text;
    str_init(&text, f->a);
    str_addf(&text, "'%s'", f->layers[from].name);
    const char *last = f->layers[from].name;
    while (len-- > 0) {
        const char *name = f->layers[queue[len]].name;
        if (strcmp(name, last) != 0) { /* the two ends of a block */
            str_addf(&text, ", which needs '%s'", name);
        }
        last = name;
    }
    return text.s;
}

static void check_order(struct front *f)
{
    for (uint32_t i = 1; i < f->num_layers; i++) {
        const struct layer *l = &f->layers[i];
        for (uint32_t k = 0; k < l->num_inputs; k++) {
            uint32_t in = l->inputs[k];
            if (in < i) {
                continue;
            }
            struct loc loc = layer_place(l, "inputs");
            const struct layer *later = &f->layers[in];
            const char *path = in == i ? NULL : path_between(f, in, i);
            if (in == i) {
                front_error(f, loc, "'%s' takes its own result as input", l->name);
            } else if (path) {
                front_error(f, loc, "the layers form a cycle: '%s' needs %s", l->name, path);
            } else {
                front_error(f, loc, "'%s' takes its input from '%s', which comes later (line %u)",
                            l->name, later->name, (unsigned)later->entry->loc.line);
                front_hint(f, loc, "put '%s' before '%s'", later->name, l->name);
            }
        }
    }
}

void graph_resolve(struct front *f, uint32_t output)
{
    bool ok = true;
    for (uint32_t i = 1; i < f->num_layers; i++) {
        ok = resolve_inputs(f, &f->layers[i]) && ok;
    }
    diag_check();
    if (!ok) {
        BUG("a name without a layer was not reported");
    }
    check_order(f);
    diag_check();
    f->layers[output].used = true;
    for (uint32_t i = f->num_layers; i-- > 1;) {
        const struct layer *l = &f->layers[i];
        if (l->used) {
            for (uint32_t k = 0; k < l->num_inputs; k++) {
                f->layers[l->inputs[k]].used = true;
            }
        }
    }
    for (uint32_t i = 1; i < f->num_layers; i++) {
        const struct layer *l = &f->layers[i];
        if (!l->used && !l->silent && front_once(f, l->entry->loc)) {
            diag_warning(l->entry->loc, "'%s' is not needed for the output '%s': it is left out",
                         l->name, f->layers[output].name);
        }
    }
}
