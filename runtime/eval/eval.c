/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/eval.h"

#include <math.h>
#include <string.h>

/* ---- life cycle --------------------------------------------------------------------------- */

static enum rt_status check_program(const struct rt_program *p, struct rt_error *err)
{
    const struct rt_interface *model = p->interface;
    for (uint32_t i = 0; i < model->input.num_ct + model->output.num_ct; i++) {
        uint32_t reg =
            i < model->input.num_ct ? p->input_regs[i] : p->output_regs[i - model->input.num_ct];
        bool unread = i < model->input.num_ct && reg == UINT32_MAX;
        if (reg >= p->num_regs && !unread) {
            return core_fail(err, RT_ERR_ARGUMENT, "%s: there is no register %u", model->name, reg);
        }
    }
    return RT_OK;
}

static enum rt_status make_registers(rt_eval *e, struct rt_error *err)
{
    const struct rt_program *p = e->program;
    const char *name = p->interface->name;
    uint64_t total = 0;
    for (uint32_t i = 0; i < p->num_regs; i++) {
        uint64_t words = p->reg_words[i];
        if (words > (UINT64_MAX >> 8) - total) {
            return core_fail(err, RT_ERR_ARGUMENT, "%s: register %u is too large", name, i);
        }
        total += ((words + 7) & ~UINT64_C(7)) + EVAL_LINE_WORDS; /* as plaintexts: data.c */
    }
    e->regs = sys_alloc_array((size_t)p->num_regs + 1, sizeof *e->regs);
    e->reg_memory = sys_alloc_array((size_t)total + 1, sizeof *e->reg_memory);
    if (e->regs == NULL || e->reg_memory == NULL) {
        return core_fail(err, RT_ERR_MEMORY, "%s: out of memory: registers need %llu MiB", name,
                         (unsigned long long)(total >> 17));
    }
    e->reg_words = total;
    uint64_t at = 0;
    for (uint32_t i = 0; i < p->num_regs; i++) {
        e->regs[i].at = e->reg_memory + at;
        e->regs[i].capacity = p->reg_words[i];
        at += ((p->reg_words[i] + 7) & ~UINT64_C(7)) + EVAL_LINE_WORDS;
    }
    return RT_OK;
}

static enum rt_status make_scratch(rt_eval *e, struct rt_error *err)
{
    const struct ring *r = e->ctx->ring;
    struct ring_basis all = {r->n_q - 1, r->n_p};
    e->slices = (unsigned)sys_threads();
    size_t down = ring_mod_down_parts_scratch_words(r, all, 1, r->n_q - 1, e->slices);
    size_t up = ring_decompose_scratch_words(r, all.level, e->ctx->alpha, e->slices);
    e->scratch_words = down > up ? down : up;
    e->scratch = sys_alloc_array(e->scratch_words, sizeof *e->scratch);
    size_t limbs = 2 * ring_limbs(all);
    e->poly = sys_alloc_array(limbs < 6 ? 6 : limbs, r->n * sizeof *e->poly);
    e->tiles = sys_alloc_array(e->slices, EVAL_TILE_ROOM * sizeof *e->tiles);
    if (e->scratch == NULL || e->poly == NULL || e->tiles == NULL) {
        return core_no_memory(err, e->program->interface->name);
    }
    ring_p_residues(r, e->p_mod_q, all);
    for (unsigned i = 0; i < r->n_q; i++) {
        e->p_shoup[i] = mod_shoup(e->p_mod_q[i], r->ntt[i].mod.q);
    }
    return RT_OK;
}

/* What an image would otherwise find as pages that are still to be cleared. */
static void touch_memory(rt_eval *e)
{
    sys_touch(e->reg_memory, e->reg_words * sizeof *e->reg_memory);
    sys_touch(e->limb_memory, e->limb_words * sizeof *e->limb_memory);
    sys_touch(e->scratch, e->scratch_words * sizeof *e->scratch);
    sys_touch(e->tiles, e->slices * EVAL_TILE_ROOM * sizeof *e->tiles);
}

static void use_threads(const rt_eval *e)
{
    if (e->threads > 0) {
        sys_set_threads(e->threads);
    }
}

/* The program itself with its libraries; and what its caller may have beside: pictures, the model's data.
 * The compiler predicts with the same numbers: ir/memory.c. */
#define PROGRAM_BYTES ((uint64_t)14 << 20)
#define CALLER_BYTES  ((uint64_t)16 << 20)

/* Of the limbs in work, what can be touched: each plaintext is there once. */
static uint64_t limb_words(const rt_eval *e)
{
    uint64_t words = 0;
    for (uint64_t i = 0; i < e->num_plains && words < EVAL_LIMB_WORDS; i++) {
        words += UINT64_C(1) << e->plains[i].log_m;
    }
    return words < EVAL_LIMB_WORDS ? words : EVAL_LIMB_WORDS;
}

