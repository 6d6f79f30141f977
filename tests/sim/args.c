#include "tests/sim/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024u

bool sim_args_number(const char *text, double least, double most, double *value_p, const char **rest_p)
{
  char *end;

  errno = 0;
  *value_p = strtod(text, &end);
  *rest_p = end;
  return end != text && errno == 0 && isfinite(*value_p) && *value_p >= least && *value_p <= most;
}

bool sim_args_plain(const char *text, double least, double most, double *value_p)
{
  const char *rest;

  return sim_args_number(text, least, most, value_p, &rest) && *rest == '\0';
}

bool sim_args_whole(const char *text, double least, double most, uint64_t *value_p)
{
  double value;

  if (!sim_args_plain(text, least, most, &value) || floor(value) != value)
    return false;
  *value_p = (uint64_t)value;
  return true;
}

bool sim_args_list(const char *text, bool (*take_one)(void *own, const char *part), void *own)
{
  char copy[TEXT_MAX], *rest = copy, *one;

  if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy)
    return false;
  while ((one = strsep(&rest, ",")) != NULL)
    if (!take_one(own, one))
      return false;
  return true;
}

bool sim_args_name(const char *text, const char *const *names, size_t n, size_t *number_p)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp(text, names[i]) == 0) {
      *number_p = i;
      return true;
    }
  return false;
}

bool sim_args_picture(const char *text)
{
  size_t length = strlen(text);

  return length > 4 && strcmp(text + length - 4, ".svg") == 0;
}
