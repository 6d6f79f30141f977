#include "client/traces/error.h"

#include <stdarg.h>
#include <stdio.h>

kvs_status sim_fail(struct sim_error *error, kvs_status status, const char *format, ...)
{
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(error->text, sizeof error->text, format, arguments);
  va_end(arguments);
  for (char *at = error->text; *at != '\0'; at++)
    if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
      *at = '?';
  return error->status = status;
}
