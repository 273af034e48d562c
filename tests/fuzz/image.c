/* SPDX-License-Identifier: Apache-2.0 */
/* The image reader of the client: any bytes give an image of the model's size or one error line. The
 * last byte, which no format needs, chooses the file's name and the model's channels. */

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/app.h"
#include "fuzz.h"

enum { SIDE = 28, NAMES = 4 };
static const char *const suffix[NAMES] = {".png", ".bin", ".raw", ".f32"};
static char name[NAMES][64]; /* links to the one file */
static int file = -1;

static void remove_names(void)
{
    for (int i = 0; i < NAMES; i++) {
        unlink(name[i]);
    }
}

static void make_names(void)
{
    char target[64];
    file = memfd_create("image", MFD_CLOEXEC);
    snprintf(target, sizeof target, "/proc/self/fd/%d", file);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name[i], sizeof name[i], "/tmp/weft-fuzz-%ld%s", (long)getpid(), suffix[i]);
        if (symlink(target, name[i]) != 0) {
            abort();
        }
    }
    atexit(remove_names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const double mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
    double values[3 * SIDE * SIDE];
    if (file < 0) {
        make_names();
    }
    uint8_t choice = size > 0 ? data[size - 1] : 0;
    struct rt_interface model = {.name = "fuzz",
                                 .input = {.c = choice & 4 ? 3 : 1, .h = SIDE, .w = SIDE},
                                 .range = {0, 1},
                                 .mean = mean,
                                 .std = std};
    if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size) {
        abort();
    }
    const char *path = name[choice % NAMES];
    struct rt_error err = {0};
    int label = 0;
    uint64_t records = 0;
    if (rt_app_image_load(&model, path, (choice & 8) != 0, choice >> 4, values, &label, &err) ==
        RT_OK) {
        for (uint64_t i = 0; i < rt_app_pixel_count(&model); i++) {
            if (!isfinite(values[i])) {
                abort(); /* no encoder takes it */
            }
        }
    } else if (err.text[0] == 0) {
        abort(); /* a refusal without a word */
    }
    err = (struct rt_error){0};
    if (rt_app_image_records(&model, path, &records, &err) != RT_OK && err.text[0] == 0) {
        abort();
    }
    return 0;
}
