/* SPDX-License-Identifier: Apache-2.0 */
#include "scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- characters ----------------------------------------------------------------------------- */

struct loc scan_loc(const struct scan *s, const char *at)
{
    struct loc loc = {s->file, s->line, 1};
    for (const char *c = s->line_start; c < at; c++) {
        loc.col += ((unsigned char)*c & 0xc0) != 0x80; /* columns count characters */
    }
    return loc;
}

void scan_blanks(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r')) {
        s->at++;
    }
}

/* Next character after blanks; '\n' at the end of the text too. */
char scan_peek(struct scan *s)
{
    scan_blanks(s);
    return s->at < s->end ? *s->at : '\n';
}

bool scan_accept(struct scan *s, char c)
{
    if (c == '\n' || scan_peek(s) != c) {
        return false;
    }
    s->at++;
    return true;
}

void scan_expect(struct scan *s, char c)
{
    if (!scan_accept(s, c)) {
        SCAN_FAIL(s, s->at, "expected '%c'", c);
    }
}

static void next_line(struct scan *s)
{
    if (s->at < s->end) {
        s->at++;
        s->line++;
        s->line_start = s->at;
    }
}

void scan_end_of_line(struct scan *s)
{
    if (scan_peek(s) != '\n') {
        SCAN_FAIL(s, s->at, "expected the end of the line");
    }
    next_line(s);
}

void scan_skip_comment(struct scan *s)
{
    if (scan_peek(s) == '#') {
        while (s->at < s->end && *s->at != '\n') {
            s->at++;
        }
    }
    scan_end_of_line(s);
}

/* To the next line that says something; false at the end of the text. */
bool scan_find_line(struct scan *s)
{
    while (s->at < s->end) {
        char c = scan_peek(s);
        if (s->at < s->end && c != '\n' && c != '#') {
            return true;
        }
        scan_skip_comment(s);
    }
    return false;
}

bool scan_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_name_char(char c)
{
    return scan_is_word(c) || c == '.' || c == '/' || c == '-' || c == '+';
}

void scan_word(struct scan *s, char buf[SCAN_WORD], const char **from)
{
    scan_blanks(s);
    *from = s->at;
    size_t len = 0;
    while (s->at < s->end && scan_is_word(*s->at)) {
        if (len == SCAN_WORD - 1) {
            SCAN_FAIL(s, *from, "the word is too long");
        }
        buf[len++] = *s->at++;
    }
    buf[len] = '\0';
}

bool scan_accept_word(struct scan *s, const char *want)
{
    const char *before = s->at;
    const char *from;
    char buf[SCAN_WORD];
    if (!scan_is_word(scan_peek(s))) {
        return false;
    }
    scan_word(s, buf, &from);
    if (strcmp(buf, want) != 0) {
        s->at = before;
        return false;
    }
    return true;
}

/* key= */
void scan_key(struct scan *s, const char *key)
{
    scan_blanks(s);
    const char *from = s->at;
    if (!scan_accept_word(s, key) || !scan_accept(s, '=')) {
        SCAN_FAIL(s, from, "expected '%s='", key);
    }
}

/* ---- values --------------------------------------------------------------------------------- */

int64_t scan_integer(struct scan *s, int64_t low, int64_t high)
{
    scan_blanks(s);
    const char *from = s->at;
    bool negative = scan_accept(s, '-');
    const char *digits = s->at;
    uint64_t v = 0;
    bool fits = true;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        uint64_t d = (uint64_t)(*s->at++ - '0');
        fits = fits && v <= ((uint64_t)INT64_MAX - d) / 10;
        v = fits ? 10 * v + d : v;
    }
    if (s->at == digits) {
        SCAN_FAIL(s, from, "expected a whole number");
    }
    int64_t x = negative ? -(int64_t)v : (int64_t)v;
    if (!fits || x < low || x > high) {
        SCAN_FAIL(s, from, "expected a number from %lld to %lld", (long long)low, (long long)high);
    }
    return x;
}

uint32_t scan_number(struct scan *s, uint32_t low, uint32_t high)
{
    return (uint32_t)scan_integer(s, low, high);
}

double scan_real(struct scan *s)
{
    scan_blanks(s);
    const char *from = s->at;
    char buf[SCAN_WORD];
    size_t len = 0;
    while (s->at < s->end && len < SCAN_WORD - 1 &&
           ((*s->at >= '0' && *s->at <= '9') || strchr("+-.eE", *s->at)) && *s->at != '\0') {
        buf[len++] = *s->at++;
    }
    buf[len] = '\0';
    char *stop = buf;
    double x = strtod(buf, &stop);
    if (len == 0 || *stop != '\0' || !isfinite(x)) {
        SCAN_FAIL(s, from, "expected a number");
    }
    return x;
}

double scan_positive(struct scan *s)
{
    scan_blanks(s);
    const char *from = s->at;
    double x = scan_real(s);
    if (!(x > 0)) {
        SCAN_FAIL(s, from, "expected a number above 0");
    }
    return x;
}

static char escape(struct scan *s)
{
    const char *from = s->at - 1;
    char c = s->at < s->end ? *s->at++ : '\n';
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'u': {
        unsigned v = 0;
        for (int i = 0; i < 4; i++) {
            char h = s->at < s->end ? *s->at++ : ' ';
            const char *hex = "0123456789abcdef";
            const char *d = h ? strchr(hex, h >= 'A' && h <= 'F' ? h + 32 : h) : NULL;
            v = d ? 16 * v + (unsigned)(d - hex) : 0x10000;
        }
        if (v >= 1 && v < 0x80) {
            return (char)v;
        }
    }
    /* fall through */
    default:
        SCAN_FAIL(s, from,
                  "unknown escape; known are \\\" \\\\ \\n \\t \\r and \\u0001 to \\u007f");
    }
}

