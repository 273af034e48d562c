/* SPDX-License-Identifier: Apache-2.0 */
#include "app/app.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jpeglib.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { W = 12, H = 9, PLANE = W * H };

static const double means[3], stds[3] = {1, 1, 1};
static struct rt_interface model(uint32_t channels)
{
    return (struct rt_interface){.name = "m",
                                 .input = {.c = channels, .h = H, .w = W},
                                 .range = {-1, 3},
                                 .mean = means,
                                 .std = stds};
}

struct bytes {
    uint8_t *at;
    size_t size, capacity;
};

static void put(struct bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->capacity) {
        b->capacity = 2 * (b->size + size);
        b->at = realloc(b->at, b->capacity);
        cr_assert_not_null(b->at);
    }
    memcpy(b->at + b->size, data, size);
    b->size += size;
}

static void png_put(png_structp png, png_bytep data, size_t size)
{
    put(png_get_io_ptr(png), data, size);
}

static void png_flush_nothing(png_structp png)
{
    (void)png;
}

struct png_kind {
    const char *name;
    int colour, depth, interlace;
    uint32_t samples; /* a pixel */
};

static const struct png_kind png_kinds[] = {
    {"grey", PNG_COLOR_TYPE_GRAY, 8, 0, 1},
    {"grey, 16 bits", PNG_COLOR_TYPE_GRAY, 16, 0, 1},
    {"grey, 1 bit", PNG_COLOR_TYPE_GRAY, 1, 0, 1},
    {"palette", PNG_COLOR_TYPE_PALETTE, 8, 0, 1},
    {"grey and alpha", PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0, 2},
    {"RGB", PNG_COLOR_TYPE_RGB, 8, 0, 3},
    {"RGB, interlaced", PNG_COLOR_TYPE_RGB, 8, 1, 3},
    {"RGB and alpha", PNG_COLOR_TYPE_RGB_ALPHA, 8, 0, 4},
};
enum { NUM_PNG_KINDS = sizeof png_kinds / sizeof png_kinds[0] };

/* The sample of pixel (x, y) as 8 bits; alpha is opaque. */
static uint8_t sample(const struct png_kind *k, uint32_t s, uint32_t x, uint32_t y)
{
    if ((k->samples == 2 && s == 1) || s == 3)
        return 255;
    if (k->depth == 1)
        return (x + y) % 3 == 0;
    return (uint8_t)(37 * x + 11 * y + 90 * s);
}

static void palette_colour(uint8_t index, uint8_t rgb[3])
{
    rgb[0] = index;
    rgb[1] = (uint8_t)(255 - index);
    rgb[2] = (uint8_t)(3 * index);
}

static void png_rows(png_structp png, const struct png_kind *k, uint32_t width, uint32_t height,
                     uint8_t alpha)
{
    uint8_t *rows = calloc((size_t)width * 8, height);
    png_bytep *row = calloc(height, sizeof *row);
    for (uint32_t y = 0; y < height; y++) {
        row[y] = rows + (size_t)y * width * 8;
        for (uint32_t x = 0; x < width; x++) {
            for (uint32_t s = 0; s < k->samples; s++) {
                uint8_t v = sample(k, s, x, y);
                bool is_alpha = s + 1 == k->samples && k->samples % 2 == 0;
                if (is_alpha && x == 3 && y == 2)
                    v = alpha;
                if (k->depth == 16)
                    row[y][2 * x] = row[y][2 * x + 1] = v;
                else if (k->depth == 1)
                    row[y][x / 8] |= (uint8_t)(v << (7 - x % 8));
                else
                    row[y][k->samples * x + s] = v;
            }
        }
    }
    png_write_image(png, row);
    free(row);
    free(rows);
}

static struct bytes make_png(const struct png_kind *k, uint32_t width, uint32_t height,
                             uint8_t alpha)
{
    struct bytes out = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &out, png_put, png_flush_nothing);
    png_set_IHDR(png, info, width, height, k->depth, k->colour,
                 k->interlace ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (k->colour == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[256];
        for (int i = 0; i < 256; i++) {
            uint8_t rgb[3];
            palette_colour((uint8_t)i, rgb);
            palette[i] = (png_color){rgb[0], rgb[1], rgb[2]};
        }
        png_set_PLTE(png, info, palette, 256);
    }
    png_write_info(png, info);
    png_rows(png, k, width, height, alpha);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return out;
}

