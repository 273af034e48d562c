/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <string.h>

/* ---- parameters of blocks ------------------------------------------------------------------- */

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static const struct yaml *param(struct front *f, const struct scope *s, const char *name,
                                size_t len, struct loc loc)
{
    const uint64_t *found = s ? map_get(&s->params, name, len) : NULL;
    if (found) {
        return (const struct yaml *)(uintptr_t)*found;
    }
    front_error(f, loc, s ? "there is no parameter '$%.*s'" : "'$%.*s' outside of a block",
                (int)len, name);
    if (s) {
        const char **names = arena_array(f->a, s->params.len + 1, sizeof *names);
        for (uint32_t i = 0; i < s->params.len; i++) {
            names[i] = arena_strndup(f->a, s->params.entry[i].key, s->params.entry[i].key_len);
        }
        const char *near = diag_nearest(arena_strndup(f->a, name, len), names);
        if (near) {
            front_hint(f, loc, "did you mean '$%s'?", near);
        } else {
            front_hint(f, loc, "the block's parameters are listed under its key 'params'");
        }
    }
    return NULL;
}

/* Lists may hold parameters too: then a copy with their values takes the list's place. */
static const struct yaml *list_value(struct front *f, const struct scope *s, const struct yaml *y)
{
    struct yaml **item = arena_array(f->a, y->len, sizeof(struct yaml *));
    bool changed = false;
    for (uint32_t i = 0; i < y->len; i++) {
        item[i] = y->item[i];
        if (item[i]->kind == YAML_SCALAR) {
            const struct yaml *v = scope_value(f, s, item[i]);
            if (!v) {
                return NULL;
            }
            changed |= v != item[i];
            item[i] = (struct yaml *)(uintptr_t)v;
        }
    }
    if (!changed) {
        return y;
    }
    struct yaml *copy = arena_alloc(f->a, sizeof *copy);
    *copy = *y;
    copy->item = item;
    return copy;
}

const struct yaml *scope_value(struct front *f, const struct scope *s, const struct yaml *y)
{
    if (y->kind == YAML_LIST) {
        return list_value(f, s, y);
    }
    if (y->kind != YAML_SCALAR || !y->plain || y->text[0] != '$' || y->text[1] == '{') {
        return y;
    }
    return param(f, s, y->text + 1, strlen(y->text + 1), y->loc);
}

const char *scope_text(struct front *f, const struct scope *s, const struct yaml *y)
{
    y = scope_value(f, s, y);
    if (!y) {
        return NULL;
    }
    if (y->kind != YAML_SCALAR || yaml_is_null(y)) {
        front_error(f, y->loc, "wanted a name, found %s", yaml_describe(f->a, y));
        return NULL;
    }
    struct str out;
    str_init(&out, f->a);
    const char *c = y->text;
    for (const char *open; (open = strstr(c, "${")); c = strchr(open, '}') + 1) {
        size_t len = 0;
        while (is_word_char(open[2 + len])) {
            len++;
        }
        if (open[2 + len] != '}') {
            front_error(f, y->loc, "'${' without a parameter's name and '}' after it");
            return NULL;
        }
        const struct yaml *v = param(f, s, open + 2, len, y->loc);
        if (!v) {
            return NULL;
        }
        if (v->kind != YAML_SCALAR) {
            front_error(f, y->loc, "'${%.*s}' is %s: only a word can stand inside a text", (int)len,
                        open + 2, yaml_describe(f->a, v));
            return NULL;
        }
        str_addn(&out, c, (size_t)(open - c));
        str_add(&out, v->text);
    }
    str_add(&out, c);
    if (out.len > YAML_MAX_SCALAR) {
        front_error(f, y->loc, "the text grows beyond %d bytes", YAML_MAX_SCALAR);
        return NULL;
    }
    return out.s;
}

/* ---- keys of a layer ------------------------------------------------------------------------ */

struct loc layer_place(const struct layer *l, const char *key)
{
    const struct yaml *y = yaml_get(l->entry, key);
    return y ? y->loc : l->entry->loc;
}

