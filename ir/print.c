/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <inttypes.h>
#include <string.h>

/*
 * The text form. One entry a line; blank lines and lines that begin with '#' are skipped.
 *
 *     weft-ir 1 stage=ckks
 *     model "lenet" hash=0123456789abcdef input=1x28x28 range=[0,1] outputs=10
 *     mean [0.13]                       one number a channel
 *     std [0.31]
 *     labels ["zero","one"]             optional; as many as outputs
 *     source "model.yaml"               optional
 *     weights "weights.safetensors"     optional
 *     params log_n=13 alpha=1 scale=1099511627776 input_scale=1099511627776 insecure=0 lambda=128
 *                                       then boot_level=, sparse_weight=, arcsine= where not 0; log_n=0 before it is chosen
 *     q [1125899906826241,1125899906629633]
 *     p [1125899905744897]
 *     key relinearise level=5           one line a key; also conjugate, encapsulate
 *     key rotate by=3 level=5           also raised; by=0 is left out
 *     registers [81920,122880]          64-bit words of each
 *     error_bound 0.0001
 *     check node=12 tensor=3 part=0 budget=0.001      with --check; struct check_point
 *
 *     $0 = weight file_tensor="conv1.weight" dims=[8,1,5,5] : const [8,1,5,5]  # conv1 model.yaml:9:5
 *     @0 = layout 1x28x28 n=1024 g=1,1 t=1,1 pitch=28 block=1024 perm=[0]
 *     &0 = map 8x24x24 @1
 *       term 1x28x28 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros
 *     &1 = map 1x1x4096 @3
 *       term 1x1x4096 @3 dft first=1 last=7 inverse=0
 *     reference                         the nodes that follow are the reference network (stage nn)
 *     %0 = input : tensor 1x28x28
 *     packed                            with --check: the nodes that follow are the packed network (stage nn)
 *     function "boot_stc_4096"          the nodes that follow are function number 0 (func=0); then number 1, ...
 *     %0 = input : ct 4096 L=1 S=1073741824
 *     program                           the nodes that follow are the program
 *     %0 = input part=0 layout=@0 : ct 1024 L=5 S=1099511627776
 *     %1 = pmac %0, %0 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=1024 reg=2 : ct 1024  # conv1 model.yaml:9:5
 *     %2 = output %1 layout=@1
 *
 * Entries of a table are numbered from 0 in order. The sections come in the order shown: header,
 * tables ($ @ & in any order, each after what it refers to), reference, packed, functions, program; `program` may
 * be left out where there is none of the others. A function's name is an identifier; its input has its type. Attributes come after the operands in any order, printed in
 * the order of the op's row; reg= is the buffer. A type may be left out where it can be inferred;
 * of L (level) and S (scale) both or none are there. What follows '#' on a $ or % line is data: the name of
 * the layer and the place in the source, either may be missing ("" when only the name is); names are quoted
 * unless they are made of letters, digits and _ . / - +. Strings have the escapes of JSON: \" \\ \n \t \r \u00XX.
 * Numbers are printed so that they read back to the same bits.
 */

/* ---- words ---------------------------------------------------------------------------------- */

static void add_quoted(struct str *out, const char *s)
{
    str_add(out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            str_addf(out, "\\%c", c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            str_add(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
        } else if (c < 0x20 || c == 0x7f) {
            str_addf(out, "\\u%04x", c);
        } else {
            str_addn(out, s, 1);
        }
    }
    str_add(out, "\"");
}

static void add_name(struct str *out, const char *s)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+";
    if (*s && s[strspn(s, plain)] == '\0') {
        str_add(out, s);
    } else {
        add_quoted(out, s);
    }
}

static void add_reals(struct str *out, const double *v, uint32_t len)
{
    str_add(out, "[");
    for (uint32_t i = 0; i < len; i++) {
        str_add(out, i ? "," : "");
        str_add_double(out, v[i]);
    }
    str_add(out, "]");
}

static void add_ints(struct str *out, const int64_t *v, uint32_t len)
{
    str_add(out, "[");
    for (uint32_t i = 0; i < len; i++) {
        str_addf(out, "%s%" PRId64, i ? "," : "", v[i]);
    }
    str_add(out, "]");
}

static void add_words(struct str *out, const uint64_t *v, uint32_t len)
{
    str_add(out, "[");
    for (uint32_t i = 0; i < len; i++) {
        str_addf(out, "%s%" PRIu64, i ? "," : "", v[i]);
    }
    str_add(out, "]");
}