static struct bytes make_jpeg(int components, J_COLOR_SPACE space)
{
    struct bytes out = {0};
    struct jpeg_error_mgr manager;
    struct jpeg_compress_struct jpeg = {.err = jpeg_std_error(&manager)};
    unsigned char *data = NULL;
    unsigned long size = 0;
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &size);
    jpeg.image_width = W;
    jpeg.image_height = H;
    jpeg.input_components = components;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < H) {
        uint8_t line[W * 4];
        JSAMPROW row = line;
        for (int i = 0; i < W * components; i++)
            line[i] = (uint8_t)(100 + 5 * (int)jpeg.next_scanline + 3 * (i / components));
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    put(&out, data, size);
    free(data);
    return out;
}

/* ---- files in a directory of the test's own ---------------------------------------------------
 */

static char directory[64], path[128];

static void enter_directory(void)
{
    strcpy(directory, "/tmp/weft-test-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static void leave_directory(void)
{
    if (path[0])
        unlink(path);
    rmdir(directory);
}

TestSuite(app_image, .init = enter_directory, .fini = leave_directory);

static void save(const char *name, const void *data, size_t size)
{
    if (path[0])
        unlink(path);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, size, f), size);
    fclose(f);
}

static struct rt_error err;
static int label;

static enum rt_status load(uint32_t channels, double *values)
{
    struct rt_interface m = model(channels);
    err = (struct rt_error){0};
    return rt_app_image_load(&m, path, false, 0, values, &label, &err);
}

static void expect_error(uint32_t channels, const char *part)
{
    static double values[4 * PLANE];
    cr_expect_neq(load(channels, values), RT_OK, "accepted, wanted '%s'", part);
    cr_expect_not_null(strstr(err.text, part), "'%s' lacks '%s'", err.text, part);
    cr_expect_null(strchr(err.text, '\n'));
}

static double value_of(uint32_t byte)
{
    return -1 + byte / 255.0 * 4;
}

