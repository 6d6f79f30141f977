#include "connector/llamacpp/logits_file.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

bool kvi_llama_logits_write(const char *path, const float *logits, size_t n)
{
  FILE *file = fopen(path, "wb");
  if (file == NULL)
    return false;
  const bool written = fwrite(logits, sizeof(*logits), n, file) == n;
  return fclose(file) == 0 && written;
}

static double largest_difference(const float *a, const float *b, size_t n)
{
  double largest = 0;
  for (size_t i = 0; i < n; i++) {
    const double difference = fabs((double)a[i] - (double)b[i]);
    if (isnan(difference))
      return INFINITY;
    largest = difference > largest ? difference : largest;
  }
  return largest;
}

bool kvi_llama_logits_compare(const char *path, const float *logits, size_t n, double *difference_p)
{
  float *expected = malloc((n + 1) * sizeof(*expected));
  FILE *file = fopen(path, "rb");
  const size_t found = file != NULL && expected != NULL ? fread(expected, sizeof(*expected), n + 1, file) : 0;
  const bool fits = found == n;
  if (fits)
    *difference_p = largest_difference(expected, logits, n);
  else if (file != NULL)
    errno = EINVAL;
  if (file != NULL)
    fclose(file);
  free(expected);
  return fits;
}
