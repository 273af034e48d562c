/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reads the text form; its grammar is the head comment of print.c. Nothing in the text is believed:
 * every number has a range, every index must exist, every type is inferred again. */

struct parser {
    struct prog *p;
    const char *at, *end, *line_start;
    uint32_t file, line;
    enum { IN_HEADER, IN_TABLES, IN_REFERENCE, IN_PROGRAM } section;
    /* the last file name of a place, so that it is looked up once */
    const char *place_name;
    uint32_t place_file;
};

/* ---- characters ----------------------------------------------------------------------------- */

static struct loc loc_of(const struct parser *s, const char *at) {
    struct loc loc = {s->file, s->line, 1};
    for (const char *c = s->line_start; c < at; c++) {
        loc.col += ((unsigned char)*c & 0xc0) != 0x80; /* columns count characters */
    }
    return loc;
}

#define FAIL(s, at, ...) diag_fatal(loc_of(s, at), __VA_ARGS__)

static void blanks(struct parser *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r')) {
        s->at++;
    }
}

/* Next character after blanks; '\n' at the end of the text too. */
static char peek(struct parser *s) {
    blanks(s);
    return s->at < s->end ? *s->at : '\n';
}

static bool accept(struct parser *s, char c) {
    if (c == '\n' || peek(s) != c) {
        return false;
    }
    s->at++;
    return true;
}

static void expect(struct parser *s, char c) {
    if (!accept(s, c)) {
        FAIL(s, s->at, "expected '%c'", c);
    }
}

static void next_line(struct parser *s) {
    if (s->at < s->end) {
        s->at++;
        s->line++;
        s->line_start = s->at;
    }
}

static void end_of_line(struct parser *s) {
    if (peek(s) != '\n') {
        FAIL(s, s->at, "expected the end of the line");
    }
    next_line(s);
}

static void skip_comment(struct parser *s) {
    if (peek(s) == '#') {
        while (s->at < s->end && *s->at != '\n') {
            s->at++;
        }
    }
    end_of_line(s);
}

/* To the next line that says something; false at the end of the text. */
static bool find_line(struct parser *s) {
    while (s->at < s->end) {
        char c = peek(s);
        if (s->at < s->end && c != '\n' && c != '#') {
            return true;
        }
        skip_comment(s);
    }
    return false;
}

static bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_name_char(char c) {
    return is_word_char(c) || c == '.' || c == '/' || c == '-' || c == '+';
}

/* A word into buf; "" when there is none. *from is where it begins. */
enum { WORD = 64 };
static void word(struct parser *s, char buf[WORD], const char **from) {
    blanks(s);
    *from = s->at;
    size_t len = 0;
    while (s->at < s->end && is_word_char(*s->at)) {
        if (len == WORD - 1) {
            FAIL(s, *from, "the word is too long");
        }
        buf[len++] = *s->at++;
    }
    buf[len] = '\0';
}

static bool accept_word(struct parser *s, const char *want) {
    const char *before = s->at;
    const char *from;
    char buf[WORD];
    if (!is_word_char(peek(s))) {
        return false;
    }
    word(s, buf, &from);
    if (strcmp(buf, want) != 0) {
        s->at = before;
        return false;
    }
    return true;
}

/* key= */
static void expect_key(struct parser *s, const char *key) {
    blanks(s);
    const char *from = s->at;
    if (!accept_word(s, key) || !accept(s, '=')) {
        FAIL(s, from, "expected '%s='", key);
    }
}

/* ---- values --------------------------------------------------------------------------------- */

static int64_t integer(struct parser *s, int64_t low, int64_t high) {
    blanks(s);
    const char *from = s->at;
    bool negative = accept(s, '-');
    const char *digits = s->at;
    uint64_t v = 0;
    bool fits = true;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        uint64_t d = (uint64_t)(*s->at++ - '0');
        fits = fits && v <= ((uint64_t)INT64_MAX - d) / 10;
        v = fits ? 10 * v + d : v;
    }
    if (s->at == digits) {
        FAIL(s, from, "expected a whole number");
    }
    int64_t x = negative ? -(int64_t)v : (int64_t)v;
    if (!fits || x < low || x > high) {
        FAIL(s, from, "expected a number from %lld to %lld", (long long)low, (long long)high);
    }
    return x;
}