const struct yaml *layer_key(struct front *f, const struct layer *l, const char *key, bool *ok)
{
    const struct yaml *y = yaml_get(l->entry, key);
    *ok = true;
    if (y) {
        y = scope_value(f, l->scope, y);
        *ok = y != NULL;
    }
    return y;
}

bool layer_int(struct front *f, const struct layer *l, const char *key, int64_t min, int64_t max,
               int64_t *out)
{
    bool ok;
    const struct yaml *y = layer_key(f, l, key, &ok);
    if (y && !yaml_int(y, min, max, out)) {
        layer_error(f, l, y->loc, "'%s' must be a whole number from %lld to %lld, found %s", key,
                    (long long)min, (long long)max, yaml_describe(f->a, y));
        return false;
    }
    return ok;
}

bool layer_pair(struct front *f, const struct layer *l, const char *key, const char *pair,
                int64_t min, int64_t max, int64_t out[2])
{
    bool ok;
    const struct yaml *y = layer_key(f, l, key, &ok);
    if (!y) {
        return ok;
    }
    if (yaml_int(y, min, max, &out[0])) {
        out[1] = out[0];
        return true;
    }
    if (y->kind == YAML_LIST && y->len == 2 && yaml_int(y->item[0], min, max, &out[0]) &&
        yaml_int(y->item[1], min, max, &out[1])) {
        return true;
    }
    layer_error(f, l, y->loc,
                "'%s' must be a whole number from %lld to %lld, or two [%s]; found %s", key,
                (long long)min, (long long)max, pair, yaml_describe(f->a, y));
    return false;
}

bool layer_real(struct front *f, const struct layer *l, const char *key, double *out)
{
    bool ok;
    const struct yaml *y = layer_key(f, l, key, &ok);
    if (y && !yaml_real(y, out)) {
        layer_error(f, l, y->loc, "'%s' must be a finite number, found %s", key,
                    yaml_describe(f->a, y));
        return false;
    }
    return ok;
}

bool layer_word(struct front *f, const struct layer *l, const char *key, const char *const *words,
                int64_t *out)
{
    bool ok;
    const struct yaml *y = layer_key(f, l, key, &ok);
    if (!y) {
        return ok;
    }
    struct str list;
    str_init(&list, f->a);
    for (int64_t i = 0; words[i]; i++) {
        if (y->kind == YAML_SCALAR && strcmp(y->text, words[i]) == 0) {
            *out = i;
            return true;
        }
        str_addf(&list, "%s%s", i ? ", " : "", words[i]);
    }
    layer_error(f, l, y->loc, "'%s' must be one of %s; found %s", key, list.s,
                yaml_describe(f->a, y));
    const char *near = y->kind == YAML_SCALAR ? diag_nearest(y->text, words) : NULL;
    if (near) {
        front_hint(f, y->loc, "did you mean '%s'?", near);
    }
    return false;
}

/* ---- windows -------------------------------------------------------------------------------- */

static int64_t extent(const struct window *w, int axis)
{
    return w->dilation[axis] * (w->kernel[axis] - 1) + 1;
}

/* As in TensorFlow: the result has ceil(size / stride) elements, and an odd pad goes to the end. */
static void pad_same(struct window *w, const int64_t size[2])
{
    for (int axis = 0; axis < 2; axis++) {
        int64_t out = (size[axis] + w->stride[axis] - 1) / w->stride[axis];
        int64_t total = (out - 1) * w->stride[axis] + extent(w, axis) - size[axis];
        total = total > 0 ? total : 0;
        w->pad[2 * axis] = total / 2;
        w->pad[2 * axis + 1] = total - total / 2;
    }
}