static void add_shape(struct str *out, const uint32_t d[3])
{
    str_addf(out, "%ux%ux%u", d[0], d[1], d[2]);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

void type_print(const struct type *t, struct str *out)
{
    str_add(out, kind_name(t->kind));
    switch (t->kind) {
    case KIND_NONE:
        return;
    case KIND_CONST:
        str_add(out, " [");
        for (uint32_t i = 0; i < t->rank; i++) {
            str_addf(out, "%s%u", i ? "," : "", t->dims[i]);
        }
        str_add(out, "]");
        return;
    case KIND_TENSOR:
        str_add(out, " ");
        add_shape(out, t->dims);
        break;
    default:
        str_addf(out, " %u", t->n);
    }
    if (t->layout != NONE) {
        str_addf(out, " @%u", t->layout);
    }
    if (t->level >= 0) {
        str_addf(out, " L=%d S=", t->level);
        str_add_double(out, t->scale);
    }
}

static void add_attr(struct str *out, const struct attr *a)
{
    str_addf(out, " %s=", key_name(a->key));
    switch (key_kind(a->key)) {
    case ATTR_INT:
        str_addf(out, "%" PRId64, a->v.i);
        break;
    case ATTR_INTS:
        add_ints(out, a->v.ints, a->len);
        break;
    case ATTR_REAL:
        str_add_double(out, a->v.r);
        break;
    case ATTR_REALS:
        add_reals(out, a->v.reals, a->len);
        break;
    case ATTR_STR:
        add_quoted(out, a->v.str);
        break;
    case ATTR_CONST:
        str_addf(out, "$%" PRId64, a->v.i);
        break;
    case ATTR_LAYOUT:
        str_addf(out, "@%" PRId64, a->v.i);
        break;
    case ATTR_MAP:
        str_addf(out, "&%" PRId64, a->v.i);
        break;
    case ATTR_WRAP:
        str_add(out, wrap_name((enum wrap)a->v.i));
        break;
    }
}

static void add_place(struct str *out, const struct node *n)
{
    bool place = n->loc.file != 0;
    const char *layer =
        n->layer ? n->layer : ""; /* NULL: a node that the verifier is about to refuse */
    if (!place && !*layer) {
        return;
    }
    str_add(out, "  # ");
    add_name(out, layer);
    if (place) {
        str_add(out, " ");
        add_name(out, diag_file_name(n->loc.file));
        str_addf(out, ":%u:%u", n->loc.line, n->loc.col);
    }
}

void node_print(const struct prog *p, const struct node *n, uint32_t index, struct str *out)
{
    (void)p;
    const char *sigil = op_info[n->op].is_const ? "$" : "%";
    str_addf(out, "%s%u = %s", sigil, index, op_info[n->op].name);
    for (uint32_t i = 0; i < n->num_args; i++) {
        str_addf(out, "%s%s%u", i ? ", " : " ", sigil, n->args[i]);
    }
    for (uint32_t i = 0; i < n->num_attrs; i++) {
        add_attr(out, &n->attrs[i]);
    }
    if (n->reg != NONE) {
        str_addf(out, " reg=%u", n->reg);
    }
    if (n->type.kind != KIND_NONE) {
        str_add(out, " : ");
        type_print(&n->type, out);
    }
    add_place(out, n);
    str_add(out, "\n");
}

/* ---- program -------------------------------------------------------------------------------- */

static void print_model(const struct prog *p, struct str *out)
{
    const struct model *m = &p->model;
    str_add(out, "model ");
    add_quoted(out, m->name);
    str_addf(out, " hash=%016" PRIx64 " input=", m->hash);
    add_shape(out, m->input);
    str_add(out, " range=");
    add_reals(out, m->range, 2);
    str_addf(out, " outputs=%u\n", m->num_outputs);
    if (m->mean) {
        str_add(out, "mean ");
        add_reals(out, m->mean, m->input[0]);
        str_add(out, "\n");
    }
    if (m->std) {
        str_add(out, "std ");
        add_reals(out, m->std, m->input[0]);
        str_add(out, "\n");
    }
    if (m->num_labels != 0) {
        str_add(out, "labels [");
        for (uint32_t i = 0; i < m->num_labels; i++) {
            str_add(out, i ? "," : "");
            add_quoted(out, m->labels[i]);
        }
        str_add(out, "]\n");
    }
    if (*p->source) {
        str_add(out, "source ");
        add_quoted(out, p->source);
        str_add(out, "\n");
    }
    if (*p->weights_path) {
        str_add(out, "weights ");
        add_quoted(out, p->weights_path);
        str_add(out, "\n");
    }
}

static void print_params(const struct prog *p, struct str *out)
{
    const struct params *q = &p->params;
    if (q->log_n != 0 || q->boot_level != 0 || q->sparse_weight != 0) {
        str_addf(out, "params log_n=%u alpha=%u scale=", q->log_n, q->alpha);
        str_add_double(out, q->scale);
        str_add(out, " input_scale=");
        str_add_double(out, q->input_scale);
        str_addf(out, " insecure=%d lambda=", q->insecure);
        str_add_double(out, q->lambda_bits);
        if (q->boot_level != 0) {
            str_addf(out, " boot_level=%u", q->boot_level);
        }
        if (q->sparse_weight != 0) {
            str_addf(out, " sparse_weight=%u", q->sparse_weight);
        }
        if (q->arcsine != 0) {
            str_addf(out, " arcsine=%u", q->arcsine);
        }
        str_add(out, "\nq ");
        add_words(out, q->q, q->num_q);
        str_add(out, "\np ");
        add_words(out, q->p, q->num_p);
        str_add(out, "\n");
    }
    for (uint32_t i = 0; i < p->num_keys; i++) {
        const struct key_spec *k = &p->keys[i];
        str_addf(out, "key %s", key_kind_name(k->kind));
        if (k->by != 0) {
            str_addf(out, " by=%" PRId64, k->by);
        }
        str_addf(out, " level=%d\n", k->level);
    }
    if (p->num_regs != 0) {
        str_add(out, "registers ");
        add_words(out, p->reg_words, p->num_regs);
        str_add(out, "\n");
    }
    if (p->error_bound != 0) {
        str_add(out, "error_bound ");
        str_add_double(out, p->error_bound);
        str_add(out, "\n");
    }
    for (uint32_t i = 0; i < p->num_points; i++) {
        const struct check_point *c = &p->points[i];
        str_addf(out, "check node=%u tensor=%u part=%u budget=", c->node, c->tensor, c->part);
        str_add_double(out, c->budget);
        str_add(out, "\n");
    }
}

static void print_layout(const struct layout *l, uint32_t i, struct str *out)
{
    str_addf(out, "@%u = layout %ux%ux%u n=%u g=%u,%u t=%u,%u pitch=%u block=%u", i, l->c, l->h,
             l->w, l->n, l->g_h, l->g_w, l->t_h, l->t_w, l->pitch, l->block);
    for (uint32_t c = 0; l->perm && c < l->c; c++) {
        str_addf(out, "%s%u", c ? "," : " perm=[", l->perm[c]);
    }
    str_add(out, l->perm ? "]\n" : "\n");
}

static void print_map(const struct lmap *m, uint32_t i, struct str *out)
{
    str_addf(out, "&%u = map ", i);
    add_shape(out, m->out);
    if (m->out_layout != NONE) {
        str_addf(out, " @%u", m->out_layout);
    }
    str_add(out, "\n");
    for (uint32_t k = 0; k < m->num_terms; k++) {
        const struct lterm *t = &m->term[k];
        str_add(out, "  term ");
        add_shape(out, t->in);
        if (t->in_layout != NONE) {
            str_addf(out, " @%u", t->in_layout);
        }
        if (m->dft.first != 0) {
            str_addf(out, " dft first=%u last=%u inverse=%d\n", m->dft.first, m->dft.last,
                     m->dft.inverse);
            continue;
        }
        str_addf(out,
                 " weight=$%u to=%u from=%u groups=%u stride=[%u,%u] dilation=[%u,%u] up=[%u,%u] "
                 "pad=[%d,%d,%d,%d] wrap=%s\n",
                 t->weight, t->out_from, t->in_from, t->groups, t->stride[0], t->stride[1],
                 t->dilation[0], t->dilation[1], t->up[0], t->up[1], t->pad[0], t->pad[1],
                 t->pad[2], t->pad[3], wrap_name(t->wrap));
    }
}

static void print_nodes(const struct prog *p, const struct nodes *nodes, struct str *out)
{
    for (uint32_t i = 0; i < nodes->len; i++) {
        node_print(p, &nodes->at[i], i, out);
    }
}

void prog_print(const struct prog *p, struct str *out)
{
    str_addf(out, "weft-ir 1 stage=%s\n", stage_name(p->stage));
    print_model(p, out);
    print_params(p, out);
    print_nodes(p, &p->consts, out);
    for (uint32_t i = 0; i < p->num_layouts; i++) {
        print_layout(&p->layouts[i], i, out);
    }
    for (uint32_t i = 0; i < p->num_maps; i++) {
        print_map(&p->maps[i], i, out);
    }
    if (p->reference.len != 0) {
        str_add(out, "reference\n");
        print_nodes(p, &p->reference, out);
    }
    if (p->packed.len != 0) {
        str_add(out, "packed\n");
        print_nodes(p, &p->packed, out);
    }
    for (uint32_t f = 0; f < p->num_funcs; f++) {
        str_add(out, "function ");
        add_quoted(out, p->funcs[f].name);
        str_add(out, "\n");
        print_nodes(p, &p->funcs[f].nodes, out);
    }
    if (p->reference.len != 0 || p->packed.len != 0 || p->num_funcs != 0) {
        str_add(out, "program\n");
    }
    print_nodes(p, &p->nodes, out);
}
