/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

/*
 * Both libraries leave on an error by longjmp. What must survive the jump lies in a struct of the
 * caller, so that no local variable is touched between setjmp and the jump.
 */

static enum rt_status wrong_size(struct rt_error *err, const char *path, uint32_t width,
                                 uint32_t height, uint32_t model_width, uint32_t model_height)
{
    return rt_app_status(err, RT_ERR_MISMATCH, "%s: image is %ux%u, the model wants %ux%u", path,
                         width, height, model_width, model_height);
}

/* ---- PNG ------------------------------------------------------------------------------------ */

struct png_job {
    png_structp png;
    png_infop info;
    const char *path;
    const uint8_t *data;
    size_t left;
    uint32_t width, height; /* wanted */
    struct rt_app_pixels *out;
    png_bytep *rows;
    struct rt_error *err;
    jmp_buf leave;
};

static void png_failed(png_structp png, png_const_charp text)
{
    struct png_job *job = png_get_error_ptr(png);
    rt_app_status(job->err, RT_ERR_FORMAT, "%s: damaged PNG image: %s", job->path, text);
    longjmp(job->leave, 1);
}

static void png_ignore(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void png_take(png_structp png, png_bytep out, size_t size)
{
    struct png_job *job = png_get_io_ptr(png);
    if (size > job->left)
        png_error(png, "the file is truncated");
    memcpy(out, job->data, size);
    job->data += size;
    job->left -= size;
}

/* Everything becomes 8 bits grey or RGB, with alpha if the file has transparency in any form. */
static bool png_start(struct png_job *job)
{
    png_structp png = job->png;
    png_set_read_fn(png, job, png_take);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(png, 1 << 16, 1 << 16);
    png_set_chunk_malloc_max(png, 1 << 20);
    png_read_info(png, job->info);
    uint32_t width = png_get_image_width(png, job->info);
    uint32_t height = png_get_image_height(png, job->info);
    if (width != job->width || height != job->height) {
        wrong_size(job->err, job->path, width, height, job->width, job->height);
        return false;
    }
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, job->info);
    return true;
}

static bool png_pixels(struct png_job *job)
{
    struct rt_app_pixels *p = job->out;
    size_t row = png_get_rowbytes(job->png, job->info);
    p->width = job->width;
    p->height = job->height;
    p->channels = png_get_channels(job->png, job->info);
    p->bytes = malloc(row * job->height);
    job->rows = malloc(job->height * sizeof *job->rows);
    if (!p->bytes || !job->rows || row != (size_t)p->width * p->channels) {
        rt_app_status(job->err, RT_ERR_MEMORY, "%s: out of memory", job->path);
        return false;
    }
    for (uint32_t y = 0; y < job->height; y++)
        job->rows[y] = p->bytes + y * row;
    png_read_image(job->png, job->rows);
    png_read_end(job->png, NULL);
    return true;
}

static bool png_work(struct png_job *job)
{
    if (setjmp(job->leave))
        return false;
    job->info = png_create_info_struct(job->png);
    if (!job->info) {
        rt_app_status(job->err, RT_ERR_MEMORY, "%s: out of memory", job->path);
        return false;
    }
    return png_start(job) && png_pixels(job);
}

/* Opaque alpha says nothing and is dropped; what lies behind a transparent pixel is not ours to
 * guess. */
static bool drop_alpha(struct rt_app_pixels *p)
{
    uint32_t colours = p->channels - 1;
    size_t count = (size_t)p->width * p->height;
    for (size_t i = 0; i < count; i++) {
        if (p->bytes[i * p->channels + colours] != 255)
            return false;
        memmove(p->bytes + i * colours, p->bytes + i * p->channels, colours);
    }
    p->channels = colours;
    return true;
}

