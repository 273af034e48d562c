/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * safetensors: u64 length of the header, the header (JSON: name -> {dtype, shape, data_offsets}),
 * then the data. Nothing in the file is believed: every length is checked against the bytes that
 * are left, in 64-bit arithmetic that cannot overflow.
 */

struct weights {
    struct weights_tensor *tensor; /* sorted by name */
    uint32_t num;
    struct mapped_file file;
    struct arena *inventing; /* NULL: a file */
    struct map invented;     /* name -> const struct weights_tensor * */
};

enum { MOST_TENSORS = 1 << 20 };
#define MOST_HEADER ((uint64_t)100 << 20) /* the format's own limit */

struct extent {
    uint64_t begin, end;
    const char *name;
};

struct reader {
    struct arena *a;
    const uint8_t *data; /* after the header */
    uint64_t size;
    struct extent *extent; /* of every tensor */
    const char **why;
};

#define BAD(r, ...) (*(r)->why = arena_printf((r)->a, __VA_ARGS__), false)

static const struct {
    const char *name;
    uint64_t bytes;
    unsigned dtype;
} dtypes[] = {{"F64", 8, DTYPE_F64},   {"F32", 4, DTYPE_F32},   {"F16", 2, DTYPE_F16},
              {"BF16", 2, DTYPE_BF16}, {"I64", 8, DTYPE_OTHER}, {"U64", 8, DTYPE_OTHER},
              {"I32", 4, DTYPE_OTHER}, {"U32", 4, DTYPE_OTHER}, {"I16", 2, DTYPE_OTHER},
              {"U16", 2, DTYPE_OTHER}, {"I8", 1, DTYPE_OTHER},  {"U8", 1, DTYPE_OTHER},
              {"BOOL", 1, DTYPE_OTHER}};

/* 0 for a type that we do not know: its size cannot be checked, only its place. */
static uint64_t dtype_bytes(const char *name, struct weights_tensor *t)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            t->dtype = dtypes[i].dtype;
            return dtypes[i].bytes;
        }
    }
    t->dtype = DTYPE_OTHER;
    return 0;
}

static bool natural(const json_t *j, uint64_t *out)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0) {
        return false;
    }
    *out = (uint64_t)json_integer_value(j);
    return true;
}

static bool read_shape(struct reader *r, const json_t *shape, struct weights_tensor *t)
{
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape)) {
        return BAD(r, "tensor '%s': shape is not a list", t->name);
    }
    t->rank = rank <= 4 ? (uint8_t)rank : 255;
    t->elements = 1;
    for (size_t i = 0; i < rank; i++) {
        uint64_t dim;
        if (!natural(json_array_get(shape, i), &dim)) {
            return BAD(r, "tensor '%s': shape[%zu] is not a size", t->name, i);
        }
        if (dim > UINT32_MAX || (dim != 0 && t->elements > ((uint64_t)1 << 60) / dim)) {
            return BAD(r, "tensor '%s': shape is too large", t->name);
        }
        t->elements *= dim;
        if (rank <= 4) {
            t->dims[i] = (uint32_t)dim;
        }
    }
    return true;
}

static bool read_tensor(struct reader *r, const char *name, const json_t *entry,
                        struct weights_tensor *t, struct extent *extent)
{
    t->name = arena_strdup(r->a, name);
    const json_t *dtype = json_object_get(entry, "dtype");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t begin, end;
    if (!json_is_object(entry) || !json_is_string(dtype)) {
        return BAD(r, "tensor '%s' has no dtype", t->name);
    }
    if (json_array_size(offsets) != 2 || !natural(json_array_get(offsets, 0), &begin) ||
        !natural(json_array_get(offsets, 1), &end)) {
        return BAD(r, "tensor '%s': data_offsets are not two offsets", t->name);
    }
    if (!read_shape(r, json_object_get(entry, "shape"), t)) {
        return false;
    }
    if (begin > end || end > r->size) {
        return BAD(r, "tensor '%s': bytes %llu to %llu are outside the %llu bytes of data", t->name,
                   (unsigned long long)begin, (unsigned long long)end, (unsigned long long)r->size);
    }
    uint64_t bytes = dtype_bytes(json_string_value(dtype), t);
    if (bytes != 0 && t->elements * bytes != end - begin) {
        return BAD(r, "tensor '%s' has %llu bytes, its shape and type (%s) want %llu", t->name,
                   (unsigned long long)(end - begin), json_string_value(dtype),
                   (unsigned long long)(t->elements * bytes));
    }
    t->data = r->data + begin;
    *extent = (struct extent){begin, end, t->name};
    return true;
}

static int by_place(const void *a, const void *b)
{
    const struct extent *x = a;
    const struct extent *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static bool check_overlap(struct reader *r, uint32_t num)
{
    if (num != 0) {
        qsort(r->extent, num, sizeof *r->extent, by_place);
    }
    for (uint32_t i = 1; i < num; i++) {
        if (r->extent[i - 1].end > r->extent[i].begin) {
            return BAD(r, "tensors '%s' and '%s' overlap", r->extent[i - 1].name,
                       r->extent[i].name);
        }
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct weights_tensor *)a)->name,
                  ((const struct weights_tensor *)b)->name);
}

