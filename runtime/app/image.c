/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/sys.h"

/* No picture of the size that a model takes needs more; a mistaken argument does not fill memory.
 */
#define FILE_LIMIT ((uint64_t)256 << 20)

enum format { FORMAT_PNG, FORMAT_JPEG, FORMAT_NPY, FORMAT_RECORDS, FORMAT_FLOATS, FORMAT_UNKNOWN };

struct source {
    const char *path;
    int fd;
    uint64_t size;
    enum format format;
};

uint64_t rt_app_pixel_count(const struct rt_interface *model)
{
    return (uint64_t)model->input.c * model->input.h * model->input.w;
}

double rt_app_byte_value(const struct rt_interface *model, uint8_t byte)
{
    return model->range[0] + (double)byte / 255 * (model->range[1] - model->range[0]);
}

double rt_app_float32(const uint8_t *p)
{
    uint32_t bits =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static bool has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n > k && strcmp(path + n - k, suffix) == 0;
}

/*
 * The first bytes decide. Records and floats have none of their own: there the name decides, and
 * before the first bytes do where the size is right too, for a float may look like anything.
 */
static enum format format_of(const struct rt_interface *m, const struct source *s,
                             const uint8_t head[8], size_t num_head)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t jpeg[3] = {0xff, 0xd8, 0xff};
    static const uint8_t npy[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    const uint64_t pixels = rt_app_pixel_count(m);
    bool records = has_suffix(s->path, ".bin");
    bool floats = has_suffix(s->path, ".raw") || has_suffix(s->path, ".f32");
    if ((records && s->size % (1 + pixels) == 0) || (floats && s->size == 4 * pixels))
        return records ? FORMAT_RECORDS : FORMAT_FLOATS;
    if (num_head >= sizeof png && memcmp(head, png, sizeof png) == 0)
        return FORMAT_PNG;
    if (num_head >= sizeof jpeg && memcmp(head, jpeg, sizeof jpeg) == 0)
        return FORMAT_JPEG;
    if (num_head >= sizeof npy && memcmp(head, npy, sizeof npy) == 0)
        return FORMAT_NPY;
    return records ? FORMAT_RECORDS : floats ? FORMAT_FLOATS : FORMAT_UNKNOWN;
}

