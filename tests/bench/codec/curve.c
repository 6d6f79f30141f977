#include "tests/bench/codec/curve.h"

#include <math.h>
#include <stdlib.h>

void codec_curve_add(struct codec_curve *curve, double error, double bits)
{
  if (curve->n == CODEC_CURVE_MAX || !isfinite(error) || !isfinite(bits) || error <= 0 || bits <= 0)
    return;
  curve->points[curve->n++] = (struct codec_point){.error = error, .bits = bits};
}

static int compare(const void *a, const void *b)
{
  const struct codec_point *x = a;
  const struct codec_point *y = b;

  if (x->error != y->error)
    return x->error < y->error ? -1 : 1;
  return (x->bits > y->bits) - (x->bits < y->bits);
}

void codec_curve_settle(struct codec_curve *curve)
{
  size_t n = 0;

  qsort(curve->points, curve->n, sizeof curve->points[0], compare);
  for (size_t i = 0; i < curve->n; i++)
    if (n == 0 || curve->points[i].bits < curve->points[n - 1].bits)
      curve->points[n++] = curve->points[i];
  curve->n = n;
}

bool codec_curve_at(const struct codec_curve *curve, double error, double *bits_p)
{
  *bits_p = 0;
  for (size_t i = 0; i + 1 < curve->n; i++) {
    const struct codec_point *a = &curve->points[i];
    const struct codec_point *b = a + 1;
    double part;

    if (error < a->error || error > b->error)
      continue;
    part = (log(error) - log(a->error)) / (log(b->error) - log(a->error));
    *bits_p = a->bits + part * (b->bits - a->bits);
    return true;
  }
  return false;
}