static uint32_t number(struct parser *s, uint32_t low, uint32_t high) {
    return (uint32_t)integer(s, low, high);
}

static double real(struct parser *s) {
    blanks(s);
    const char *from = s->at;
    char buf[WORD];
    size_t len = 0;
    while (s->at < s->end && len < WORD - 1 &&
           ((*s->at >= '0' && *s->at <= '9') || strchr("+-.eE", *s->at)) && *s->at != '\0') {
        buf[len++] = *s->at++;
    }
    buf[len] = '\0';
    char *stop = buf;
    double x = strtod(buf, &stop);
    if (len == 0 || *stop != '\0' || !isfinite(x)) {
        FAIL(s, from, "expected a number");
    }
    return x;
}

static double positive(struct parser *s) {
    blanks(s);
    const char *from = s->at;
    double x = real(s);
    if (!(x > 0)) {
        FAIL(s, from, "expected a number above 0");
    }
    return x;
}

static char escape(struct parser *s) {
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
        FAIL(s, from, "unknown escape; known are \\\" \\\\ \\n \\t \\r and \\u0001 to \\u007f");
    }
}

static const char *quoted(struct parser *s) {
    const char *from = s->at;
    expect(s, '"');
    struct str text;
    str_init(&text, s->p->memo);
    str_add(&text, "");
    for (;;) {
        char c = s->at < s->end ? *s->at++ : '\n';
        if (c == '\n' || c == '\0') {
            s->at--;
            FAIL(s, from, "the string has no end on this line");
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
static const char *name(struct parser *s) {
    if (peek(s) == '"') {
        return intern(s->p, quoted(s));
    }
    const char *from = s->at;
    while (s->at < s->end && is_name_char(*s->at)) {
        s->at++;
    }
    if (s->at == from) {
        FAIL(s, from, "expected a name");
    }
    struct arena_mark mark = arena_mark(s->p->arena);
    const char *result = intern(s->p, arena_strndup(s->p->arena, from, (size_t)(s->at - from)));
    arena_release(s->p->arena, mark);
    return result;
}

/* A list in brackets: calls item() for each element. */
typedef void item_fn(struct parser *s, void *to);
static void list(struct parser *s, item_fn *item, void *to) {
    expect(s, '[');
    if (accept(s, ']')) {
        return;
    }
    do {
        item(s, to);
    } while (accept(s, ','));
    expect(s, ']');
}

struct ints {
    int64_t *v;
    uint32_t len, cap;
    int64_t low, high;
};
static void int_item(struct parser *s, void *to) {
    struct ints *l = to;
    if (l->len == MOST_ELEMENTS) {
        FAIL(s, s->at, "the list is too long");
    }
    ARENA_GROW(s->p->arena, l->v, l->len, l->cap);
    l->v[l->len++] = integer(s, l->low, l->high);
}
static struct ints ints(struct parser *s, int64_t low, int64_t high) {
    struct ints l = {.low = low, .high = high};
    list(s, int_item, &l);
    return l;
}

/* A list of exactly len whole numbers. */
static struct ints ints_of(struct parser *s, uint32_t len, int64_t low, int64_t high) {
    blanks(s);
    const char *from = s->at;
    struct ints l = ints(s, low, high);
    if (l.len != len) {
        FAIL(s, from, "expected %u numbers, found %u", len, l.len);
    }
    return l;
}

static uint64_t *words(struct parser *s, uint32_t most, int64_t high, uint32_t *len) {
    blanks(s);
    const char *from = s->at;
    struct ints l = ints(s, 1, high);
    if (l.len > most) {
        FAIL(s, from, "more than %u numbers", most);
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
static void real_item(struct parser *s, void *to) {
    struct reals *l = to;
    if (l->len == MOST_ELEMENTS) {
        FAIL(s, s->at, "the list is too long");
    }
    ARENA_GROW(s->p->arena, l->v, l->len, l->cap);
    l->v[l->len++] = real(s);
}
static const double *reals_of(struct parser *s, uint32_t len) {
    blanks(s);
    const char *from = s->at;
    struct reals l = {0};
    list(s, real_item, &l);
    if (l.len != len) {
        FAIL(s, from, "expected %u numbers, found %u", len, l.len);
    }
    return l.v;
}

struct strings {
    const char **v;
    uint32_t len, cap;
};
static void string_item(struct parser *s, void *to) {
    struct strings *l = to;
    ARENA_GROW(s->p->arena, l->v, l->len, l->cap);
    blanks(s);
    l->v[l->len++] = intern(s->p, quoted(s));
}

static void shape(struct parser *s, uint32_t d[3]) {
    d[0] = number(s, 1, MOST_CHANNELS);
    expect(s, 'x');
    d[1] = number(s, 1, MOST_PIXELS);
    expect(s, 'x');
    d[2] = number(s, 1, MOST_PIXELS);
}

/* $3, @3, &3, %3: an entry that exists */
static uint32_t ref(struct parser *s, char sigil, uint32_t len) {
    blanks(s);
    const char *from = s->at;
    expect(s, sigil);
    uint32_t i = number(s, 0, NONE - 1);
    if (i >= len) {
        FAIL(s, from, "%c%u is not defined before this line", sigil, i);
    }
    return i;
}

static uint32_t layout_or_none(struct parser *s) {
    return peek(s) == '@' ? ref(s, '@', s->p->num_layouts) : NONE;
}

/* `$7 =`: entries are numbered in order */
static void entry_number(struct parser *s, char sigil, uint32_t want) {
    const char *from = s->at;
    expect(s, sigil);
    if (number(s, 0, NONE - 1) != want) {
        FAIL(s, from, "expected %c%u here: entries are numbered from 0 in order", sigil, want);
    }
    expect(s, '=');
}

static void hint(struct parser *s, const char *from, const char *found, const char *const *names) {
    const char *near = diag_nearest(found, names);
    if (near) {
        diag_hint(loc_of(s, from), "did you mean '%s'?", near);
    }
}

/* ---- header --------------------------------------------------------------------------------- */

static void first_line(struct parser *s) {
    struct prog *p = s->p;
    if (!find_line(s) || s->end - s->at < 7 || memcmp(s->at, "weft-ir", 7) != 0) {
        FAIL(s, s->at, "expected 'weft-ir 1 stage=...' in the first line");
    }
    s->at += 7;
    blanks(s);
    const char *from = s->at;
    if (integer(s, 0, INT64_MAX) != 1) {
        FAIL(s, from, "this text has another version than 1");
    }
    expect_key(s, "stage");
    char buf[WORD];
    word(s, buf, &from);
    for (int i = 0; i < NUM_STAGES; i++) {
        if (strcmp(buf, stage_name((enum stage)i)) == 0) {
            p->stage = (enum stage)i;
            skip_comment(s);
            return;
        }
    }
    FAIL(s, from, "unknown stage '%s'; known are nn, slot, ckks", buf);
}

static uint64_t hex(struct parser *s) {
    blanks(s);
    const char *from = s->at;
    uint64_t v = 0;
    size_t len = 0;
    for (; s->at < s->end && is_word_char(*s->at) && len < 17; s->at++, len++) {
        const char *digits = "0123456789abcdef";
        const char *d = strchr(digits, *s->at);
        if (!d) {
            FAIL(s, from, "expected hexadecimal digits");
        }
        v = v << 4 | (uint64_t)(d - digits);
    }
    if (len == 0 || len > 16) {
        FAIL(s, from, "expected up to 16 hexadecimal digits");
    }
    return v;
}

static void model_line(struct parser *s) {
    struct model *m = &s->p->model;
    blanks(s);
    m->name = intern(s->p, quoted(s));
    expect_key(s, "hash");
    m->hash = hex(s);
    expect_key(s, "input");
    blanks(s);
    const char *from = s->at;
    shape(s, m->input);
    if ((uint64_t)m->input[0] * m->input[1] * m->input[2] > MOST_ELEMENTS) {
        FAIL(s, from, "the input has more than %u elements", MOST_ELEMENTS);
    }
    expect_key(s, "range");
    const double *range = reals_of(s, 2);
    m->range[0] = range[0];
    m->range[1] = range[1];
    expect_key(s, "outputs");
    m->num_outputs = number(s, 0, MOST_ELEMENTS);
}

static void labels_line(struct parser *s, const char *from) {
    struct strings l = {0};
    list(s, string_item, &l);
    if (l.len != s->p->model.num_outputs) {
        FAIL(s, from, "%u labels for %u outputs", l.len, s->p->model.num_outputs);
    }
    s->p->model.labels = l.v;
    s->p->model.num_labels = l.len;
}

static void params_line(struct parser *s) {
    struct params *q = &s->p->params;
    expect_key(s, "log_n");
    q->log_n = number(s, 1, 17);
    expect_key(s, "alpha");
    q->alpha = number(s, 1, 64);
    expect_key(s, "scale");
    q->scale = real(s);
    expect_key(s, "input_scale");
    q->input_scale = real(s);
    expect_key(s, "insecure");
    q->insecure = number(s, 0, 1) == 1;
    expect_key(s, "lambda");
    q->lambda_bits = real(s);
}

static void key_line(struct parser *s, uint32_t *cap) {
    struct prog *p = s->p;
    struct key_spec k;
    expect_key(s, "by");
    k.by = integer(s, 0, MOST_SLOTS);
    expect_key(s, "level");
    k.level = (int32_t)number(s, 0, 1023);
    ARENA_GROW(p->arena, p->keys, p->num_keys, *cap);
    p->keys[p->num_keys++] = k;
}

static const char *const header_words[] = {"model", "mean", "std", "labels", "source", "weights", "params", "q", "p",
                                           "key", "registers", "error_bound", "reference", "program", NULL};

/* One line that begins with a word. */
static void header_line(struct parser *s, const char *w, const char *from, uint32_t *key_cap) {
    struct prog *p = s->p;
    uint32_t channels = p->model.input[0];
    if (strcmp(w, "model") == 0) {
        model_line(s);
    } else if (strcmp(w, "mean") == 0) {
        p->model.mean = reals_of(s, channels);
    } else if (strcmp(w, "std") == 0) {
        p->model.std = reals_of(s, channels);
    } else if (strcmp(w, "labels") == 0) {
        labels_line(s, from);
    } else if (strcmp(w, "source") == 0) {
        blanks(s);
        p->source = quoted(s);
    } else if (strcmp(w, "weights") == 0) {
        blanks(s);
        p->weights_path = quoted(s);
    } else if (strcmp(w, "params") == 0) {
        params_line(s);
    } else if (strcmp(w, "q") == 0) {
        p->params.q = words(s, 1024, (int64_t)1 << 62, &p->params.num_q);
    } else if (strcmp(w, "p") == 0) {
        p->params.p = words(s, 64, (int64_t)1 << 62, &p->params.num_p);
    } else if (strcmp(w, "key") == 0) {
        key_line(s, key_cap);
    } else if (strcmp(w, "registers") == 0) {
        p->reg_words = words(s, 1 << 24, (int64_t)1 << 48, &p->num_regs);
    } else if (strcmp(w, "error_bound") == 0) {
        p->error_bound = real(s);
    } else {
        diag_error(loc_of(s, from), "unknown line '%s'", w);
        hint(s, from, w, header_words);
        diag_check();
    }
    skip_comment(s);
}

/* ---- tables --------------------------------------------------------------------------------- */

static void pair(struct parser *s, const char *key, uint32_t most, uint32_t *a, uint32_t *b) {
    expect_key(s, key);
    *a = number(s, 1, most);
    expect(s, ',');
    *b = number(s, 1, most);
}

static void layout_entry(struct parser *s) {
    struct prog *p = s->p;
    const char *from = s->at;
    struct layout l = {0};
    uint32_t dims[3];
    entry_number(s, '@', p->num_layouts);
    if (!accept_word(s, "layout")) {
        FAIL(s, s->at, "expected 'layout'");
    }
    shape(s, dims);
    l.c = dims[0];
    l.h = dims[1];
    l.w = dims[2];
    expect_key(s, "n");
    l.n = number(s, 1, MOST_SLOTS);
    pair(s, "g", MOST_PIXELS, &l.g_h, &l.g_w);
    pair(s, "t", MOST_SLOTS, &l.t_h, &l.t_w);
    expect_key(s, "pitch");
    l.pitch = number(s, 1, MOST_SLOTS);
    expect_key(s, "block");
    l.block = number(s, 1, MOST_SLOTS);
    if (accept_word(s, "perm")) {
        expect(s, '=');
        struct ints perm = ints_of(s, l.c, 0, MOST_CHANNELS - 1);
        uint32_t *v = arena_array(p->arena, l.c, sizeof *v);
        for (uint32_t i = 0; i < l.c; i++) {
            v[i] = (uint32_t)perm.v[i];
        }
        l.perm = v;
    }
    const char *why;
    if (!layout_finish(&l, &why)) {
        FAIL(s, from, "%s", why);
    }
    ARENA_GROW(p->arena, p->layouts, p->num_layouts, p->cap_layouts);
    p->layouts[p->num_layouts++] = l;
    skip_comment(s);
}

static enum wrap wrap(struct parser *s) {
    char buf[WORD];
    const char *from;
    word(s, buf, &from);
    for (int i = 0; i < NUM_WRAPS; i++) {
        if (strcmp(buf, wrap_name((enum wrap)i)) == 0) {
            return (enum wrap)i;
        }
    }
    FAIL(s, from, "expected zeros, circular or spiral");
}

static void steps(struct parser *s, const char *key, uint32_t to[2]) {
    expect_key(s, key);
    struct ints l = ints_of(s, 2, 1, INT32_MAX);
    to[0] = (uint32_t)l.v[0];
    to[1] = (uint32_t)l.v[1];
}

static void term_line(struct parser *s, struct lterm *t) {
    shape(s, t->in);
    t->in_layout = layout_or_none(s);
    expect_key(s, "weight");
    t->weight = ref(s, '$', s->p->consts.len);
    expect_key(s, "to");
    t->out_from = number(s, 0, MOST_CHANNELS);
    expect_key(s, "from");
    t->in_from = number(s, 0, MOST_CHANNELS);
    expect_key(s, "groups");
    t->groups = number(s, 1, MOST_CHANNELS);
    steps(s, "stride", t->stride);
    steps(s, "dilation", t->dilation);
    steps(s, "up", t->up);
    expect_key(s, "pad");
    struct ints pad = ints_of(s, 4, INT32_MIN, INT32_MAX);
    for (uint32_t i = 0; i < 4; i++) {
        t->pad[i] = (int32_t)pad.v[i];
    }
    expect_key(s, "wrap");
    t->wrap = wrap(s);
    skip_comment(s);
}

static void map_entry(struct parser *s) {
    struct prog *p = s->p;
    struct loc loc = loc_of(s, s->at);
    struct lmap m = {0};
    uint32_t cap = 0;
    entry_number(s, '&', p->num_maps);
    if (!accept_word(s, "map")) {
        FAIL(s, s->at, "expected 'map'");
    }
    shape(s, m.out);
    m.out_layout = layout_or_none(s);
    skip_comment(s);
    while (find_line(s) && accept_word(s, "term")) {
        ARENA_GROW(p->arena, m.term, m.num_terms, cap);
        term_line(s, &m.term[m.num_terms++]);
    }
    const char *why;
    if (!lmap_check(p, &m, &why)) {
        diag_fatal(loc, "map: %s", why);
    }
    ARENA_GROW(p->arena, p->maps, p->num_maps, p->cap_maps);
    p->maps[p->num_maps++] = m;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static enum op op_word(struct parser *s) {
    char buf[WORD];
    const char *from;
    word(s, buf, &from);
    enum op op = op_find(buf);
    if (op == NUM_OPS) {
        const char *names[NUM_OPS + 1] = {NULL};
        for (int i = 0; i < NUM_OPS; i++) {
            names[i] = op_info[i].name;
        }
        diag_error(loc_of(s, from), "unknown operation '%s'", buf);
        hint(s, from, buf, names);
        diag_check();
    }
    return op;
}

static void attr_value(struct parser *s, struct attr *a) {
    struct prog *p = s->p;
    blanks(s);
    switch (key_kind(a->key)) {
    case ATTR_INT:
        a->v.i = integer(s, INT64_MIN, INT64_MAX);
        break;
    case ATTR_INTS: {
        struct ints l = ints(s, INT64_MIN, INT64_MAX);
        a->v.ints = l.v;
        a->len = l.len;
        break;
    }
    case ATTR_REAL:
        a->v.r = real(s);
        break;
    case ATTR_REALS: {
        struct reals l = {0};
        list(s, real_item, &l);
        a->v.reals = l.v;
        a->len = l.len;
        break;
    }
    case ATTR_STR:
        a->v.str = intern(p, quoted(s));
        break;
    case ATTR_CONST:
        a->v.i = ref(s, '$', p->consts.len);
        break;
    case ATTR_LAYOUT:
        a->v.i = ref(s, '@', p->num_layouts);
        break;
    case ATTR_MAP:
        a->v.i = ref(s, '&', p->num_maps);
        break;
    case ATTR_WRAP:
        a->v.i = wrap(s);
        break;
    }
}

/* key=value ..., into the order of the row; also reg= */
static void attributes(struct parser *s, struct node *n) {
    enum { MOST = sizeof op_info[0].attr / sizeof op_info[0].attr[0] };
    const struct op_info *info = &op_info[n->op];
    struct attr found[MOST];
    bool have[MOST] = {false};
    while (is_word_char(peek(s))) {
        char buf[WORD];
        const char *from;
        word(s, buf, &from);
        expect(s, '=');
        if (strcmp(buf, "reg") == 0 && n->reg == NONE) {
            n->reg = number(s, 0, 1 << 24);
            continue;
        }
        uint32_t i = 0;
        while (i < info->num_attrs && strcmp(buf, key_name(info->attr[i])) != 0) {
            i++;
        }
        if (i == info->num_attrs) {
            const char *names[MOST + 1] = {NULL};
            for (uint32_t k = 0; k < info->num_attrs; k++) {
                names[k] = key_name(info->attr[k]);
            }
            diag_error(loc_of(s, from), "%s takes no attribute '%s'", info->name, buf);
            hint(s, from, buf, names);
            diag_check();
        }
        if (have[i]) {
            FAIL(s, from, "attribute '%s' is given twice", buf);
        }
        have[i] = true;
        found[i] = (struct attr){.key = info->attr[i]};
        attr_value(s, &found[i]);
    }
    n->attrs = arena_array(s->p->arena, info->num_attrs, sizeof *n->attrs);
    for (uint32_t i = 0; i < info->num_attrs; i++) {
        if (have[i]) {
            n->attrs[n->num_attrs++] = found[i];
        }
    }
}

static void operands(struct parser *s, struct node *n, char sigil, uint32_t len) {
    uint32_t *args = NULL;
    uint32_t num = 0;
    uint32_t cap = 0;
    if (peek(s) == sigil) {
        do {
            if (num == MOST_CHANNELS) {
                FAIL(s, s->at, "too many operands");
            }
            ARENA_GROW(s->p->arena, args, num, cap);
            args[num++] = ref(s, sigil, len);
        } while (accept(s, ','));
    }
    n->args = args;
    n->num_args = num;
}

static struct type printed_type(struct parser *s) {
    struct type t = {.layout = NONE, .level = -1};
    char buf[WORD];
    const char *from;
    word(s, buf, &from);
    int kind = 0;
    while (kind < NUM_KINDS && strcmp(buf, kind_name((enum kind)kind)) != 0) {
        kind++;
    }
    if (kind == NUM_KINDS) {
        FAIL(s, from, "unknown type '%s'", buf);
    }
    t.kind = (enum kind)kind;
    if (t.kind == KIND_CONST) {
        blanks(s);
        from = s->at;
        struct ints dims = ints(s, 1, MOST_CHANNELS);
        if (dims.len > 4) {
            FAIL(s, from, "more than 4 axes");
        }
        t.rank = (uint8_t)dims.len;
        for (uint32_t i = 0; i < dims.len; i++) {
            t.dims[i] = (uint32_t)dims.v[i];
        }
    } else if (t.kind == KIND_TENSOR) {
        shape(s, t.dims);
        blanks(s);
        from = s->at;
        t.layout = layout_or_none(s);
        const struct layout *l = t.layout == NONE ? NULL : &s->p->layouts[t.layout];
        if (l && (l->c != t.dims[0] || l->h != t.dims[1] || l->w != t.dims[2])) {
            FAIL(s, from, "layout @%u is for %ux%ux%u", t.layout, l->c, l->h, l->w);
        }
    } else if (t.kind != KIND_NONE) {
        t.n = number(s, 1, MOST_SLOTS);
        if (accept_word(s, "L")) {
            expect(s, '=');
            t.level = (int32_t)number(s, 0, 1023);
            expect_key(s, "S");
            t.scale = positive(s);
        }
    }
    return t;
}

static void place(struct parser *s, struct node *n) {
    n->layer = intern(s->p, "");
    if (!accept(s, '#') || peek(s) == '\n') {
        return;
    }
    n->layer = name(s);
    if (peek(s) == '\n') {
        return;
    }
    const char *file = name(s); /* interned: equal names are equal pointers */
    if (file != s->place_name) {
        s->place_name = file;
        s->place_file = diag_add_file(file, NULL, 0);
    }
    n->loc.file = s->place_file;
    expect(s, ':');
    n->loc.line = number(s, 0, NONE);
    expect(s, ':');
    n->loc.col = number(s, 0, NONE);
}

static void node_entry(struct parser *s, char sigil) {
    struct prog *p = s->p;
    bool reference = s->section == IN_REFERENCE;
    struct nodes *to = sigil == '$' ? &p->consts : reference ? &p->reference : &p->nodes;
    struct node n = {.reg = NONE};
    entry_number(s, sigil, to->len);
    blanks(s);
    const char *op_at = s->at;
    n.op = (uint16_t)op_word(s);
    if (op_info[n.op].is_const != (sigil == '$')) {
        FAIL(s, op_at, "%s does not belong to this table", op_info[n.op].name);
    }
    operands(s, &n, sigil, to->len);
    attributes(s, &n);

    /* the reference network is a program of stage nn of its own */
    struct prog view = *p;
    if (reference) {
        view.stage = STAGE_NN;
        view.nodes = p->reference;
    }
    const char *why;
    if (!type_infer(&view, n.op, n.args, n.num_args, n.attrs, n.num_attrs, &n.type, &why)) {
        FAIL(s, op_at, "%s: %s", op_info[n.op].name, why);
    }
    if (accept(s, ':')) {
        blanks(s);
        const char *from = s->at;
        struct type t = printed_type(s);
        if (!type_agrees(n.op, &n.type, &t, &why)) {
            struct str want;
            str_init(&want, p->arena);
            type_print(&n.type, &want);
            FAIL(s, from, "%s: %s", why, want.s);
        }
        n.type = t;
    }
    place(s, &n);
    end_of_line(s);
    nodes_append(p, to, &n);
}

static void section_line(struct parser *s, const char *from, bool reference) {
    if (s->section >= (reference ? IN_REFERENCE : IN_PROGRAM)) {
        FAIL(s, from, "'%s' stands too late", reference ? "reference" : "program");
    }
    s->section = reference ? IN_REFERENCE : IN_PROGRAM;
    skip_comment(s);
}

static void need_section(struct parser *s, bool table) {
    if (table && s->section > IN_TABLES) {
        FAIL(s, s->at, "constants, layouts and maps stand before the nodes");
    }
    if (s->section == IN_HEADER) {
        s->section = IN_TABLES;
    }
    if (!table && s->section == IN_TABLES) {
        s->section = IN_PROGRAM;
    }
}

struct prog *prog_parse(struct arena *a, const char *name_, const char *text, size_t len) {
    struct parser s = {.p = prog_new(a, STAGE_NN),
                       .at = text,
                       .end = text + len,
                       .line_start = text,
                       .line = 1,
                       .file = diag_add_file(name_, text, len)};
    uint32_t key_cap = 0;
    first_line(&s);
    while (find_line(&s)) {
        char c = peek(&s);
        if (c == '$' || c == '@' || c == '&') {
            need_section(&s, true);
            if (c == '$') {
                node_entry(&s, c);
            } else if (c == '@') {
                layout_entry(&s);
            } else {
                map_entry(&s);
            }
        } else if (c == '%') {
            need_section(&s, false);
            node_entry(&s, c);
        } else {
            char buf[WORD];
            const char *from;
            word(&s, buf, &from);
            if (!*buf) {
                FAIL(&s, from, "unexpected character");
            }
            if (strcmp(buf, "reference") == 0 || strcmp(buf, "program") == 0) {
                section_line(&s, from, *buf == 'r');
            } else if (s.section != IN_HEADER) {
                FAIL(&s, from, "expected an entry: $0 = ..., @0 = ..., &0 = ... or %%0 = ...");
            } else {
                header_line(&s, buf, from, &key_cap);
            }
        }
    }
    return s.p;
}
