/* SPDX-License-Identifier: Apache-2.0 */
#include "scan.h"

#include <string.h>

/* Reads the text form; its grammar is the head comment of print.c. Nothing in the text is believed:
 * every number has a range, every index must exist, every type is inferred again. */

/* ---- what all entries share ----------------------------------------------------------------- */

static void shape(struct scan *s, uint32_t d[3])
{
    d[0] = scan_number(s, 1, MOST_CHANNELS);
    scan_expect(s, 'x');
    d[1] = scan_number(s, 1, MOST_PIXELS);
    scan_expect(s, 'x');
    d[2] = scan_number(s, 1, MOST_PIXELS);
}

/* $3, @3, &3, %3: an entry that exists */
static uint32_t ref(struct scan *s, char sigil, uint32_t len)
{
    scan_blanks(s);
    const char *from = s->at;
    scan_expect(s, sigil);
    uint32_t i = scan_number(s, 0, NONE - 1);
    if (i >= len) {
        SCAN_FAIL(s, from, "%c%u is not defined before this line", sigil, i);
    }
    return i;
}

static uint32_t layout_or_none(struct scan *s)
{
    return scan_peek(s) == '@' ? ref(s, '@', s->p->num_layouts) : NONE;
}

/* `$7 =`: entries are numbered in order */
static void entry_number(struct scan *s, char sigil, uint32_t want)
{
    const char *from = s->at;
    scan_expect(s, sigil);
    if (scan_number(s, 0, NONE - 1) != want) {
        SCAN_FAIL(s, from, "expected %c%u here: entries are numbered from 0 in order", sigil, want);
    }
    scan_expect(s, '=');
}

static void hint(struct scan *s, const char *from, const char *found, const char *const *names)
{
    const char *near = diag_nearest(found, names);
    if (near) {
        diag_hint(scan_loc(s, from), "did you mean '%s'?", near);
    }
}

/* ---- header --------------------------------------------------------------------------------- */

static void first_line(struct scan *s)
{
    struct prog *p = s->p;
    if (!scan_find_line(s) || s->end - s->at < 7 || memcmp(s->at, "weft-ir", 7) != 0) {
        SCAN_FAIL(s, s->at, "expected 'weft-ir 1 stage=...' in the first line");
    }
    s->at += 7;
    scan_blanks(s);
    const char *from = s->at;
    if (scan_integer(s, 0, INT64_MAX) != 1) {
        SCAN_FAIL(s, from, "this text has another version than 1");
    }
    scan_key(s, "stage");
    char buf[SCAN_WORD];
    scan_word(s, buf, &from);
    for (int i = 0; i < NUM_STAGES; i++) {
        if (strcmp(buf, stage_name((enum stage)i)) == 0) {
            p->stage = (enum stage)i;
            scan_skip_comment(s);
            return;
        }
    }
    SCAN_FAIL(s, from, "unknown stage '%s'; known are nn, slot, ckks", buf);
}

static void model_line(struct scan *s)
{
    struct model *m = &s->p->model;
    scan_blanks(s);
    m->name = intern(s->p, scan_string(s));
    scan_key(s, "hash");
    m->hash = scan_hex(s);
    scan_key(s, "input");
    scan_blanks(s);
    const char *from = s->at;
    shape(s, m->input);
    if ((uint64_t)m->input[0] * m->input[1] * m->input[2] > MOST_ELEMENTS) {
        SCAN_FAIL(s, from, "the input has more than %u elements", MOST_ELEMENTS);
    }
    scan_key(s, "range");
    const double *range = scan_reals_of(s, 2);
    m->range[0] = range[0];
    m->range[1] = range[1];
    scan_key(s, "outputs");
    m->num_outputs = scan_number(s, 0, MOST_ELEMENTS);
}

static void labels_line(struct scan *s, const char *from)
{
    struct model *m = &s->p->model;
    m->labels = scan_strings(s, &m->num_labels);
    if (m->num_labels != m->num_outputs) {
        SCAN_FAIL(s, from, "%u labels for %u outputs", m->num_labels, m->num_outputs);
    }
}

