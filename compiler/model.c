/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- reports -------------------------------------------------------------------------------- */

enum { MAX_ERRORS = 50 };

bool front_once(struct front *f, struct loc loc)
{
    bool is_new;
    struct loc *key = arena_alloc(f->a, sizeof *key);
    *key = loc;
    map_put(&f->places, key, sizeof *key, &is_new);
    return is_new;
}

static void report(struct front *f, struct loc loc, const char *text)
{
    f->printed = front_once(f, loc);
    if (f->printed) {
        diag_error(loc, "%s", text);
        if (diag_error_count() >= MAX_ERRORS) {
            diag_note(NO_LOC, "stopping after %d errors", MAX_ERRORS);
            diag_check();
        }
    }
}

static const char *vtext(struct front *f, const char *fmt, va_list ap)
{
    char small[512];
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(small, sizeof small, fmt, again);
    va_end(again);
    if (len < 0) {
        return fmt;
    }
    char *text = arena_alloc(f->a, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, ap);
    return text;
}

void front_error(struct front *f, struct loc loc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *text = vtext(f, fmt, ap);
    va_end(ap);
    report(f, loc, text);
}

void layer_error(struct front *f, const struct layer *l, struct loc loc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *text = vtext(f, fmt, ap);
    va_end(ap);
    report(f, loc, arena_printf(f->a, "%s '%s': %s", l->op ? l->op->name : "layer", l->name, text));
}

void front_hint(struct front *f, struct loc loc, const char *fmt, ...)
{
    if (!f->printed) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    diag_hint(loc, "%s", vtext(f, fmt, ap));
    va_end(ap);
}

void front_check_keys(struct front *f, const struct yaml *map, const char *what,
                      const char *const *known)
{
    for (uint32_t i = 0; i < map->len; i++) {
        const struct yaml *key = map->key[i];
        bool found = false;
        for (uint32_t k = 0; known[k] && !found; k++) {
            found = strcmp(key->text, known[k]) == 0;
        }
        if (found) {
            continue;
        }
        front_error(f, key->loc, "%s has no key %s", what, yaml_describe(f->a, key));
        const char *near = diag_nearest(key->text, known);
        if (near) {
            front_hint(f, key->loc, "did you mean '%s'?", near);
        }
    }
}

bool front_name(struct front *f, const struct yaml *y, const char *what, const char **out)
{
    static const char *const allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (y->kind != YAML_SCALAR || !*y->text || strspn(y->text, allowed) != strlen(y->text) ||
        strlen(y->text) > MAX_NAME || y->text[0] == '.' || y->text[0] == '-') {
        front_error(f, y->loc,
                    "%s has the name %s: wanted letters, digits, '_', '.' or '-', at most %d", what,
                    yaml_describe(f->a, y), MAX_NAME);
        return false;
    }
    *out = y->text;
    return true;
}

const char *front_path(struct front *f, const char *name)
{
    return name[0] == '/' ? name : arena_printf(f->a, "%s%s", f->folder, name);
}

/* ---- the header ----------------------------------------------------------------------------- */

static void read_shape(struct front *f, const struct yaml *input)
{
    static const int64_t limit[3] = {MAX_CHANNELS, MAX_EXTENT, MAX_EXTENT};
    const struct yaml *y = yaml_get(input, "shape");
    int64_t v[3] = {0, 0, 0};
    bool ok = y && y->kind == YAML_LIST && y->len == 3;
    for (uint32_t i = 0; ok && i < 3; i++) {
        ok = yaml_int(y->item[i], 1, limit[i], &v[i]);
        f->p->model.input[i] = (uint32_t)v[i];
    }
    if (!y) {
        front_error(f, input->loc, "the input has no 'shape'");
    } else if (!ok || v[0] * v[1] * v[2] > MAX_ELEMENTS) {
        front_error(f, y->loc,
                    "'shape' must be [channels, rows, columns]: 1 to %d channels, 1 to %d rows and "
                    "columns, at most %d elements",
                    MAX_CHANNELS, MAX_EXTENT, MAX_ELEMENTS);
    }
}

static void read_range(struct front *f, const struct yaml *input)
{
    double *range = f->p->model.range;
    const struct yaml *y = yaml_get(input, "range");
    range[0] = 0;
    range[1] = 1;
    if (y && !(y->kind == YAML_LIST && y->len == 2 && yaml_real(y->item[0], &range[0]) &&
               yaml_real(y->item[1], &range[1]) && range[0] < range[1])) {
        front_error(f, y->loc,
                    "'range' must be [low, high]: the values that the bytes 0 and 255 of a picture "
                    "stand for, low < high");
    }
}