static double wanted(const struct png_kind *k, uint32_t channels, uint32_t c, uint32_t x,
                     uint32_t y)
{
    uint8_t rgb[3];
    bool grey = k->colour == PNG_COLOR_TYPE_GRAY || k->colour == PNG_COLOR_TYPE_GRAY_ALPHA;
    if (k->colour == PNG_COLOR_TYPE_PALETTE)
        palette_colour(sample(k, 0, x, y), rgb);
    else
        for (uint32_t s = 0; s < 3; s++)
            rgb[s] = (uint8_t)(sample(k, grey ? 0 : s, x, y) * (k->depth == 1 ? 255 : 1));
    if (channels == 3)
        return value_of(rgb[c]);
    /* 0.5 units of a byte: rounding of the integer weights */
    return grey ? value_of(rgb[0])
                : value_of(0) + (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255 * 4;
}

Test(app_image, png_of_every_kind)
{
    double values[3 * PLANE];
    for (uint32_t i = 0; i < NUM_PNG_KINDS; i++) {
        const struct png_kind *k = &png_kinds[i];
        struct bytes png = make_png(k, W, H, 255);
        save("image.dat", png.at, png.size); /* the content tells what it is */
        for (uint32_t channels = 1; channels <= 3; channels += 2) {
            cr_assert_eq(load(channels, values), RT_OK, "%s: %s", k->name, err.text);
            cr_expect_eq(label, -1);
            bool exact = channels == 3 || k->samples < 3;
            double tolerance =
                exact && k->colour != PNG_COLOR_TYPE_PALETTE ? 1e-12 : 0.51 / 255 * 4;
            for (uint32_t c = 0; c < channels; c++)
                for (uint32_t y = 0; y < H; y++)
                    for (uint32_t x = 0; x < W; x++)
                        cr_assert_float_eq(
                            values[c * PLANE + y * W + x], wanted(k, channels, c, x, y), tolerance,
                            "%s, %u channels, (%u,%u,%u)", k->name, channels, c, y, x);
        }
        free(png.at);
    }
}

Test(app_image, luma_keeps_grey)
{
    double values[PLANE];
    struct bytes jpeg = make_jpeg(3, JCS_RGB); /* equal R, G, B */
    save("grey.jpg", jpeg.at, jpeg.size);
    cr_assert_eq(load(1, values), RT_OK, "%s", err.text);
    for (int i = 0; i < PLANE; i++) {
        uint32_t byte = (uint32_t)(100 + 5 * (i / W) + 3 * (i % W));
        cr_expect_float_eq(values[i], value_of(byte), 3.0 / 255 * 4, "pixel %d", i);
    }
    free(jpeg.at);
}

Test(app_image, transparency_is_refused)
{
    for (uint32_t i = 0; i < NUM_PNG_KINDS; i++) {
        if (png_kinds[i].samples % 2)
            continue;
        struct bytes png = make_png(&png_kinds[i], W, H, 254);
        save("image.png", png.at, png.size);
        expect_error(1, "transparent pixels");
        free(png.at);
    }
}

Test(app_image, size_is_checked_never_changed)
{
    char text[64];
    struct bytes png = make_png(&png_kinds[0], 32, 31, 255);
    save("image.png", png.at, png.size);
    snprintf(text, sizeof text, "image is 32x31, the model wants %dx%d", W, H);
    expect_error(1, text);
    free(png.at);
}

/* A header that promises 4 gigapixels must be refused for its size, not tried. */
Test(app_image, huge_png_is_refused_before_allocation)
{
    struct bytes png = make_png(&png_kinds[5], 20000, 1, 255);
    struct rt_app_pixels pixels;
    struct rt_error e = {0};
    cr_expect_eq(rt_app_decode_png("p", png.at, png.size, W, H, &pixels, &e), RT_ERR_MISMATCH);
    cr_expect_null(pixels.bytes);
    free(png.at);
}

static void every_truncation(const char *name, const struct bytes *image)
{
    double values[3 * PLANE];
    for (size_t size = 0; size < image->size; size++) {
        save(name, image->at, size);
        cr_expect_neq(load(3, values), RT_OK, "%s cut to %zu of %zu bytes is accepted", name, size,
                      image->size);
        cr_expect(err.text[0] && !strchr(err.text, '\n'));
    }
}

Test(app_image, truncated_png)
{
    for (uint32_t i = 0; i < NUM_PNG_KINDS; i++) {
        struct bytes png = make_png(&png_kinds[i], W, H, 255);
        every_truncation("image.png", &png);
        free(png.at);
    }
}

Test(app_image, truncated_jpeg)
{
    for (int components = 1; components <= 3; components += 2) {
        struct bytes jpeg = make_jpeg(components, components == 1 ? JCS_GRAYSCALE : JCS_RGB);
        every_truncation("image.jpg", &jpeg);
        free(jpeg.at);
    }
}

/* A PNG has a checksum on everything: a changed byte is noticed, or changes nothing. */
Test(app_image, changed_byte_in_png)
{
    double good[3 * PLANE], values[3 * PLANE];
    for (uint32_t i = 0; i < NUM_PNG_KINDS; i++) {
        struct bytes png = make_png(&png_kinds[i], W, H, 255);
        save("image.png", png.at, png.size);
        cr_assert_eq(load(3, good), RT_OK);
        for (size_t at = 0; at < png.size; at++) {
            for (uint32_t bit = 0; bit < 8; bit += 3) {
                png.at[at] ^= (uint8_t)(1U << bit);
                save("image.png", png.at, png.size);
                if (load(3, values) == RT_OK)
                    cr_expect_eq(memcmp(good, values, sizeof good), 0, "%s: byte %zu bit %u",
                                 png_kinds[i].name, at, bit);
                png.at[at] ^= (uint8_t)(1U << bit);
            }
        }
        free(png.at);
    }
}

/* JPEG has none: any picture may come out, but in the range and without a crash. */
Test(app_image, changed_byte_in_jpeg)
{
    double values[3 * PLANE];
    struct rt_interface m = model(3);
    struct bytes jpeg = make_jpeg(3, JCS_RGB);
    uint32_t refused = 0;
    for (size_t at = 0; at < jpeg.size; at++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            jpeg.at[at] ^= (uint8_t)(1U << bit);
            save("image.jpg", jpeg.at, jpeg.size);
            if (load(3, values) == RT_OK)
                cr_expect_eq(rt_app_image_outside(&m, values), 0);
            else
                refused++;
            jpeg.at[at] ^= (uint8_t)(1U << bit);
        }
    }
    cr_expect_gt(refused, jpeg.size, "only %u of %zu mutations were refused", refused,
                 8 * jpeg.size);
    free(jpeg.at);
}