static void params_line(struct scan *s)
{
    struct params *q = &s->p->params;
    scan_key(s, "log_n");
    q->log_n = scan_number(s, 0, 17);
    scan_key(s, "alpha");
    q->alpha = scan_number(s, q->log_n != 0, 64);
    scan_key(s, "scale");
    q->scale = scan_real(s);
    scan_key(s, "input_scale");
    q->input_scale = scan_real(s);
    scan_key(s, "insecure");
    q->insecure = scan_number(s, 0, 1) == 1;
    scan_key(s, "lambda");
    q->lambda_bits = scan_real(s);
    if (scan_accept_word(s, "boot_level")) {
        scan_expect(s, '=');
        q->boot_level = scan_number(s, 0, 1023);
    }
    if (scan_accept_word(s, "sparse_weight")) {
        scan_expect(s, '=');
        q->sparse_weight = scan_number(s, 0, 1 << 17);
    }
    if (scan_accept_word(s, "arcsine")) {
        scan_expect(s, '=');
        q->arcsine = scan_number(s, 0, 3);
    }
}

static void key_line(struct scan *s)
{
    struct prog *p = s->p;
    struct key_spec k = {.kind = NUM_KEY_KINDS};
    const char *from;
    char buf[SCAN_WORD];
    scan_word(s, buf, &from);
    for (int i = 0; i < NUM_KEY_KINDS; i++) {
        k.kind = strcmp(buf, key_kind_name((enum key_kind)i)) == 0 ? (enum key_kind)i : k.kind;
    }
    if (k.kind == NUM_KEY_KINDS) {
        SCAN_FAIL(s, from, "unknown kind of key '%s'", buf);
    }
    if (scan_accept_word(s, "by")) {
        scan_expect(s, '=');
        k.by = scan_integer(s, 0, MOST_SLOTS);
    }
    scan_key(s, "level");
    k.level = (int32_t)scan_number(s, 0, 1023);
    ARENA_GROW(p->arena, p->keys, p->num_keys, s->key_cap);
    p->keys[p->num_keys++] = k;
}

static void check_line(struct scan *s)
{
    struct prog *p = s->p;
    struct check_point c;
    scan_key(s, "node");
    c.node = scan_number(s, 0, UINT32_MAX - 1);
    scan_key(s, "tensor");
    c.tensor = scan_number(s, 0, UINT32_MAX - 1);
    scan_key(s, "part");
    c.part = scan_number(s, 0, MOST_SLOTS);
    scan_key(s, "budget");
    c.budget = scan_real(s);
    ARENA_GROW(p->arena, p->points, p->num_points, s->point_cap);
    p->points[p->num_points++] = c;
}

static const char *const header_words[] = {
    "model",  "mean",      "std",    "labels",   "source",    "weights",
    "params", "q",         "p",      "key",      "registers", "error_bound",
    "check",  "reference", "packed", "function", "program",   NULL};

/* One line that begins with a word. */
static void header_line(struct scan *s, const char *w, const char *from)
{
    struct prog *p = s->p;
    uint32_t channels = p->model.input[0];
    if (strcmp(w, "model") == 0) {
        model_line(s);
    } else if (strcmp(w, "mean") == 0) {
        p->model.mean = scan_reals_of(s, channels);
    } else if (strcmp(w, "std") == 0) {
        p->model.std = scan_reals_of(s, channels);
    } else if (strcmp(w, "labels") == 0) {
        labels_line(s, from);
    } else if (strcmp(w, "source") == 0) {
        scan_blanks(s);
        p->source = scan_string(s);
    } else if (strcmp(w, "weights") == 0) {
        scan_blanks(s);
        p->weights_path = scan_string(s);
    } else if (strcmp(w, "params") == 0) {
        params_line(s);
    } else if (strcmp(w, "q") == 0) {
        p->params.q = scan_words(s, 1024, (int64_t)1 << 62, &p->params.num_q);
    } else if (strcmp(w, "p") == 0) {
        p->params.p = scan_words(s, 64, (int64_t)1 << 62, &p->params.num_p);
    } else if (strcmp(w, "key") == 0) {
        key_line(s);
    } else if (strcmp(w, "registers") == 0) {
        p->reg_words = scan_words(s, 1 << 24, (int64_t)1 << 48, &p->num_regs);
    } else if (strcmp(w, "error_bound") == 0) {
        p->error_bound = scan_real(s);
    } else if (strcmp(w, "check") == 0) {
        check_line(s);
    } else {
        diag_error(scan_loc(s, from), "unknown line '%s'", w);
        hint(s, from, w, header_words);
        diag_check();
    }
    scan_skip_comment(s);
}