const char *scan_string(struct scan *s)
{
    const char *from = s->at;
    scan_expect(s, '"');
    struct str text;
    str_init(&text, s->p->memo);
    str_add(&text, "");
    for (;;) {
        char c = s->at < s->end ? *s->at++ : '\n';
        if (c == '\n' || c == '\0') {
            s->at--;
            SCAN_FAIL(s, from, "the string has no end on this line");
        }
        if (c == '"') {
            return text.s;
        }
        if (c == '\\') {
            c = escape(s);
        }
        str_addn(&text, &c, 1);
    }
}

/* A layer or file name: quoted, or plain. */
const char *scan_name(struct scan *s)
{
    if (scan_peek(s) == '"') {
        return intern(s->p, scan_string(s));
    }
    const char *from = s->at;
    while (s->at < s->end && is_name_char(*s->at)) {
        s->at++;
    }
    if (s->at == from) {
        SCAN_FAIL(s, from, "expected a name");
    }
    struct arena_mark mark = arena_mark(s->p->arena);
    const char *result = intern(s->p, arena_strndup(s->p->arena, from, (size_t)(s->at - from)));
    arena_release(s->p->arena, mark);
    return result;
}

/* A list in brackets: calls item() for each element. */
typedef void item_fn(struct scan *s, void *to);
static void list(struct scan *s, item_fn *item, void *to)
{
    scan_expect(s, '[');
    if (scan_accept(s, ']')) {
        return;
    }
    do {
        item(s, to);
    } while (scan_accept(s, ','));
    scan_expect(s, ']');
}

static void int_item(struct scan *s, void *to)
{
    struct scan_ints *l = to;
    if (l->len == MOST_ELEMENTS) {
        SCAN_FAIL(s, s->at, "the list is too long");
    }
    ARENA_GROW(s->p->arena, l->v, l->len, l->cap);
    l->v[l->len++] = scan_integer(s, l->low, l->high);
}
struct scan_ints scan_ints(struct scan *s, int64_t low, int64_t high)
{
    struct scan_ints l = {.low = low, .high = high};
    list(s, int_item, &l);
    return l;
}

/* A list of exactly len whole numbers. */
struct scan_ints scan_ints_of(struct scan *s, uint32_t len, int64_t low, int64_t high)
{
    scan_blanks(s);
    const char *from = s->at;
    struct scan_ints l = scan_ints(s, low, high);
    if (l.len != len) {
        SCAN_FAIL(s, from, "expected %u numbers, found %u", len, l.len);
    }
    return l;
}

uint64_t *scan_words(struct scan *s, uint32_t most, int64_t high, uint32_t *len)
{
    scan_blanks(s);
    const char *from = s->at;
    struct scan_ints l = scan_ints(s, 1, high);
    if (l.len > most) {
        SCAN_FAIL(s, from, "more than %u numbers", most);
    }
    uint64_t *v = arena_array(s->p->arena, l.len, sizeof *v);
    for (uint32_t i = 0; i < l.len; i++) {
        v[i] = (uint64_t)l.v[i];
    }
    *len = l.len;
    return v;
}

struct reals {
    double *v;
    uint32_t len, cap;
};
static void real_item(struct scan *s, void *to)
{
    struct reals *l = to;
    if (l->len == MOST_ELEMENTS) {
        SCAN_FAIL(s, s->at, "the list is too long");
    }
    ARENA_GROW(s->p->arena, l->v, l->len, l->cap);
    l->v[l->len++] = scan_real(s);
}
const double *scan_reals(struct scan *s, uint32_t *len)
{
    struct reals l = {0};
    list(s, real_item, &l);
    *len = l.len;
    return l.v;
}

const double *scan_reals_of(struct scan *s, uint32_t len)
{
    scan_blanks(s);
    const char *from = s->at;
    uint32_t found;
    const double *v = scan_reals(s, &found);
    if (found != len) {
        SCAN_FAIL(s, from, "expected %u numbers, found %u", len, found);
    }
    return v;
}

struct strings {
    const char **v;
    uint32_t len, cap;
};
static void string_item(struct scan *s, void *to)
{
    struct strings *l = to;
    ARENA_GROW(s->p->arena, l->v, l->len, l->cap);
    scan_blanks(s);
    l->v[l->len++] = intern(s->p, scan_string(s));
}
const char *const *scan_strings(struct scan *s, uint32_t *len)
{
    struct strings l = {0};
    list(s, string_item, &l);
    *len = l.len;
    return l.v;
}

uint64_t scan_hex(struct scan *s)
{
    scan_blanks(s);
    const char *from = s->at;
    uint64_t v = 0;
    size_t len = 0;
    for (; s->at < s->end && scan_is_word(*s->at) && len < 17; s->at++, len++) {
        const char *digits = "0123456789abcdef";
        const char *d = strchr(digits, *s->at);
        if (!d) {
            SCAN_FAIL(s, from, "expected hexadecimal digits");
        }
        v = v << 4 | (uint64_t)(d - digits);
    }
    if (len == 0 || len > 16) {
        SCAN_FAIL(s, from, "expected up to 16 hexadecimal digits");
    }
    return v;
}
