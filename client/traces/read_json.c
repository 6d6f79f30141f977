#include "client/traces/read_json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/traces/read.h"

#define ID_MAX (UINT64_C(1) << 53) /* doubles, which JSON's numbers are here, are exact below */

kvs_status sim_fail_at(const struct sim_place *place, struct sim_error *error)
{
  struct sim_error plain = *error;

  return sim_fail(error, plain.status, "%s:%zu: %.200s", place->name, place->line, plain.text);
}

static kvs_status take_line(const char *line, size_t length, sim_take_line take, void *own,
                            struct sim_error *error)
{
  cJSON *object;
  kvs_status status;

  if (length > SIM_LINE_MAX)
    return sim_fail(error, KVS_ERR_TOO_LARGE, "a line of more than %u bytes", SIM_LINE_MAX);
  object = cJSON_ParseWithLength(line, length);
  if (!cJSON_IsObject(object))
    status = sim_fail(error, KVS_ERR_INVALID, "not a JSON object");
  else
    status = take(own, object, error);
  cJSON_Delete(object);
  return status;
}

static bool is_blank(const char *line, size_t length)
{
  for (size_t i = 0; i < length; i++)
    if (strchr(" \t\r", line[i]) == NULL || line[i] == '\0')
      return false;
  return true;
}

kvs_status sim_json_lines(const char *name, const char *text, size_t length, sim_take_line take, void *own,
                          struct sim_error *error)
{
  struct sim_place place = {.name = name};
  size_t at = 0;

  while (at < length) {
    const char *end = memchr(text + at, '\n', length - at);
    size_t n = end != NULL ? (size_t)(end - text) - at : length - at;

    place.line++;
    if (!is_blank(text + at, n) && take_line(text + at, n, take, own, error) != KVS_OK)
      return sim_fail_at(&place, error);
    at += n + 1;
  }
  return KVS_OK;
}

kvs_status sim_json_optional(const cJSON *object, const char *field, double most, double otherwise,
                             double *value_p, struct sim_error *error)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);

  *value_p = otherwise;
  if (item == NULL || cJSON_IsNull(item))
    return KVS_OK;
  /* Written so that what is no number fails it too. */
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= most))
    return sim_fail(error, KVS_ERR_INVALID, "\"%s\" is not a number from 0 to %.0f", field, most);
  *value_p = item->valuedouble;
  return KVS_OK;
}

kvs_status sim_json_number(const cJSON *object, const char *field, double most, double *value_p,
                           struct sim_error *error)
{
  kvs_status status = sim_json_optional(object, field, most, -1, value_p, error);

  if (status == KVS_OK && *value_p < 0)
    return sim_fail(error, KVS_ERR_INVALID, "\"%s\" is missing", field);
  return status;
}

kvs_status sim_json_whole(const cJSON *object, const char *field, uint64_t most, uint64_t *value_p,
                          struct sim_error *error)
{
  double value;
  kvs_status status = sim_json_number(object, field, (double)most, &value, error);

  *value_p = 0;
  if (status != KVS_OK)
    return status;
  if (floor(value) != value)
    return sim_fail(error, KVS_ERR_INVALID, "\"%s\" is not a whole number", field);
  *value_p = (uint64_t)value;
  return KVS_OK;
}

kvs_status sim_json_ids(const cJSON *object, const char *field, struct sim_ids *ids, struct sim_error *error)
{
  const cJSON *array = cJSON_GetObjectItemCaseSensitive(object, field);
  const cJSON *item;

  ids->n = 0;
  if (!cJSON_IsArray(array))
    return sim_fail(error, KVS_ERR_INVALID, "\"%s\" is not an array", field);
  cJSON_ArrayForEach(item, array)
  {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < (double)ID_MAX) ||
        floor(item->valuedouble) != item->valuedouble)
      return sim_fail(error, KVS_ERR_INVALID, "\"%s\" has what is not a whole number from 0 to 2^53", field);
    if (ids->n == ids->room) {
      size_t room = ids->room ? 2 * ids->room : 1024;
      uint64_t *more = realloc(ids->ids, room * sizeof *more);

      if (!more)
        return sim_fail(error, KVS_ERR_NOMEM, "no memory for %zu block ids", room);
      ids->ids = more;
      ids->room = room;
    }
    ids->ids[ids->n++] = (uint64_t)item->valuedouble;
  }
  return KVS_OK;
}

void sim_ids_free(struct sim_ids *ids)
{
  free(ids->ids);
  *ids = (struct sim_ids){0};
}