/* ---- tables --------------------------------------------------------------------------------- */

static void pair(struct scan *s, const char *key, uint32_t most, uint32_t *a, uint32_t *b)
{
    scan_key(s, key);
    *a = scan_number(s, 1, most);
    scan_expect(s, ',');
    *b = scan_number(s, 1, most);
}

static void layout_entry(struct scan *s)
{
    struct prog *p = s->p;
    const char *from = s->at;
    struct layout l = {0};
    uint32_t dims[3];
    entry_number(s, '@', p->num_layouts);
    if (!scan_accept_word(s, "layout")) {
        SCAN_FAIL(s, s->at, "expected 'layout'");
    }
    shape(s, dims);
    l.c = dims[0];
    l.h = dims[1];
    l.w = dims[2];
    scan_key(s, "n");
    l.n = scan_number(s, 1, MOST_SLOTS);
    pair(s, "g", MOST_PIXELS, &l.g_h, &l.g_w);
    pair(s, "t", MOST_SLOTS, &l.t_h, &l.t_w);
    scan_key(s, "pitch");
    l.pitch = scan_number(s, 1, MOST_SLOTS);
    scan_key(s, "block");
    l.block = scan_number(s, 1, MOST_SLOTS);
    if (scan_accept_word(s, "perm")) {
        scan_expect(s, '=');
        struct scan_ints perm = scan_ints_of(s, l.c, 0, MOST_CHANNELS - 1);
        uint32_t *v = arena_array(p->arena, l.c, sizeof *v);
        for (uint32_t i = 0; i < l.c; i++) {
            v[i] = (uint32_t)perm.v[i];
        }
        l.perm = v;
    }
    const char *why;
    if (!layout_finish(&l, &why)) {
        SCAN_FAIL(s, from, "%s", why);
    }
    ARENA_GROW(p->arena, p->layouts, p->num_layouts, p->cap_layouts);
    p->layouts[p->num_layouts++] = l;
    scan_skip_comment(s);
}

static enum wrap wrap(struct scan *s)
{
    char buf[SCAN_WORD];
    const char *from;
    scan_word(s, buf, &from);
    for (int i = 0; i < NUM_WRAPS; i++) {
        if (strcmp(buf, wrap_name((enum wrap)i)) == 0) {
            return (enum wrap)i;
        }
    }
    SCAN_FAIL(s, from, "expected zeros, circular or spiral");
}

static void steps(struct scan *s, const char *key, uint32_t to[2])
{
    scan_key(s, key);
    struct scan_ints l = scan_ints_of(s, 2, 1, INT32_MAX);
    to[0] = (uint32_t)l.v[0];
    to[1] = (uint32_t)l.v[1];
}

/* A term of a DFT factor: what it does not print has one value. */
static void dft_term(struct scan *s, struct lterm *t, struct ldft *dft)
{
    t->weight = NONE;
    t->groups = 1;
    for (uint32_t i = 0; i < 2; i++) {
        t->stride[i] = t->dilation[i] = t->up[i] = 1;
    }
    scan_key(s, "first");
    dft->first = scan_number(s, 1, 17);
    scan_key(s, "last");
    dft->last = scan_number(s, 1, 17);
    scan_key(s, "inverse");
    dft->inverse = scan_number(s, 0, 1) == 1;
}

