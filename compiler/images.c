/* SPDX-License-Identifier: Apache-2.0 */
/* Files of pictures: records of one label byte and the bytes of the picture, channel by channel. */
#include "compiler.h"

struct images images_open(const struct model *m, const char *path, int64_t limit)
{
    struct images images = {.pixels = (size_t)m->input[0] * m->input[1] * m->input[2]};
    size_t record = images.pixels + 1;
    struct mapped_file file;
    const char *why;
    if (!file_map(path, &file, &why)) {
        diag_fatal(NO_LOC, "%s: %s", path, why);
    }
    if (file.size == 0 || file.size % record != 0) {
        diag_fatal(
            NO_LOC,
            "%s: %zu bytes are not a whole number of records of %zu bytes (label and picture)",
            path, file.size, record);
    }
    images.bytes = file.data;
    images.len = images.in_file = file.size / record;
    if (limit > 0 && (uint64_t)limit < images.len) {
        images.len = (uint64_t)limit;
    }
    return images;
}

uint32_t images_get(const struct images *images, const struct model *m, uint64_t i, double *x)
{
    const uint8_t *record = images->bytes + i * (images->pixels + 1);
    size_t plane = (size_t)m->input[1] * m->input[2];
    for (uint32_t c = 0; c < m->input[0]; c++) {
        for (size_t k = 0; k < plane; k++) {
            double raw =
                m->range[0] + record[1 + c * plane + k] / 255.0 * (m->range[1] - m->range[0]);
            x[c * plane + k] = (raw - m->mean[c]) / m->std[c];
        }
    }
    return record[0];
}