/* One number for all channels, or one for each. */
static const double *read_channels(struct front *f, const struct yaml *input, const char *key,
                                   double otherwise, bool positive)
{
    uint32_t channels = f->p->model.input[0];
    double *out = arena_array(f->a, channels, sizeof *out);
    const struct yaml *y = yaml_get(input, key);
    for (uint32_t i = 0; i < channels; i++) {
        out[i] = otherwise;
    }
    bool ok = !y || y->kind == YAML_SCALAR || (y->kind == YAML_LIST && y->len == channels);
    for (uint32_t i = 0; y && ok && i < channels; i++) {
        ok = yaml_real(y->kind == YAML_LIST ? y->item[i] : y, &out[i]) && (!positive || out[i] > 0);
    }
    if (!ok) {
        front_error(f, y->loc,
                    "'%s' must be one %snumber, or %u of them (one for each channel), found %s",
                    key, positive ? "positive " : "", (unsigned)channels,
                    y->kind == YAML_LIST ? arena_printf(f->a, "a list of %u", (unsigned)y->len)
                                         : yaml_describe(f->a, y));
    }
    return out;
}

static void read_input(struct front *f)
{
    static const char *const keys[] = {"shape", "range", "mean", "std", NULL};
    const struct yaml *y = yaml_get(f->root, "input");
    if (!y) {
        front_error(f, f->root->loc, "the model has no 'input'");
        front_hint(f, f->root->loc, "for example: input: {shape: [3, 32, 32], range: [0, 1]}");
        return;
    }
    if (y->kind != YAML_MAPPING) {
        front_error(f, y->loc, "'input' must be a mapping with the key 'shape', found %s",
                    yaml_describe(f->a, y));
        return;
    }
    front_check_keys(f, y, "input", keys);
    read_shape(f, y);
    read_range(f, y);
    f->p->model.mean = read_channels(f, y, "mean", 0, false);
    f->p->model.std = read_channels(f, y, "std", 1, true);
}

static void invent_weights(struct front *f)
{
    f->inventing = true;
    f->weights = f->p->weights = weights_invented(f->a);
}

static void read_weights(struct front *f)
{
    const struct yaml *y = yaml_get(f->root, "weights");
    if (!y) {
        if (f->planning) {
            invent_weights(f);
        }
        return;
    }
    f->weights_loc = y->loc;
    if (y->kind != YAML_SCALAR || yaml_is_null(y)) {
        front_error(f, y->loc, "'weights' must be the name of a safetensors file, found %s",
                    yaml_describe(f->a, y));
        return;
    }
    const char *path = front_path(f, y->text), *why = "";
    if (f->planning && access(path, F_OK) != 0 && errno == ENOENT) {
        invent_weights(f);
        return;
    }
    if (!weights_open(f->a, path, &f->weights, &why)) {
        front_error(f, y->loc, "weights file %s: %s", yaml_describe(f->a, y), why);
        f->weights = NULL;
        return;
    }
    f->p->weights_path = path;
    f->p->weights = f->weights;
}

static bool good_label(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) {
            return false;
        }
    }
    return len > 0 && len <= 256;
}

static void add_label(struct front *f, const char ***labels, uint32_t *len, uint32_t *cap,
                      const char *s, size_t n)
{
    ARENA_GROW(f->a, *labels, *len, *cap);
    (*labels)[(*len)++] = arena_strndup(f->a, s, n);
}

/* A list, or a text file with one label a line. */
static void read_labels(struct front *f)
{
    const struct yaml *y = yaml_get(f->root, "labels");
    const char **labels = NULL;
    uint32_t len = 0, cap = 0;
    if (!y) {
        return;
    }
    if (y->kind == YAML_LIST) {
        for (uint32_t i = 0; i < y->len; i++) {
            const struct yaml *l = y->item[i];
            if (l->kind != YAML_SCALAR || !good_label(l->text, strlen(l->text))) {
                front_error(f, l->loc,
                            "a label must be a text of 1 to 256 printable characters, found %s",
                            yaml_describe(f->a, l));
                return;
            }
            add_label(f, &labels, &len, &cap, l->text, strlen(l->text));
        }
    } else if (y->kind == YAML_SCALAR && !yaml_is_null(y)) {
        struct mapped_file m;
        const char *why;
        if (!file_map(front_path(f, y->text), &m, &why)) {
            front_error(f, y->loc, "labels file %s: %s", yaml_describe(f->a, y), why);
            return;
        }
        const char *s = (const char *)m.data, *end = s + m.size;
        while (s < end) {
            const char *nl = memchr(s, '\n', (size_t)(end - s));
            size_t n = (size_t)((nl ? nl : end) - s), shown = n > 0 && s[n - 1] == '\r' ? n - 1 : n;
            if (!good_label(s, shown) || len > MAX_CHANNELS) {
                front_error(
                    f, y->loc,
                    "labels file %s: line %u is not a text of 1 to 256 printable characters",
                    yaml_describe(f->a, y), (unsigned)len + 1);
                return;
            }
            add_label(f, &labels, &len, &cap, s, shown);
            s += nl ? n + 1 : n;
        }
    } else {
        front_error(f, y->loc,
                    "'labels' must be a list of texts, or the name of a text file; found %s",
                    yaml_describe(f->a, y));
        return;
    }
    f->p->model.labels = labels;
    f->p->model.num_labels = len;
}