Test(app_image, cmyk_is_refused)
{
    struct bytes jpeg = make_jpeg(4, JCS_CMYK);
    save("image.jpg", jpeg.at, jpeg.size);
    expect_error(3, "CMYK");
    free(jpeg.at);
}

Test(app_image, records)
{
    struct rt_interface m = model(3);
    uint8_t file[2 * (1 + 3 * PLANE)];
    double values[3 * PLANE];
    uint64_t count = 0;
    for (size_t i = 0; i < sizeof file; i++)
        file[i] = (uint8_t)(i * 7);
    file[1 + 3 * PLANE] = 9;
    save("test.bin", file, sizeof file);
    cr_assert_eq(rt_app_image_records(&m, path, &count, &err), RT_OK);
    cr_expect_eq(count, 2);
    cr_assert_eq(rt_app_image_load(&m, path, true, 1, values, &label, &err), RT_OK);
    cr_expect_eq(label, 9);
    for (int i = 0; i < 3 * PLANE; i++)
        cr_assert_float_eq(values[i], value_of(file[2 + 3 * PLANE + i]), 1e-12);
    cr_expect_eq(rt_app_image_load(&m, path, true, 2, values, &label, &err), RT_ERR_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "no record 2, the file has 2"));
    save("test.bin", file, sizeof file - 1);
    expect_error(3, "no whole number of records");
    cr_expect_neq(rt_app_image_records(&m, path, &count, &err), RT_OK);
}

Test(app_image, floats_as_they_are)
{
    float file[PLANE];
    double values[PLANE];
    for (int i = 0; i < PLANE; i++)
        file[i] = (float)i * 0.37F - 4.0F;
    save("test.f32", file, sizeof file);
    cr_assert_eq(load(1, values), RT_OK, "%s", err.text);
    for (int i = 0; i < PLANE; i++)
        cr_assert_eq(values[i], (double)file[i]);
    struct rt_interface m = model(1);
    cr_expect_gt(rt_app_image_outside(&m, values), 0);
    file[5] = NAN;
    save("test.raw", file, sizeof file);
    expect_error(1, "value 5 is not a finite number");
    save("test.raw", file, sizeof file - 3);
    expect_error(1, "float32 values");
    save("test.xyz", file, sizeof file);
    expect_error(1, "not an image of a known format");
}

Test(app_image, picture_for_five_channels)
{
    struct bytes png = make_png(&png_kinds[0], W, H, 255);
    save("image.png", png.at, png.size);
    expect_error(4, "4 input channels");
    free(png.at);
}

Test(app_image, no_file)
{
    snprintf(path, sizeof path, "%s/nothing.png", directory);
    expect_error(1, strerror(ENOENT));
    snprintf(path, sizeof path, "%s", directory);
    expect_error(1, strerror(EISDIR));
    snprintf(path, sizeof path, "%s/pipe", directory);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_error(1, "not a regular file");
    save("empty.png", "", 0);
    expect_error(1, "empty");
}

/* ---- .npy ------------------------------------------------------------------------------------ */

static struct bytes make_npy(uint8_t major, const char *dictionary, const void *data, size_t size)
{
    struct bytes out = {0};
    size_t start = major >= 2 ? 12 : 10, length = strlen(dictionary) + 1;
    uint8_t head[12] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', major, 0, (uint8_t)length, (uint8_t)(length >> 8)};
    put(&out, head, start);
    put(&out, dictionary, length - 1);
    put(&out, "\n", 1);
    put(&out, data, size);
    return out;
}

static void npy_case(uint32_t channels, const char *dictionary, const void *data, size_t size,
                     const char *error)
{
    double values[3 * PLANE];
    struct bytes npy = make_npy(1, dictionary, data, size);
    save("array.npy", npy.at, npy.size);
    if (error)
        expect_error(channels, error);
    else
        cr_expect_eq(load(channels, values), RT_OK, "%s: %s", dictionary, err.text);
    free(npy.at);
}