static uint64_t other_bytes(const rt_eval *e)
{
    const struct ring *r = e->ctx->ring;
    /* a table of a prime: w, ws and tail (kernel.h) */
    uint64_t tables = ((uint64_t)r->n_q + r->n_p) * r->n * 22;
    uint64_t limbs = 2 * ((uint64_t)r->n_q + r->n_p);
    uint64_t work = e->scratch_words + limbs * r->n + e->slices * EVAL_TILE_ROOM + limb_words(e) +
                    e->slices * 4 * r->n;
    return tables + work * sizeof(uint64_t) + PROGRAM_BYTES;
}

static uint64_t key_bytes(const rt_eval *e)
{
    return e->key_file.size + e->key_words * sizeof(uint64_t);
}

static uint64_t plain_bytes(const rt_eval *e)
{
    return (e->coefficient_words + e->plain_words) * sizeof(uint64_t);
}

/* Chooses what is kept. Halves of keys come first: one is used several times in an image and costs
 * more to make, byte for byte, than limbs of plaintexts. */
static enum rt_status divide_memory(rt_eval *e, struct rt_error *err)
{
    const double mib = 1.0 / (1 << 20);
    uint64_t usual = e->program->interface->max_memory;
    uint64_t limit = e->max_memory != 0 ? e->max_memory : usual != 0 ? usual : RT_DEFAULT_MEMORY;
    uint64_t registers = e->reg_words * sizeof(uint64_t);
    uint64_t least = key_bytes(e) + plain_bytes(e) + registers + other_bytes(e);
    if (e->max_memory != 0 && least > limit) {
        return core_fail(err, RT_ERR_MEMORY,
                         "%s: needs at least %.0f MiB of memory, %.0f MiB are allowed (keys %.0f, "
                         "plaintexts %.0f, buffers %.0f, other %.0f MiB)",
                         e->program->interface->name, ceil((double)least * mib),
                         (double)limit * mib, (double)key_bytes(e) * mib,
                         (double)plain_bytes(e) * mib, (double)registers * mib,
                         (double)other_bytes(e) * mib);
    }
    uint64_t taken = least + CALLER_BYTES;
    uint64_t words = taken < limit && !e->once ? (limit - taken) / sizeof(uint64_t) : 0;
    e->key_words = rt_eval_keep_keys(e, words);
    e->plain_words = rt_eval_keep_plains(e, words - e->key_words);
    return RT_OK;
}

enum rt_status rt_eval_open(rt_eval **out, const struct rt_program *program, const char *data_path,
                            const char *keys_path, int threads, struct rt_error *err)
{
    return rt_eval_open_with(out, program, data_path, keys_path,
                             &(struct rt_options){.threads = threads}, err);
}

enum rt_status rt_eval_open_with(rt_eval **out, const struct rt_program *program,
                                 const char *data_path, const char *keys_path,
                                 const struct rt_options *options, struct rt_error *err)
{
    *out = NULL;
    if (!sys_random_init()) { /* also what expands seeds */
        return core_fail(err, RT_ERR_RANDOM, "%s: no system randomness", program->interface->name);
    }
    rt_eval *e = sys_alloc(sizeof *e);
    if (e == NULL) {
        return core_no_memory(err, program->interface->name);
    }
    e->program = program;
    e->threads = options->threads;
    e->max_memory = options->max_memory;
    e->once = options->once;
    use_threads(e);
    enum rt_status status = core_ctx_open(&e->ctx, program->interface, err);
    if (status == RT_OK) {
        status = check_program(program, err);
    }
    if (status == RT_OK) {
        status = make_scratch(e, err);
    }
    if (status == RT_OK) {
        status = rt_eval_load_data(e, data_path, err);
    }
    if (status == RT_OK) {
        status = rt_eval_load_keys(e, keys_path, err);
    }
    if (status == RT_OK) {
        status = make_registers(e, err);
    }
    if (status == RT_OK) {
        status = divide_memory(e, err);
    }
    if (status == RT_OK) {
        status = rt_eval_expand_keys(e, err);
    }
    if (status == RT_OK) {
        status = rt_eval_expand_plains(e, err);
    }
    if (status == RT_OK) {
        touch_memory(e);
    }
    if (status != RT_OK) {
        rt_eval_close(e);
        return status;
    }
    *out = e;
    return RT_OK;
}

void rt_eval_close(rt_eval *e)
{
    if (e == NULL) {
        return;
    }
    sys_free(e->regs);
    sys_free(e->reg_memory);
    sys_free(e->plains);
    sys_free(e->plain_memory);
    rt_eval_forget_coefficients(e);
    sys_free(e->limb_memory);
    sys_free(e->limb_plains);
    sys_free(e->keys);
    sys_free(e->key_memory);
    sys_free(e->expanded);
    core_file_close(&e->key_file);
    sys_free(e->scratch);
    sys_free(e->poly);
    sys_free(e->tiles);
    core_ctx_close(e->ctx);
    sys_free(e);
}

struct rt_memory rt_eval_memory(const rt_eval *e)
{
    struct rt_memory m;
    m.key_bytes = key_bytes(e);
    m.plaintext_bytes = plain_bytes(e);
    m.register_bytes = e->reg_words * sizeof(uint64_t);
    m.other_bytes = other_bytes(e);
    uint64_t keys = rt_eval_key_words(e), plains = rt_eval_plain_words(e);
    m.kept_keys = keys != 0 ? (double)e->key_words / (double)keys : 1;
    m.kept_plaintexts = plains != 0 ? (double)e->plain_words / (double)plains : 1;
    return m;
}