static bool read_padding(struct front *f, const struct layer *l, const int64_t size[2],
                         struct window *w)
{
    bool ok;
    const struct yaml *y = layer_key(f, l, "padding", &ok);
    if (!y) {
        return ok;
    }
    if (yaml_int(y, 0, MAX_EXTENT, &w->pad[0])) {
        w->pad[1] = w->pad[2] = w->pad[3] = w->pad[0];
        return true;
    }
    if (y->kind == YAML_SCALAR && strcmp(y->text, "same") == 0) {
        pad_same(w, size);
        return true;
    }
    bool list = y->kind == YAML_LIST && (y->len == 2 || y->len == 4);
    for (uint32_t i = 0; list && i < 4; i++) {
        list = yaml_int(y->item[y->len == 2 ? i / 2 : i], 0, MAX_EXTENT, &w->pad[i]);
    }
    if (!list) {
        layer_error(f, l, y->loc,
                    "'padding' must be a whole number from 0 to %d, [rows, columns], [top, bottom, "
                    "left, right] or 'same'; found %s",
                    MAX_EXTENT, yaml_describe(f->a, y));
    }
    return list;
}

bool layer_padding(struct front *f, const struct layer *l, const struct type *in, struct window *w)
{
    int64_t size[2] = {in->dims[1], in->dims[2]};
    if (!read_padding(f, l, size, w)) {
        return false;
    }
    struct loc loc = layer_place(l, "padding");
    for (int side = 0; side < 4; side++) {
        int axis = side / 2;
        int64_t pad = w->pad[side];
        if (w->wrap == WRAP_ZEROS && pad > 0 && pad >= extent(w, axis)) {
            layer_error(f, l, loc,
                        "padding %lld is not smaller than the window's extent %lld: the border of "
                        "the result would see nothing of the input",
                        (long long)pad, (long long)extent(w, axis));
            return false;
        }
        if (w->wrap != WRAP_ZEROS && pad > size[axis]) {
            layer_error(f, l, loc, "%s padding %lld is larger than the input (%s)",
                        wrap_name(w->wrap), (long long)pad, shape_text(f->a, in));
            return false;
        }
    }
    for (int axis = 0; axis < 2; axis++) {
        if (size[axis] + w->pad[2 * axis] + w->pad[2 * axis + 1] < extent(w, axis)) {
            layer_error(f, l, l->entry->loc,
                        "a window of %lldx%lld does not fit into the input %s with padding [%lld, "
                        "%lld, %lld, %lld]",
                        (long long)extent(w, 0), (long long)extent(w, 1), shape_text(f->a, in),
                        (long long)w->pad[0], (long long)w->pad[1], (long long)w->pad[2],
                        (long long)w->pad[3]);
            return false;
        }
    }
    return true;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

const struct type *value_type(const struct front *f, uint32_t node)
{
    return &f->p->nodes.at[node].type;
}

const char *shape_text(struct arena *a, const struct type *t)
{
    return arena_printf(a, "%ux%ux%u", (unsigned)t->dims[0], (unsigned)t->dims[1],
                        (unsigned)t->dims[2]);
}

bool layer_size(struct front *f, const struct layer *l, uint64_t c, uint64_t h, uint64_t w)
{
    const char *what = NULL;
    if (c > MAX_CHANNELS) {
        what = arena_printf(f->a, "%d channels", MAX_CHANNELS);
    } else if (h > MAX_EXTENT || w > MAX_EXTENT) {
        what = arena_printf(f->a, "%d rows or columns", MAX_EXTENT);
    } else if (c * h * w > MAX_ELEMENTS) {
        what = arena_printf(f->a, "%d elements", MAX_ELEMENTS);
    }
    if (what) {
        layer_error(f, l, l->entry->loc,
                    "the result would be %llux%llux%llu: more than %s are not accepted",
                    (unsigned long long)c, (unsigned long long)h, (unsigned long long)w, what);
    }
    return !what;
}

uint32_t layer_node(struct front *f, const struct layer *l, struct build *b, enum op op,
                    const uint32_t *args, uint32_t num_args)
{
    struct type t;
    const char *why = "does not fit";
    if (!type_infer(f->p, op, args, num_args, b->attrs, b->num_attrs, &t, &why)) {
        layer_error(f, l, l->entry->loc, "%s", why);
        return NONE;
    }
    if (t.kind == KIND_TENSOR && !layer_size(f, l, t.dims[0], t.dims[1], t.dims[2])) {
        return NONE;
    }
    return build_node(b, op, args, num_args);
}