static bool read_at(int fd, uint8_t *out, size_t size, uint64_t from)
{
    while (size > 0) {
        ssize_t got = pread(fd, out, size, (off_t)from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        out += got;
        from += (uint64_t)got;
        size -= (size_t)got;
    }
    return true;
}

static enum rt_status inspect(const struct rt_interface *m, struct source *s, struct rt_error *err)
{
    uint8_t head[8] = {0};
    struct stat st;
    if (fstat(s->fd, &st) != 0)
        return rt_app_status(err, RT_ERR_IO, "%s: %s", s->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return rt_app_status(err, RT_ERR_IO, "%s: %s", s->path,
                             S_ISDIR(st.st_mode) ? strerror(EISDIR) : "not a regular file");
    s->size = (uint64_t)st.st_size;
    if (s->size == 0)
        return rt_app_status(err, RT_ERR_FORMAT, "%s: the file is empty", s->path);
    size_t num_head = s->size < sizeof head ? (size_t)s->size : sizeof head;
    if (!read_at(s->fd, head, num_head, 0))
        return rt_app_status(err, RT_ERR_IO, "%s: cannot read it", s->path);
    s->format = format_of(m, s, head, num_head);
    if (s->format == FORMAT_UNKNOWN)
        return rt_app_status(
            err, RT_ERR_FORMAT,
            "%s: not an image of a known format (PNG, JPEG, .npy, .bin of label and "
            "bytes, .f32 or .raw of float32)",
            s->path);
    return RT_OK;
}

/* O_NONBLOCK: a named pipe must not hang us before it is refused. */
static enum rt_status open_source(const struct rt_interface *m, const char *path, struct source *s,
                                  struct rt_error *err)
{
    *s = (struct source){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (s->fd < 0)
        return rt_app_status(err, RT_ERR_IO, "%s: %s", path, strerror(errno));
    enum rt_status status = inspect(m, s, err);
    if (status != RT_OK)
        close(s->fd);
    return status;
}

/* A part of the file in memory; wiped and freed by release() */
static enum rt_status read_part(const struct source *s, uint64_t from, uint64_t size, uint8_t **out,
                                struct rt_error *err)
{
    if (size > FILE_LIMIT)
        return rt_app_status(err, RT_ERR_FORMAT,
                             "%s: the file is too large for an image (%llu bytes)", s->path,
                             (unsigned long long)size);
    uint8_t *bytes = malloc((size_t)size);
    if (!bytes)
        return rt_app_status(err, RT_ERR_MEMORY, "%s: out of memory", s->path);
    if (!read_at(s->fd, bytes, (size_t)size, from)) {
        free(bytes);
        return rt_app_status(err, RT_ERR_IO, "%s: cannot read it", s->path);
    }
    *out = bytes;
    return RT_OK;
}

static void release(uint8_t *bytes, uint64_t size)
{
    if (bytes)
        sys_wipe(bytes, (size_t)size);
    free(bytes);
}

static enum rt_status count_records(const struct rt_interface *m, const struct source *s,
                                    uint64_t *count, struct rt_error *err)
{
    uint64_t record = 1 + rt_app_pixel_count(m);
    if (s->size % record != 0)
        return rt_app_status(
            err, RT_ERR_FORMAT,
            "%s: %llu bytes are no whole number of records; the model wants records "
            "of 1 + %ux%ux%u bytes",
            s->path, (unsigned long long)s->size, m->input.c, m->input.h, m->input.w);
    *count = s->size / record;
    return RT_OK;
}

static enum rt_status load_record(const struct rt_interface *m, const struct source *s,
                                  uint64_t index, double *values, int *label, struct rt_error *err)
{
    uint64_t count = 0, pixels = rt_app_pixel_count(m);
    uint8_t *bytes = NULL;
    enum rt_status status = count_records(m, s, &count, err);
    if (status != RT_OK)
        return status;
    if (index >= count)
        return rt_app_status(err, RT_ERR_ARGUMENT, "%s: no record %llu, the file has %llu", s->path,
                             (unsigned long long)index, (unsigned long long)count);
    status = read_part(s, index * (1 + pixels), 1 + pixels, &bytes, err);
    if (status != RT_OK)
        return status;
    *label = bytes[0];
    for (uint64_t i = 0; i < pixels; i++)
        values[i] = rt_app_byte_value(m, bytes[1 + i]);
    release(bytes, 1 + pixels);
    return RT_OK;
}

static enum rt_status load_floats(const struct rt_interface *m, const char *path,
                                  const uint8_t *bytes, uint64_t size, double *values,
                                  struct rt_error *err)
{
    uint64_t pixels = rt_app_pixel_count(m);
    if (size != 4 * pixels)
        return rt_app_status(err, RT_ERR_FORMAT,
                             "%s: %llu bytes, the model wants %ux%ux%u float32 values (%llu bytes)",
                             path, (unsigned long long)size, m->input.c, m->input.h, m->input.w,
                             (unsigned long long)(4 * pixels));
    for (uint64_t i = 0; i < pixels; i++)
        values[i] = rt_app_float32(bytes + 4 * i);
    return RT_OK;
}

/* The integer weights of ITU-R 601 that image libraries use; they sum to 2^16, so grey stays grey.
 */
static uint8_t luma(const uint8_t rgb[3])
{
    return (uint8_t)((19595U * rgb[0] + 38470U * rgb[1] + 7471U * rgb[2] + 0x8000U) >> 16);
}

static void spread_pixels(const struct rt_interface *m, const struct rt_app_pixels *p,
                          double *values)
{
    size_t plane = (size_t)p->width * p->height;
    for (size_t i = 0; i < plane; i++) {
        const uint8_t *pixel = p->bytes + i * p->channels;
        if (m->input.c == 1) {
            values[i] = rt_app_byte_value(m, p->channels == 3 ? luma(pixel) : pixel[0]);
            continue;
        }
        for (size_t c = 0; c < 3; c++)
            values[c * plane + i] = rt_app_byte_value(m, pixel[p->channels == 3 ? c : 0]);
    }
}

static enum rt_status load_picture(const struct rt_interface *m, const struct source *s,
                                   const uint8_t *bytes, double *values, struct rt_error *err)
{
    struct rt_app_pixels pixels = {0};
    if (m->input.c != 1 && m->input.c != 3)
        return rt_app_status(
            err, RT_ERR_MISMATCH,
            "%s: the model has %u input channels; a picture has 1 or 3, use .npy or .f32", s->path,
            m->input.c);
    enum rt_status status = (s->format == FORMAT_PNG ? rt_app_decode_png : rt_app_decode_jpeg)(
        s->path, bytes, (size_t)s->size, m->input.w, m->input.h, &pixels, err);
    if (status == RT_OK)
        spread_pixels(m, &pixels, values);
    release(pixels.bytes, (uint64_t)pixels.width * pixels.height * pixels.channels);
    return status;
}

static enum rt_status load_whole(const struct rt_interface *m, const struct source *s,
                                 double *values, struct rt_error *err)
{
    uint8_t *bytes = NULL;
    enum rt_status status = read_part(s, 0, s->size, &bytes, err);
    if (status != RT_OK)
        return status;
    if (s->format == FORMAT_FLOATS)
        status = load_floats(m, s->path, bytes, s->size, values, err);
    else if (s->format == FORMAT_NPY)
        status = rt_app_decode_npy(m, s->path, bytes, (size_t)s->size, values, err);
    else
        status = load_picture(m, s, bytes, values, err);
    release(bytes, s->size);
    return status;
}

static enum rt_status check_finite(const struct rt_interface *m, const char *path,
                                   const double *values, struct rt_error *err)
{
    for (uint64_t i = 0; i < rt_app_pixel_count(m); i++)
        if (!isfinite(values[i]))
            return rt_app_status(err, RT_ERR_FORMAT, "%s: value %llu is not a finite number", path,
                                 (unsigned long long)i);
    return RT_OK;
}

enum rt_status rt_app_image_load(const struct rt_interface *model, const char *path, bool has_index,
                                 uint64_t index, double *values, int *label, struct rt_error *err)
{
    struct source s;
    enum rt_status status = open_source(model, path, &s, err);
    if (status != RT_OK)
        return status;
    *label = -1;
    if (s.format == FORMAT_RECORDS)
        status = load_record(model, &s, has_index ? index : 0, values, label, err);
    else if (has_index)
        status = rt_app_status(err, RT_ERR_ARGUMENT,
                               "%s: --index is for .bin files of several records", path);
    else
        status = load_whole(model, &s, values, err);
    close(s.fd);
    return status == RT_OK ? check_finite(model, path, values, err) : status;
}

enum rt_status rt_app_image_records(const struct rt_interface *model, const char *path,
                                    uint64_t *count, struct rt_error *err)
{
    struct source s;
    enum rt_status status = open_source(model, path, &s, err);
    if (status != RT_OK)
        return status;
    *count = 0;
    if (s.format == FORMAT_RECORDS)
        status = count_records(model, &s, count, err);
    close(s.fd);
    return status;
}

uint64_t rt_app_image_outside(const struct rt_interface *model, const double *values)
{
    double low = fmin(model->range[0], model->range[1]),
           high = fmax(model->range[0], model->range[1]);
    double slack = 1e-6 * (high - low); /* float32 rounding of the ends is no mistake */
    uint64_t outside = 0;
    for (uint64_t i = 0; i < rt_app_pixel_count(model); i++)
        outside += values[i] < low - slack || values[i] > high + slack;
    return outside;
}
