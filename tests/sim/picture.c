#include "tests/sim/picture.h"

#include <stdbool.h>

static kvs_status write_picture(const char *path, void (*draw)(const void *what, FILE *out), const void *what,
                                struct sim_error *error)
{
  FILE *file = fopen(path, "we");
  bool failed;

  if (file == NULL)
    return sim_fail(error, KVS_ERR_SYSTEM, "%s: cannot be written", path);
  draw(what, file);
  failed = ferror(file) != 0;
  if (fclose(file) != 0 || failed)
    return sim_fail(error, KVS_ERR_SYSTEM, "%s: was not written whole", path);
  return KVS_OK;
}

kvs_status sim_picture_end(const char *path, void (*draw)(const void *what, FILE *out), const void *what,
                           struct sim_error *error)
{
  if (path != NULL)
    write_picture(path, draw, what, error);
  if (fflush(stdout) != 0)
    sim_fail(error, KVS_ERR_SYSTEM, "the results were not written");
  return error->status;
}