Test(app_image, npy_values)
{
    float floats[PLANE];
    double doubles[PLANE], values[PLANE];
    uint8_t bytes[PLANE];
    for (int i = 0; i < PLANE; i++) {
        bytes[i] = (uint8_t)(2 * i);
        doubles[i] = 0.01 * i - 0.3;
        floats[i] = (float)doubles[i];
    }
    for (uint8_t major = 1; major <= 3; major++) {
        struct bytes a =
            make_npy(major, "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 12), }", floats,
                     sizeof floats);
        struct bytes b =
            make_npy(major, "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 9, 12), }",
                     doubles, sizeof doubles);
        struct bytes c =
            make_npy(major, "{\"shape\":(1,1,9,12),\"fortran_order\":False,\"descr\":\"|u1\"}",
                     bytes, sizeof bytes);
        save("a.npy", a.at, a.size);
        cr_assert_eq(load(1, values), RT_OK, "%s", err.text);
        for (int i = 0; i < PLANE; i++)
            cr_assert_eq(values[i], (double)floats[i]);
        save("b.npy", b.at, b.size);
        cr_assert_eq(load(1, values), RT_OK, "%s", err.text);
        for (int i = 0; i < PLANE; i++)
            cr_assert_eq(values[i], doubles[i]);
        save("c.npy", c.at, c.size);
        cr_assert_eq(load(1, values), RT_OK, "%s", err.text);
        for (int i = 0; i < PLANE; i++)
            cr_assert_float_eq(values[i], value_of(bytes[i]), 1e-12);
        free(a.at);
        free(b.at);
        free(c.at);
    }
}

Test(app_image, npy_refusals)
{
    static const double data[3 * PLANE];
    const size_t f4 = 4 * PLANE;
    npy_case(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 12), }", data, f4, NULL);
    npy_case(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 9, 12), }", data, 3 * f4,
             NULL);
    npy_case(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 12), }", data, f4,
             "array is 9x12, the model wants 3x9x12");
    npy_case(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 9), }", data, f4,
             "array is 12x9");
    npy_case(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 9, 12), }", data, 2 * f4,
             "array is 2x1x9x12");
    npy_case(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", data, f4, "one number");
    npy_case(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 9, 12), }", data, f4,
             "damaged .npy header");
    npy_case(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (9, 12), }", data, f4,
             "type '>f4'");
    npy_case(1, "{'descr': '|O', 'fortran_order': False, 'shape': (9, 12), }", data, f4,
             "type '|O'");
    npy_case(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (9, 12), }", data, f4, "Fortran");
    npy_case(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 12), }", data, f4 - 1,
             "bytes of data");
    npy_case(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 12), }", data, f4 + 1,
             "bytes of data");
    npy_case(1, "{'descr': '<f4', 'fortran_order': False }", data, f4, "damaged .npy header");
    npy_case(1, "{'descr': '<f4', 'shape': (99999999999999999999, 12)}", data, f4,
             "damaged .npy header");
    npy_case(1, "[]", data, f4, "damaged .npy header");
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

Test(app_image, npy_mutations)
{
    static const float data[PLANE];
    double values[PLANE];
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 20240917, state = seed | 1;
    struct rt_interface m = model(1);
    fprintf(stderr, "npy_mutations: SEED=%llu\n", (unsigned long long)seed);
    for (int trial = 0; trial < 20000; trial++) {
        struct bytes npy = make_npy(
            1, "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 12), }", data, sizeof data);
        uint64_t changes = 1 + next_random(&state) % 4;
        size_t size = npy.size;
        while (changes--)
            npy.at[next_random(&state) % 80] = (uint8_t)next_random(&state);
        if (next_random(&state) % 4 == 0)
            size = next_random(&state) % npy.size;
        uint8_t *exact = malloc(size + !size); /* so that a sanitizer sees the end */
        memcpy(exact, npy.at, size);
        err = (struct rt_error){0};
        if (rt_app_decode_npy(&m, "a.npy", exact, size, values, &err) != RT_OK)
            cr_assert(err.text[0]);
        free(exact);
        free(npy.at);
    }
}
