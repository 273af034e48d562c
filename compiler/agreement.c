/* SPDX-License-Identifier: Apache-2.0 */
/* How often the noise of encryption changes the class that a network answers. */
#include "compiler.h"

#include <math.h>

#include "backends.h"

/*
 * Let d = v_top - v_j be what the clear answer is ahead of class j by. Noise adds the difference of
 * two errors, close to a Gaussian of deviation s_j, so that j overtakes with probability Q(d /
 * s_j), Q the upper tail. An answer changes when any class overtakes: at most the sum of these.
 *
 * s_j comes from few noisy images. Its square is the mean square of the difference of the errors of
 * the two classes on these images, but not less than the mean over all pairs of classes, so that no
 * pair looks better than it is by chance. A bias (a sine that bends) counts as it should, being
 * part of mean squares.
 *
 * Only images with z = d / s of a few units are in danger, one in thousands where things are well:
 * whether there is one among the images at hand is chance. But the density of z at 0 is what
 * decides, and it changes little over small z. So the k images of smallest z, k about the root of
 * their number, stand for all of [0, z_k], uniformly: the mean of Q over it is
 *
 *     (1 / z_k) integral_0^z_k Q(z) dz = Q(z_k) + (phi(0) - phi(z_k)) / z_k.
 */

static double upper_tail(double z)
{
    return erfc(z / sqrt(2)) / 2;
}

double agreement_mean_tail(double z)
{
    const double phi0 = 1 / sqrt(2 * acos(-1));
    if (z < 1e-4) {
        return 0.5 - z * phi0 / 2; /* (phi(0) - phi(z)) / z is z phi(0) / 2, without cancellation */
    }
    return upper_tail(z) + phi0 * -expm1(-z * z / 2) / z;
}

/* Mean square of the difference of the errors of two classes */
static double pair_square(const struct sim_trials *t, uint32_t i, uint32_t j)
{
    double sum = 0;
    for (uint32_t k = 0; k < t->trials; k++) {
        double d = (t->noisy[k][i] - t->clear[k][i]) - (t->noisy[k][j] - t->clear[k][j]);
        sum += d * d;
    }
    return sum / t->trials;
}

/* Of all pairs: with e the errors and n classes, (2 / (n - 1)) (sum e^2 - (sum e)^2 / n) */
static double mean_square(const struct sim_trials *t)
{
    double all = 0, n = t->outputs;
    for (uint32_t k = 0; k < t->trials; k++) {
        double sum = 0, squares = 0;
        for (uint32_t i = 0; i < t->outputs; i++) {
            double e = t->noisy[k][i] - t->clear[k][i];
            sum += e;
            squares += e * e;
        }
        all += 2 / (n - 1) * (squares - sum * sum / n);
    }
    return all / t->trials;
}

/* One image: its chance to change, and the z of the class that is most likely to overtake */
struct chance {
    double changed, z;
};

static struct chance chance_of(const struct sim_trials *t, const double *clear, double least)
{
    struct chance c = {0, INFINITY};
    uint32_t top = score_top(clear, t->outputs);
    for (uint32_t j = 0; j < t->outputs; j++) {
        double square = j == top ? 0 : fmax(pair_square(t, top, j), least);
        double ahead = clear[top] - clear[j];
        if (j == top) {
            continue;
        }
        double z = square > 0 ? ahead / sqrt(square) : INFINITY;
        c.changed += upper_tail(z);
        c.z = z < c.z ? z : c.z;
    }
    return c;
}

/* The k-th smallest z; k is small */
static double smallest(const struct chance *c, uint32_t len, uint32_t k)
{
    double z = -1;
    for (uint32_t found = 0; found < k;) {
        double next = INFINITY;
        uint32_t equal = 0;
        for (uint32_t i = 0; i < len; i++) {
            if (c[i].z > z && c[i].z < next) {
                next = c[i].z;
                equal = 0;
            }
            equal += c[i].z == next;
        }
        if (isinf(next)) {
            return next;
        }
        z = next;
        found += equal;
    }
    return z;
}

double agreement_changed(const struct sim_trials *t)
{
    if (t->outputs < 2 || t->count == 0 || t->trials == 0) {
        return t->count == 0 || t->trials == 0 ? NAN : 0;
    }
    double least = mean_square(t), changed = 0;
    if (!isfinite(least)) {
        return NAN;
    }
    struct arena *a = arena_new();
    struct chance *c = arena_array(a, t->count, sizeof *c);
    for (uint32_t i = 0; i < t->count; i++) {
        c[i] = chance_of(t, t->clear[i], least);
    }
    uint32_t k = (uint32_t)ceil(sqrt(t->count));
    double edge = smallest(c, t->count, k), mean = agreement_mean_tail(edge);
    for (uint32_t i = 0; i < t->count; i++) {
        bool near = c[i].z <= edge && !isinf(edge);
        double one = near ? c[i].changed - upper_tail(c[i].z) + mean : c[i].changed;
        changed += one < 1 ? one : 1;
    }
    arena_free(a);
    return changed / t->count;
}