uint64_t rt_eval_key_id(const rt_eval *e)
{
    return e->key_id;
}

void rt_eval_watch(rt_eval *e, rt_check_hook *hook, void *ctx)
{
    e->watch = hook;
    e->watch_ctx = ctx;
}

void rt_check(rt_eval *e, uint32_t reg, uint32_t point)
{
    const struct eval_reg *g =
        e->watch != NULL ? rt_eval_in(e, "rt_check", reg, 1u << EVAL_CT) : NULL;
    if (g == NULL) {
        return;
    }
    const struct rt_view v = {
        {g->at, g->at + rt_eval_part_words(e, EVAL_CT, g->level)}, g->level, g->scale};
    if (!e->watch(e->watch_ctx, point, &v)) {
        rt_eval_mistake(e, "rt_check", "wrong");
    }
}

/* ---- one inference -------------------------------------------------------------------------- */

static enum rt_status load_input(rt_eval *e, const char *path, struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    const struct core_ct_spec spec = {model->input.num_ct, model->input_level, model->input_scale};
    struct core_ct_file f;
    enum rt_status status =
        core_ct_open(&f, path, e->ctx, model->model_hash, rt_eval_key_id(e), &spec, err);
    if (status != RT_OK) {
        return status;
    }
    for (uint32_t i = 0; status == RT_OK && i < spec.num_ct; i++) {
        if (e->program->input_regs[i] == UINT32_MAX) {
            continue;
        }
        struct eval_reg *g =
            rt_eval_out(e, "input", e->program->input_regs[i], EVAL_CT, spec.level);
        if (g == NULL) {
            status = core_fail(err, e->error.status, "%s", e->error.text);
        } else {
            status = core_ct_read(&f, i, g->at, err);
            eval_set(g, EVAL_CT, spec.level, spec.scale);
        }
    }
    core_ct_close(&f);
    return status;
}

static void run_layers(rt_eval *e, rt_progress *progress, void *ctx)
{
    const struct rt_program *p = e->program;
    double total = 0;
    for (uint32_t i = 0; i < p->num_layers; i++) {
        total += p->layers[i].predicted_ns;
    }
    double done = 0;
    for (uint32_t i = 0; i < p->num_layers && e->error.status == RT_OK; i++) {
        e->layer = &p->layers[i];
        if (progress != NULL) {
            progress(ctx, e->layer, total > 0 ? done / total : (double)i / p->num_layers);
        }
        e->layer->run(e);
        done += e->layer->predicted_ns;
    }
    e->layer = NULL;
}

/* The result must be what the interface promises to the client. */
static bool check_output(rt_eval *e)
{
    const struct rt_interface *model = e->program->interface;
    for (uint32_t i = 0; i < model->output.num_ct; i++) {
        const struct eval_reg *g =
            rt_eval_in(e, "output", e->program->output_regs[i], 1u << EVAL_CT);
        if (g == NULL) {
            return false;
        }
        if (g->level != model->output_level || !core_same_scale(model->output_scale, g->scale)) {
            rt_eval_mistake(e, "output", "level %d and scale %.17g, expected %d and %.17g",
                            g->level, g->scale, model->output_level, model->output_scale);
            return false;
        }
    }
    return true;
}

static enum rt_status write_output(rt_eval *e, const char *path, struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    const struct core_ct_spec spec = {model->output.num_ct, model->output_level,
                                      model->output_scale};
    struct core_writer *w;
    enum rt_status status =
        core_ct_create(&w, path, e->ctx, model->model_hash, rt_eval_key_id(e), &spec, false, err);
    if (status != RT_OK) {
        return status;
    }
    for (uint32_t i = 0; status == RT_OK && i < spec.num_ct; i++) {
        const struct eval_reg *g = &e->regs[e->program->output_regs[i]];
        const uint64_t *const part[2] = {g->at, g->at + rt_eval_part_words(e, EVAL_CT, spec.level)};
        status = core_ct_put(w, e->ctx, &spec, NULL, part, err);
    }
    if (status != RT_OK) {
        core_writer_abandon(w);
        return status;
    }
    return core_writer_commit(w, err);
}

enum rt_status rt_infer(rt_eval *e, const char *ct_in, const char *ct_out, rt_progress *progress,
                        void *ctx, struct rt_error *err)
{
    use_threads(e);
    memset(&e->error, 0, sizeof e->error);
    for (uint32_t i = 0; i < e->program->num_regs; i++) {
        e->regs[i].kind = EVAL_EMPTY;
    }
    enum rt_status status = load_input(e, ct_in, err);
    if (status != RT_OK) {
        return status;
    }
    run_layers(e, progress, ctx);
    if (e->error.status != RT_OK || !check_output(e)) {
        return core_fail(err, e->error.status, "%s", e->error.text);
    }
    return write_output(e, ct_out, err);
}
