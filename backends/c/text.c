/* SPDX-License-Identifier: Apache-2.0 */
#include "c.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *c_base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    const char *base = slash ? slash + 1 : path;
    return base && *base ? base : "model";
}

void c_add_comment_text(struct str *out, const char *s)
{
    char last = 0;
    for (; s && *s; s++) {
        char c = *s;
        if (c < ' ' || c > '~')
            c = '_';
        /* the ends and starts of comments, trigraphs, line continuations */
        if ((last == '*' && c == '/') || (last == '/' && (c == '*' || c == '/')) ||
            (last == '?' && c == '?') || c == '\\')
            c = '_';
        str_addn(out, &c, 1);
        last = c;
    }
}

void c_add_string(struct str *out, const char *s)
{
    if (!s) {
        str_add(out, "NULL");
        return;
    }
    str_add(out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\' || c == '?')
            str_addf(out, "\\%c", c);
        else if (c < ' ' || c > '~')
            str_addf(out, "\\%03o", c); /* always three digits: the next character cannot join it */
        else
            str_addf(out, "%c", c);
    }
    str_add(out, "\"");
}

void c_add_double(struct str *out, double x)
{
    if (!isfinite(x))
        BUG("a number that is not finite in generated C");
    size_t from = out->len;
    str_add_double(out, x);
    if (!strpbrk(out->s + from, ".e"))
        str_add(out, ".0"); /* an integer constant may be too large for any integer type */
}

void c_add_u32s(struct str *out, const char *indent, const uint32_t *v, uint32_t len)
{
    for (uint32_t k = 0; k < len; k++)
        str_addf(out, "%s%" PRIu32 "%s", k % 16 == 0 ? indent : " ", v[k],
                 k + 1 == len || k % 16 == 15 ? ",\n" : ",");
}

void c_add_identifier(struct str *out, const char *s)
{
    for (; *s; s++) {
        bool keep =
            (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9');
        str_addn(out, keep ? s : "_", 1);
    }
}

void c_head(const struct prog *p, const char *what, struct str *out)
{
    str_add(out, "/*\n * ");
    c_add_comment_text(out, p->model.name);
    str_addf(out, ": %s\n * Written by weft " WEFT_VERSION " from ", what);
    c_add_comment_text(out, c_base_name(p->source));
    str_addf(out, ", model %016" PRIx64 ". Do not edit.\n", p->model.hash);
}