static void term_line(struct scan *s, struct lterm *t, struct ldft *dft)
{
    shape(s, t->in);
    t->in_layout = layout_or_none(s);
    if (scan_accept_word(s, "dft")) {
        dft_term(s, t, dft);
        scan_skip_comment(s);
        return;
    }
    scan_key(s, "weight");
    t->weight = ref(s, '$', s->p->consts.len);
    scan_key(s, "to");
    t->out_from = scan_number(s, 0, MOST_CHANNELS);
    scan_key(s, "from");
    t->in_from = scan_number(s, 0, MOST_CHANNELS);
    scan_key(s, "groups");
    t->groups = scan_number(s, 1, MOST_CHANNELS);
    steps(s, "stride", t->stride);
    steps(s, "dilation", t->dilation);
    steps(s, "up", t->up);
    scan_key(s, "pad");
    struct scan_ints pad = scan_ints_of(s, 4, INT32_MIN, INT32_MAX);
    for (uint32_t i = 0; i < 4; i++) {
        t->pad[i] = (int32_t)pad.v[i];
    }
    scan_key(s, "wrap");
    t->wrap = wrap(s);
    scan_skip_comment(s);
}

static void map_entry(struct scan *s)
{
    struct prog *p = s->p;
    struct loc loc = scan_loc(s, s->at);
    struct lmap m = {0};
    uint32_t cap = 0;
    entry_number(s, '&', p->num_maps);
    if (!scan_accept_word(s, "map")) {
        SCAN_FAIL(s, s->at, "expected 'map'");
    }
    shape(s, m.out);
    m.out_layout = layout_or_none(s);
    scan_skip_comment(s);
    while (scan_find_line(s) && scan_accept_word(s, "term")) {
        ARENA_GROW(p->arena, m.term, m.num_terms, cap);
        term_line(s, &m.term[m.num_terms++], &m.dft);
    }
    const char *why;
    if (!lmap_check(p, &m, &why)) {
        diag_fatal(loc, "map: %s", why);
    }
    ARENA_GROW(p->arena, p->maps, p->num_maps, p->cap_maps);
    p->maps[p->num_maps++] = m;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static enum op op_word(struct scan *s)
{
    char buf[SCAN_WORD];
    const char *from;
    scan_word(s, buf, &from);
    enum op op = op_find(buf);
    if (op == NUM_OPS) {
        const char *names[NUM_OPS + 1] = {NULL};
        for (int i = 0; i < NUM_OPS; i++) {
            names[i] = op_info[i].name;
        }
        diag_error(scan_loc(s, from), "unknown operation '%s'", buf);
        hint(s, from, buf, names);
        diag_check();
    }
    return op;
}

static void attr_value(struct scan *s, struct attr *a)
{
    struct prog *p = s->p;
    scan_blanks(s);
    switch (key_kind(a->key)) {
    case ATTR_INT:
        a->v.i = scan_integer(s, INT64_MIN, INT64_MAX);
        break;
    case ATTR_INTS: {
        struct scan_ints l = scan_ints(s, INT64_MIN, INT64_MAX);
        a->v.ints = l.v;
        a->len = l.len;
        break;
    }
    case ATTR_REAL:
        a->v.r = scan_real(s);
        break;
    case ATTR_REALS: {
        a->v.reals = scan_reals(s, &a->len);
        break;
    }
    case ATTR_STR:
        a->v.str = intern(p, scan_string(s));
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
static void attributes(struct scan *s, struct node *n)
{
    enum { MOST = sizeof op_info[0].attr / sizeof op_info[0].attr[0] };
    const struct op_info *info = &op_info[n->op];
    struct attr found[MOST];
    bool have[MOST] = {false};
    while (scan_is_word(scan_peek(s))) {
        char buf[SCAN_WORD];
        const char *from;
        scan_word(s, buf, &from);
        scan_expect(s, '=');
        if (strcmp(buf, "reg") == 0 && n->reg == NONE) {
            n->reg = scan_number(s, 0, 1 << 24);
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
            diag_error(scan_loc(s, from), "%s takes no attribute '%s'", info->name, buf);
            hint(s, from, buf, names);
            diag_check();
        }
        if (have[i]) {
            SCAN_FAIL(s, from, "attribute '%s' is given twice", buf);
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

static void operands(struct scan *s, struct node *n, char sigil, uint32_t len)
{
    uint32_t *args = NULL;
    uint32_t num = 0;
    uint32_t cap = 0;
    if (scan_peek(s) == sigil) {
        do {
            if (num == MOST_CHANNELS) {
                SCAN_FAIL(s, s->at, "too many operands");
            }
            ARENA_GROW(s->p->arena, args, num, cap);
            args[num++] = ref(s, sigil, len);
        } while (scan_accept(s, ','));
    }
    n->args = args;
    n->num_args = num;
}

static struct type printed_type(struct scan *s)
{
    struct type t = {.layout = NONE, .level = -1};
    char buf[SCAN_WORD];
    const char *from;
    scan_word(s, buf, &from);
    int kind = 0;
    while (kind < NUM_KINDS && strcmp(buf, kind_name((enum kind)kind)) != 0) {
        kind++;
    }
    if (kind == NUM_KINDS) {
        SCAN_FAIL(s, from, "unknown type '%s'", buf);
    }
    t.kind = (enum kind)kind;
    if (t.kind == KIND_CONST) {
        scan_blanks(s);
        from = s->at;
        struct scan_ints dims = scan_ints(s, 1, MOST_CHANNELS);
        if (dims.len > 4) {
            SCAN_FAIL(s, from, "more than 4 axes");
        }
        t.rank = (uint8_t)dims.len;
        for (uint32_t i = 0; i < dims.len; i++) {
            t.dims[i] = (uint32_t)dims.v[i];
        }
    } else if (t.kind == KIND_TENSOR) {
        shape(s, t.dims);
        scan_blanks(s);
        from = s->at;
        t.layout = layout_or_none(s);
        const struct layout *l = t.layout == NONE ? NULL : &s->p->layouts[t.layout];
        if (l && (l->c != t.dims[0] || l->h != t.dims[1] || l->w != t.dims[2])) {
            SCAN_FAIL(s, from, "layout @%u is for %ux%ux%u", t.layout, l->c, l->h, l->w);
        }
    } else if (t.kind != KIND_NONE) {
        t.n = scan_number(s, 1, MOST_SLOTS);
        if (scan_accept_word(s, "L")) {
            scan_expect(s, '=');
            t.level = (int32_t)scan_number(s, 0, 1023);
            scan_key(s, "S");
            t.scale = scan_positive(s);
        }
    }
    return t;
}

static void place(struct scan *s, struct node *n)
{
    n->layer = intern(s->p, "");
    if (!scan_accept(s, '#') || scan_peek(s) == '\n') {
        return;
    }
    n->layer = scan_name(s);
    if (scan_peek(s) == '\n') {
        return;
    }
    const char *file = scan_name(s); /* interned: equal names are equal pointers */
    if (file != s->place_name) {
        s->place_name = file;
        s->place_file = diag_add_file(file, NULL, 0);
    }
    n->loc.file = s->place_file;
    scan_expect(s, ':');
    n->loc.line = scan_number(s, 0, NONE);
    scan_expect(s, ':');
    n->loc.col = scan_number(s, 0, NONE);
}

static void node_entry(struct scan *s, char sigil)
{
    struct prog *p = s->p;
    bool reference = s->section == IN_REFERENCE || s->section == IN_PACKED;
    bool function = s->section == IN_FUNCTION;
    struct nodes *to = sigil == '$'                 ? &p->consts
                       : s->section == IN_REFERENCE ? &p->reference
                       : s->section == IN_PACKED    ? &p->packed
                       : function                   ? &p->funcs[p->num_funcs - 1].nodes
                                                    : &p->nodes;
    struct node n = {.reg = NONE};
    entry_number(s, sigil, to->len);
    scan_blanks(s);
    const char *op_at = s->at;
    n.op = (uint16_t)op_word(s);
    if (op_info[n.op].is_const != (sigil == '$')) {
        SCAN_FAIL(s, op_at, "%s does not belong to this table", op_info[n.op].name);
    }
    operands(s, &n, sigil, to->len);
    attributes(s, &n);

    /* reference and packed network are programs of stage nn of their own, a function is one too */
    struct prog view = *p;
    if (reference || function) {
        view.stage = reference ? STAGE_NN : p->stage;
        view.nodes = *to;
        view.is_function = function;
    }
    const char *why;
    if (!type_infer(&view, n.op, n.args, n.num_args, n.attrs, n.num_attrs, &n.type, &why)) {
        SCAN_FAIL(s, op_at, "%s: %s", op_info[n.op].name, why);
    }
    if (scan_accept(s, ':')) {
        scan_blanks(s);
        const char *from = s->at;
        struct type t = printed_type(s);
        if (!type_agrees(n.op, &n.type, &t, &why)) {
            struct str want;
            str_init(&want, p->arena);
            type_print(&n.type, &want);
            SCAN_FAIL(s, from, "%s: %s", why, want.s);
        }
        n.type = t;
    } else if (n.type.kind > KIND_TENSOR && n.type.n == 0) {
        SCAN_FAIL(s, op_at, "the input of a function needs its type");
    }
    place(s, &n);
    scan_end_of_line(s);
    nodes_append(p, to, &n);
}

enum { MOST_FUNCTIONS = 1024 };

static void function_line(struct scan *s)
{
    struct prog *p = s->p;
    scan_blanks(s);
    const char *from = s->at;
    const char *name = intern(p, scan_string(s));
    for (uint32_t f = 0; f < p->num_funcs; f++) {
        if (p->funcs[f].name == name) {
            SCAN_FAIL(s, from, "there are two functions '%s'", name);
        }
    }
    if (p->stage == STAGE_NN) {
        SCAN_FAIL(s, from, "programs of stage nn have no functions");
    }
    if (p->num_funcs == MOST_FUNCTIONS) {
        SCAN_FAIL(s, from, "more than %d functions", MOST_FUNCTIONS);
    }
    ARENA_GROW(p->arena, p->funcs, p->num_funcs, s->func_cap);
    p->funcs[p->num_funcs++] = (struct func){.name = name};
}

/* A line that begins a section; sections that may repeat begin again. */
static bool section_line(struct scan *s, const char *word, const char *from)
{
    bool function = strcmp(word, "function") == 0;
    bool reference = strcmp(word, "reference") == 0, packed = strcmp(word, "packed") == 0;
    if (!function && !reference && !packed && strcmp(word, "program") != 0) {
        return false;
    }
    if (s->section >= (reference  ? IN_REFERENCE
                       : packed   ? IN_PACKED
                       : function ? IN_FUNCTION + 1
                                  : IN_PROGRAM)) {
        SCAN_FAIL(s, from, "'%s' stands too late", word);
    }
    s->section = reference  ? IN_REFERENCE
                 : packed   ? IN_PACKED
                 : function ? IN_FUNCTION
                            : IN_PROGRAM;
    if (function) {
        function_line(s);
    }
    scan_skip_comment(s);
    return true;
}

static void need_section(struct scan *s, bool table)
{
    if (table && s->section > IN_TABLES) {
        SCAN_FAIL(s, s->at, "constants, layouts and maps stand before the nodes");
    }
    if (s->section == IN_HEADER) {
        s->section = IN_TABLES;
    }
    if (!table && s->section == IN_TABLES) {
        s->section = IN_PROGRAM;
    }
}

struct prog *prog_parse(struct arena *a, const char *name_, const char *text, size_t len)
{
    struct scan s = {.p = prog_new(a, STAGE_NN),
                     .at = text,
                     .end = text + len,
                     .line_start = text,
                     .line = 1,
                     .file = diag_add_file(name_, text, len)};
    first_line(&s);
    while (scan_find_line(&s)) {
        char c = scan_peek(&s);
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
            char buf[SCAN_WORD];
            const char *from;
            scan_word(&s, buf, &from);
            if (!*buf) {
                SCAN_FAIL(&s, from, "unexpected character");
            }
            if (section_line(&s, buf, from)) {
                continue;
            }
            if (s.section != IN_HEADER) {
                SCAN_FAIL(&s, from, "expected an entry: $0 = ..., @0 = ..., &0 = ... or %%0 = ...");
            } else {
                header_line(&s, buf, from);
            }
        }
    }
    return s.p;
}