enum rt_status rt_app_decode_png(const char *path, const uint8_t *data, size_t size, uint32_t width,
                                 uint32_t height, struct rt_app_pixels *out, struct rt_error *err)
{
    struct png_job job = {.path = path,
                          .data = data,
                          .left = size,
                          .width = width,
                          .height = height,
                          .out = out,
                          .err = err};
    *out = (struct rt_app_pixels){0};
    err->status = RT_OK;
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, png_failed, png_ignore);
    if (!job.png)
        return rt_app_status(err, RT_ERR_MEMORY, "%s: out of memory", path);
    bool good = png_work(&job);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    free(job.rows);
    if (good && out->channels % 2 == 0 && !drop_alpha(out))
        rt_app_status(err, RT_ERR_FORMAT,
                      "%s: the image has transparent pixels: put it on a background first", path);
    return err->status;
}

/* ---- JPEG ----------------------------------------------------------------------------------- */

struct jpeg_job {
    struct jpeg_error_mgr manager; /* first: the library hands us a pointer to it */
    struct jpeg_decompress_struct jpeg;
    const char *path;
    const uint8_t *data;
    size_t size;
    uint32_t width, height; /* wanted */
    struct rt_app_pixels *out;
    struct rt_error *err;
    jmp_buf leave;
};

static void jpeg_failed(j_common_ptr jpeg)
{
    struct jpeg_job *job = (struct jpeg_job *)jpeg->err;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    rt_app_status(job->err, RT_ERR_FORMAT, "%s: damaged JPEG image: %s", job->path, text);
    longjmp(job->leave, 1);
}

/* The library repairs damage and warns of it (level -1); a repaired picture is not the picture. */
static void jpeg_message(j_common_ptr jpeg, int level)
{
    if (level < 0)
        jpeg_failed(jpeg);
}

static bool jpeg_start(struct jpeg_job *job)
{
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->mem->max_memory_to_use = 1L << 28;
    jpeg_mem_src(jpeg, job->data, job->size);
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->image_width != job->width || jpeg->image_height != job->height) {
        wrong_size(job->err, job->path, jpeg->image_width, jpeg->image_height, job->width,
                   job->height);
        return false;
    }
    if (jpeg->num_components != 1 && jpeg->num_components != 3) {
        rt_app_status(job->err, RT_ERR_FORMAT,
                      "%s: a JPEG image of %d components (CMYK); RGB is needed", job->path,
                      jpeg->num_components);
        return false;
    }
    jpeg->out_color_space = jpeg->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(jpeg);
    return true;
}

static bool jpeg_work(struct jpeg_job *job)
{
    struct rt_app_pixels *p = job->out;
    if (setjmp(job->leave) || !jpeg_start(job))
        return false;
    p->width = job->width;
    p->height = job->height;
    p->channels = (uint32_t)job->jpeg.output_components;
    p->bytes = malloc((size_t)p->width * p->height * p->channels);
    if (!p->bytes) {
        rt_app_status(job->err, RT_ERR_MEMORY, "%s: out of memory", job->path);
        return false;
    }
    while (job->jpeg.output_scanline < job->height) {
        JSAMPROW row = p->bytes + (size_t)job->jpeg.output_scanline * p->width * p->channels;
        jpeg_read_scanlines(&job->jpeg, &row, 1);
    }
    jpeg_finish_decompress(&job->jpeg);
    return true;
}

enum rt_status rt_app_decode_jpeg(const char *path, const uint8_t *data, size_t size,
                                  uint32_t width, uint32_t height, struct rt_app_pixels *out,
                                  struct rt_error *err)
{
    struct jpeg_job job = {.path = path,
                           .data = data,
                           .size = size,
                           .width = width,
                           .height = height,
                           .out = out,
                           .err = err};
    *out = (struct rt_app_pixels){0};
    err->status = RT_OK;
    job.jpeg.err = jpeg_std_error(&job.manager);
    job.manager.error_exit = jpeg_failed;
    job.manager.emit_message = jpeg_message;
    if (!jpeg_work(&job) && err->status == RT_OK)
        rt_app_status(err, RT_ERR_FORMAT, "%s: damaged JPEG image", path);
    jpeg_destroy_decompress(&job.jpeg);
    return err->status;
}
