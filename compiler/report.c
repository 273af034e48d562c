/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <inttypes.h>

#include "passes.h"

const char *bytes_text(struct arena *a, uint64_t n)
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)n;
    size_t u = 0;
    for (; x >= 1024 && u + 1 < sizeof unit / sizeof *unit; u++) {
        x /= 1024;
    }
    return u == 0 ? arena_printf(a, "%" PRIu64 " bytes", n)
                  : arena_printf(a, "%.1f %s", x, unit[u]);
}

void report_plan(FILE *to, const struct prog *p)
{
    struct prog_stats s = prog_stats(p);
    struct arena *a = p->arena;
    const struct model *m = &p->model;
    fprintf(to, "model       %s: %ux%ux%u -> %u values, %u layers\n", m->name,
            (unsigned)m->input[0], (unsigned)m->input[1], (unsigned)m->input[2],
            (unsigned)m->num_outputs, (unsigned)s.layers);
    fprintf(to, "ring        N = 2^%u, log2(QP) = %.1f: ", (unsigned)p->params.log_n, s.log2_qp);
    if (p->params.insecure) {
        fprintf(to, "INSECURE toy parameters\n");
    } else {
        fprintf(to, "%.0f-bit security (at most %.0f)\n", p->params.lambda_bits,
                params_max_log2_qp(p->params.log_n));
    }
    struct boot_summary boot = boot_summary(p);
    if (boot.bootstraps) {
        fprintf(to, "bootstraps  %u, to level %u; one fails with probability 2^%.0f\n",
                (unsigned)boot.bootstraps, (unsigned)p->params.boot_level, boot.log2_failure);
        fprintf(to, "secrets     dense: as above; of weight %u for raising: log2(q_0 p_0) = %.1f: ",
                (unsigned)p->params.sparse_weight, boot.sparse_bits);
        if (p->params.insecure) {
            fprintf(to, "INSECURE\n");
        } else {
            fprintf(to, "%.0f-bit security (at most %.0f)\n", p->params.lambda_bits,
                    boot.most_sparse_bits);
        }
    }
    fprintf(to, "levels      %u used, %u primes + %u for key switching\n", (unsigned)s.depth,
            (unsigned)p->params.num_q, (unsigned)p->params.num_p);
    report_precision(to, p);
    fprintf(to,
            "work        %u rotations, %u key switches, %u decompositions, %u plaintext products\n",
            (unsigned)s.rotations, (unsigned)s.key_switches, (unsigned)s.decompositions,
            (unsigned)s.pt_products);
    fprintf(to, "keys        %u, %s on disk\n", (unsigned)s.keys, bytes_text(a, s.key_bytes));
    fprintf(to, "ciphertext  %s in, %s out\n", bytes_text(a, s.ciphertext_bytes_in),
            bytes_text(a, s.ciphertext_bytes_out));
    struct prog_memory mem = prog_memory(p);
    fprintf(to, "memory      %s for one image: keys %s, plaintexts %s, buffers %s, other %s\n",
            bytes_text(a, mem.least), bytes_text(a, mem.keys), bytes_text(a, mem.plaintexts),
            bytes_text(a, mem.registers), bytes_text(a, mem.other));
    fprintf(to,
            "            %s for several (--max-memory %s), %s if all that is computed is kept\n",
            bytes_text(a, mem.usual), bytes_text(a, mem.budget), bytes_text(a, mem.all));
    struct node_ns ns = cost_prog_times(p);
    fprintf(
        to,
        "time        %.3f s for one image, %.3f s for each of several predicted, on one thread\n",
        cost_once(ns) * 1e-9, cost_served(ns, &mem) * 1e-9);
}

void memory_check(const struct prog *p)
{
    struct prog_memory m = prog_memory(p);
    struct arena *a = p->arena;
    const uint64_t mib = (uint64_t)1 << 20;
    if (p->max_memory && m.least > p->max_memory) {
        diag_fatal(NO_LOC,
                   "--max-memory: the program needs at least %" PRIu64
                   "M with one thread (keys %s, plaintexts %s, buffers %s, "
                   "other %s), not %s",
                   (m.least + mib - 1) / mib, bytes_text(a, m.keys), bytes_text(a, m.plaintexts),
                   bytes_text(a, m.registers), bytes_text(a, m.other),
                   bytes_text(a, p->max_memory));
    }
}

void report_build(FILE *to, const struct prog *p, const struct cli *c, double seconds)
{
    struct arena *a = p->arena;
    report_plan(to, p);
    if (p->error_bound > 0) {
        fprintf(to, "error       at most %.2g in a result predicted\n", p->error_bound);
    } else {
        fprintf(to, "error       unknown: random pictures leave the range of the polynomials; give "
                    "--images\n");
    }
    fprintf(to, "compiled    in %.1f s: %s\n", seconds,
            c->emit == EMIT_C ? c->output
                              : arena_printf(a, "%s, %s-client, %s-server, %s.dat", c->output,
                                             c->output, c->output, c->output));
}