static void read_header(struct front *f)
{
    static const char *const keys[] = {"name",   "input",  "weights", "labels",
                                       "blocks", "layers", "output",  NULL};
    if (f->root->kind != YAML_MAPPING) {
        diag_fatal(f->root->loc,
                   "a model must be a mapping with the keys name, input, layers; found %s",
                   yaml_describe(f->a, f->root));
    }
    front_check_keys(f, f->root, "a model", keys);
    const struct yaml *name = yaml_get(f->root, "name");
    if (!name) {
        front_error(f, f->root->loc, "the model has no 'name'");
    } else {
        front_name(f, name, "the model", &f->p->model.name);
    }
    read_input(f);
    read_weights(f);
    read_labels(f);
    diag_check();
}

/* ---- the network ---------------------------------------------------------------------------- */

static uint32_t find_output(struct front *f, uint32_t last)
{
    const struct yaml *y = yaml_get(f->root, "output");
    if (!y) {
        return last;
    }
    const char *name = scope_text(f, NULL, y);
    uint32_t found = name ? graph_find(f, NULL, name) : NONE;
    if (name && found == NONE) {
        front_error(f, y->loc, "the output '%s' does not exist", name);
        const char *near = graph_nearest(f, NULL, name);
        if (near) {
            front_hint(f, y->loc, "did you mean '%s'?", near);
        }
    }
    diag_check();
    return found;
}

static void finish(struct front *f, uint32_t output, struct loc loc)
{
    struct prog *p = f->p;
    uint32_t value = f->layers[output].value;
    if (value == f->layers[INPUT_LAYER].value) {
        diag_fatal(loc, "the output '%s' is the network's input, unchanged",
                   f->layers[output].name);
    }
    p->model.num_outputs = (uint32_t)type_elements(value_type(f, value));
    if (p->model.num_labels && p->model.num_labels != p->model.num_outputs) {
        diag_fatal(yaml_get(f->root, "labels")->loc,
                   "there are %u labels, but the output '%s' is %s: %u values",
                   (unsigned)p->model.num_labels, f->layers[output].name,
                   shape_text(f->a, value_type(f, value)), (unsigned)p->model.num_outputs);
    }
    struct build b = build_at(p, loc, "");
    build1(&b, OP_output, value);
}

static void read_network(struct front *f)
{
    const struct yaml *layers = yaml_get(f->root, "layers");
    if (!layers || layers->kind != YAML_LIST || layers->len == 0) {
        diag_fatal(layers ? layers->loc : f->root->loc,
                   "the model needs a list 'layers' with at least one layer");
    }
    blocks_read(f, yaml_get(f->root, "blocks"));
    uint32_t last = blocks_expand(f, layers);
    diag_check();
    uint32_t output = find_output(f, last);
    graph_resolve(f, output);
    struct build b = build_at(f->p, yaml_get(f->root, "input")->loc, "input");
    f->layers[INPUT_LAYER].value = build_node(&b, OP_input, NULL, 0);
    layers_build(f);
    diag_check();
    const struct yaml *y = yaml_get(f->root, "output");
    finish(f, output, y ? y->loc : f->layers[output].entry->loc);
}

static struct prog *parse(struct arena *a, const char *path, const char *text, size_t len,
                          bool plan)
{
    struct front f = {.a = a, .p = prog_new(a, STAGE_NN), .path = path, .planning = plan};
    const char *slash = strrchr(path, '/');
    f.folder = slash ? arena_strndup(a, path, (size_t)(slash - path) + 1) : "";
    struct map *maps[] = {&f.places, &f.names, &f.blocks, &f.used_blocks, &f.checked};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        map_init(maps[i], a);
    }
    f.root = yaml_parse(a, path, text, len);
    f.p->source = arena_strdup(a, path);
    read_header(&f);
    f.p->model.hash = hash_bytes(text, len, f.weights ? weights_hash(f.weights) : 0);
    read_network(&f);
    prog_verify(f.p, "the front end");
    return f.p;
}

struct prog *model_parse(struct arena *a, const char *path, const char *text, size_t len)
{
    return parse(a, path, text, len, false);
}

struct prog *model_parse_plan(struct arena *a, const char *path, const char *text, size_t len)
{
    return parse(a, path, text, len, true);
}

struct prog *model_load(struct arena *a, const char *path)
{
    struct mapped_file m;
    const char *why;
    if (!file_map(path, &m, &why)) {
        diag_fatal(NO_LOC, "%s: %s", path, why);
    }
    return model_parse(a, path, (const char *)m.data, m.size);
}
