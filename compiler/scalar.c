/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool yaml_is_null(const struct yaml *y)
{
    if (y->kind != YAML_SCALAR || !y->plain) {
        return false;
    }
    return !*y->text || strcmp(y->text, "~") == 0 || strcmp(y->text, "null") == 0 ||
           strcmp(y->text, "Null") == 0 || strcmp(y->text, "NULL") == 0;
}

bool yaml_bool(const struct yaml *y, bool *out)
{
    static const char *const yes[] = {"true", "True", "TRUE"}, *const no[] = {"false", "False",
                                                                              "FALSE"};
    if (y->kind != YAML_SCALAR || !y->plain) {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(y->text, yes[i]) == 0 || strcmp(y->text, no[i]) == 0) {
            *out = strcmp(y->text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

/* Decimal only: strtoll() and strtod() would also accept blanks, hexadecimal, "inf" and "nan". */
static bool only(const char *text, const char *allowed)
{
    return *text && strspn(text, allowed) == strlen(text);
}

bool yaml_int(const struct yaml *y, int64_t min, int64_t max, int64_t *out)
{
    if (y->kind != YAML_SCALAR || !y->plain || !only(y->text, "+-0123456789")) {
        return false;
    }
    char *end;
    errno = 0;
    long long v = strtoll(y->text, &end, 10);
    if (*end || end == y->text || errno || v < min || v > max) {
        return false;
    }
    *out = v;
    return true;
}

bool yaml_real(const struct yaml *y, double *out)
{
    if (y->kind != YAML_SCALAR || !y->plain || !only(y->text, "+-.0123456789eE")) {
        return false;
    }
    char *end;
    double v = strtod(y->text, &end);
    if (*end || end == y->text || !isfinite(v)) {
        return false;
    }
    *out = v;
    return true;
}

/* Cut after `max` bytes, not in the middle of a UTF-8 character. */
static void add_cut(struct str *out, const char *text, size_t max)
{
    size_t len = strlen(text), shown = len > max ? max : len;
    while (shown < len && ((unsigned char)text[shown] & 0xC0) == 0x80) {
        shown--;
    }
    str_addn(out, text, shown);
    str_add(out, shown < len ? "..." : "");
}

/* A short flat list as it would be written; false when it is not one. */
static bool add_list(struct str *out, const struct yaml *y)
{
    bool flat = y->len <= 8;
    for (uint32_t i = 0; i < y->len && flat; i++) {
        flat = y->item[i]->kind == YAML_SCALAR;
    }
    str_add(out, "[");
    for (uint32_t i = 0; i < y->len && flat; i++) {
        str_add(out, i ? ", " : "");
        add_cut(out, y->item[i]->text, 20);
    }
    str_add(out, "]");
    return flat;
}

const char *yaml_describe(struct arena *a, const struct yaml *y)
{
    struct str s;
    str_init(&s, a);
    if (y->kind == YAML_MAPPING || (y->kind == YAML_LIST && !add_list(&s, y))) {
        return y->kind == YAML_LIST ? "a list" : "a mapping";
    }
    if (yaml_is_null(y)) {
        return "nothing";
    }
    if (y->kind == YAML_SCALAR) {
        str_add(&s, y->plain ? "'" : "the text \"");
        add_cut(&s, y->text, 60);
        str_add(&s, y->plain ? "'" : "\"");
    }
    for (char *c = s.s; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    return s.s;
}