static bool read_header(struct reader *r, json_t *root, struct weights *w)
{
    if (!json_is_object(root)) {
        return BAD(r, "the header is not a JSON object");
    }
    if (json_object_size(root) > MOST_TENSORS) {
        return BAD(r, "more than %d tensors", MOST_TENSORS);
    }
    size_t most = json_object_size(root);
    w->tensor = arena_array(r->a, most, sizeof *w->tensor);
    r->extent = arena_array(r->a, most, sizeof *r->extent);
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        if (!read_tensor(r, name, entry, &w->tensor[w->num], &r->extent[w->num])) {
            return false;
        }
        w->num++;
    }
    if (w->num != 0) {
        qsort(w->tensor, w->num, sizeof *w->tensor, by_name);
    }
    return check_overlap(r, w->num);
}

bool weights_open(struct arena *a, const char *path, struct weights **out, const char **why)
{
    struct weights *w = arena_alloc(a, sizeof *w);
    struct reader r = {.a = a, .why = why};
    if (!file_map(path, &w->file, why)) {
        return false;
    }
    if (w->file.size < 8) {
        return BAD(&r, "too short for a safetensors file (%zu bytes)", w->file.size);
    }
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) {
        header = header << 8 | w->file.data[i];
    }
    uint64_t left = w->file.size - 8;
    if (header > left || header > MOST_HEADER) {
        return BAD(
            &r, "not a safetensors file, or truncated: the header claims %llu bytes, %llu are left",
            (unsigned long long)header, (unsigned long long)left);
    }
    r.data = w->file.data + 8 + header;
    r.size = left - header;
    json_error_t error;
    json_t *root =
        json_loadb((const char *)w->file.data + 8, (size_t)header, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        return BAD(&r, "the header is not valid JSON: %s (byte %d)", error.text, error.position);
    }
    bool good = read_header(&r, root, w);
    json_decref(root);
    *out = good ? w : NULL;
    return good;
}

const struct weights_tensor *weights_find(const struct weights *w, const char *name)
{
    struct weights_tensor key = {.name = name};
    if (w->inventing) {
        const uint64_t *t = map_get(&w->invented, name, strlen(name));
        return t ? (const struct weights_tensor *)(uintptr_t)*t : NULL;
    }
    return w->num == 0 ? NULL : bsearch(&key, w->tensor, w->num, sizeof key, by_name);
}

uint32_t weights_count(const struct weights *w)
{
    return w->num;
}

const struct weights_tensor *weights_get(const struct weights *w, uint32_t i)
{
    return &w->tensor[i];
}

uint64_t weights_hash(const struct weights *w)
{
    return w->inventing ? 0 : hash_bytes(w->file.data, w->file.size, 0);
}

/* ---- without a file ------------------------------------------------------------------------- */

struct weights *weights_invented(struct arena *a)
{
    struct weights *w = arena_alloc(a, sizeof *w);
    w->inventing = a;
    map_init(&w->invented, a);
    return w;
}

bool weights_are_invented(const struct weights *w)
{
    return w && w->inventing && w->invented.len > 0;
}

const struct weights_tensor *weights_invent(struct weights *w, const char *name, uint8_t rank,
                                            const uint32_t *dims, double most)
{
    bool is_new;
    uint64_t *at = map_put(&w->invented, name, strlen(name), &is_new);
    if (!is_new) {
        return (const struct weights_tensor *)(uintptr_t)*at;
    }
    struct weights_tensor *t = arena_alloc(w->inventing, sizeof *t);
    *t = (struct weights_tensor){.name = arena_strdup(w->inventing, name),
                                 .rank = rank,
                                 .dtype = DTYPE_INVENTED,
                                 .elements = 1,
                                 .most = most};
    for (uint8_t i = 0; i < rank; i++) {
        t->dims[i] = dims[i];
        t->elements *= dims[i];
    }
    *at = (uint64_t)(uintptr_t)t;
    return t;
}

/* In [1/2, 1] of the bound, so that no element is lost beside the others; signs as they come */
static double invented_value(const struct weights_tensor *t, uint64_t i)
{
    uint64_t h = hash_bytes(&i, sizeof i, t->elements);
    double x = fabs(t->most) * (0.5 + ldexp((double)(h >> 12), -53));
    return t->most > 0 && (h & 1) ? -x : x;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static uint64_t little(const uint8_t *p, int bytes)
{
    uint64_t x = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        x = x << 8 | p[i];
    }
    return x;
}

static double from_f32(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* IEEE half: 1 sign, 5 exponent (bias 15), 10 fraction bits */
static double from_f16(uint32_t bits)
{
    int exponent = (int)(bits >> 10 & 31);
    double fraction = bits & 1023;
    double x = exponent == 31  ? (fraction == 0 ? (double)INFINITY : (double)NAN)
               : exponent == 0 ? ldexp(fraction, -24)
                               : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 ? -x : x;
}

double weights_value(const struct weights_tensor *t, uint64_t i)
{
    switch (t->dtype) {
    case DTYPE_F32:
        return from_f32((uint32_t)little(t->data + 4 * i, 4));
    case DTYPE_F64: {
        uint64_t bits = little(t->data + 8 * i, 8);
        double x;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    case DTYPE_F16:
        return from_f16((uint32_t)little(t->data + 2 * i, 2));
    case DTYPE_BF16:
        return from_f32((uint32_t)little(t->data + 2 * i, 2) << 16);
    case DTYPE_INVENTED:
        return invented_value(t, i);
    case DTYPE_OTHER:
        break;
    }
    BUG("tensor '%s' has a type that cannot be read", t->name);
}
