/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <ctype.h>
#include <string.h>

/*
 * NumPy's format: magic, u8 major, u8 minor, header length (u16, from version 2 on u32), the
 * header, the data. The header is a Python dictionary of three entries on one line:
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (1, 28, 28), }
 */
struct header {
    char descr[8];
    bool fortran_order, has_descr, has_order, has_shape;
    uint32_t rank;
    uint64_t shape[4];
};

struct text {
    const char *at, *end;
};

static bool accept(struct text *t, char wanted)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n'))
        t->at++;
    if (t->at == t->end || *t->at != wanted)
        return false;
    t->at++;
    return true;
}

static bool parse_string(struct text *t, char *out, size_t size)
{
    size_t length = 0;
    char quote = '\'';
    if (!accept(t, '\'')) {
        quote = '"';
        if (!accept(t, '"'))
            return false;
    }
    while (t->at < t->end && *t->at != quote) {
        if (length + 1 == size)
            return false;
        out[length++] = *t->at++;
    }
    out[length] = '\0';
    return accept(t, quote);
}

static bool parse_word(struct text *t, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(t->end - t->at) < length || memcmp(t->at, word, length) != 0)
        return false;
    t->at += length;
    return true;
}

static bool parse_bool(struct text *t, bool *out)
{
    while (t->at < t->end && *t->at == ' ')
        t->at++;
    *out = parse_word(t, "True");
    return *out || parse_word(t, "False");
}

static bool parse_shape(struct text *t, struct header *h)
{
    h->rank = 0;
    if (!accept(t, '('))
        return false;
    while (!accept(t, ')')) {
        uint64_t size = 0;
        bool digits = false;
        while (t->at < t->end && isdigit((unsigned char)*t->at)) {
            size = 10 * size + (uint64_t)(*t->at++ - '0');
            digits = true;
            if (size > UINT32_MAX)
                return false;
        }
        if (!digits || h->rank == 4)
            return false;
        h->shape[h->rank++] = size;
        if (!accept(t, ',')) {
            if (!accept(t, ')'))
                return false;
            break;
        }
        while (t->at < t->end && *t->at == ' ')
            t->at++;
    }
    return true;
}

static bool parse_header(struct text *t, struct header *h)
{
    char key[16];
    if (!accept(t, '{'))
        return false;
    while (!accept(t, '}')) {
        bool good = parse_string(t, key, sizeof key) && accept(t, ':');
        if (good && strcmp(key, "descr") == 0)
            good = h->has_descr = parse_string(t, h->descr, sizeof h->descr);
        else if (good && strcmp(key, "fortran_order") == 0)
            good = h->has_order = parse_bool(t, &h->fortran_order);
        else if (good && strcmp(key, "shape") == 0)
            good = h->has_shape = parse_shape(t, h);
        else
            good = false;
        if (!good)
            return false;
        if (!accept(t, ',')) {
            if (!accept(t, '}'))
                return false;
            break;
        }
    }
    return h->has_descr && h->has_order && h->has_shape;
}

/* [c,h,w], [1,c,h,w], or [h,w] for one channel */
static bool shape_fits(const struct rt_interface *m, const struct header *h)
{
    const uint64_t wanted[4] = {1, m->input.c, m->input.h, m->input.w};
    if (h->rank < 2 || (h->rank == 2 && m->input.c != 1))
        return false;
    for (uint32_t i = 0; i < h->rank; i++)
        if (h->shape[i] != wanted[4 - h->rank + i])
            return false;
    return true;
}

static const char *shape_text(const struct header *h, char out[64])
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < h->rank; i++)
        used += (size_t)snprintf(out + used, 64 - used, "%s%llu", i ? "x" : "",
                                 (unsigned long long)h->shape[i]);
    return h->rank ? out : "one number";
}

static double float64(const uint8_t *p)
{
    uint64_t bits = 0;
    double value;
    for (int i = 7; i >= 0; i--)
        bits = bits << 8 | p[i];
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double element(const struct rt_interface *m, const uint8_t *data, size_t bytes, uint64_t i)
{
    if (bytes == 1)
        return rt_app_byte_value(m, data[i]);
    return bytes == 4 ? rt_app_float32(data + 4 * i) : float64(data + 8 * i);
}

enum rt_status rt_app_decode_npy(const struct rt_interface *model, const char *path,
                                 const uint8_t *data, size_t size, double *values,
                                 struct rt_error *err)
{
    static const char *const descr[] = {"|u1", "<f4", "<f8"};
    static const size_t bytes[] = {1, 4, 8};
    struct header h = {0};
    char shape[64];
    uint32_t type = 0;
    uint64_t count = rt_app_pixel_count(model);
    size_t start = size > 6 && data[6] >= 2 ? 12 : 10, length = 0;
    if (size < start)
        return rt_app_status(err, RT_ERR_FORMAT, "%s: truncated .npy file", path);
    if (data[6] < 1 || data[6] > 3)
        return rt_app_status(err, RT_ERR_FORMAT,
                             "%s: .npy format %u is unknown, this program reads 1 to 3", path,
                             data[6]);
    for (size_t i = start; i-- > 8;)
        length = length << 8 | data[i];
    if (length > size - start)
        return rt_app_status(err, RT_ERR_FORMAT, "%s: truncated .npy file", path);
    struct text text = {(const char *)data + start, (const char *)data + start + length};
    if (!parse_header(&text, &h))
        return rt_app_status(err, RT_ERR_FORMAT, "%s: damaged .npy header", path);
    while (type < 3 && strcmp(descr[type], h.descr) != 0)
        type++;
    if (type == 3)
        return rt_app_status(err, RT_ERR_MISMATCH,
                             "%s: elements of type '%s'; only '<f4', '<f8' and '|u1' can be read",
                             path, h.descr);
    if (h.fortran_order)
        return rt_app_status(err, RT_ERR_MISMATCH,
                             "%s: the array is in Fortran order, C order is needed", path);
    if (!shape_fits(model, &h))
        return rt_app_status(err, RT_ERR_MISMATCH, "%s: array is %s, the model wants %ux%ux%u",
                             path, shape_text(&h, shape), model->input.c, model->input.h,
                             model->input.w);
    if (size - start - length != count * bytes[type])
        return rt_app_status(err, RT_ERR_FORMAT, "%s: %zu bytes of data, %llu were promised", path,
                             size - start - length, (unsigned long long)(count * bytes[type]));
    for (uint64_t i = 0; i < count; i++)
        values[i] = element(model, data + start + length, bytes[type], i);
    return RT_OK;
}
