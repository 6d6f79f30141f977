/*
 * Any bytes as a configuration file: they are taken or refused with a message, and what is taken can be
 * dumped and loaded again to the same dump.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/config.h"

typedef struct settings {
  bool flag;
  uint64_t size;
  uint64_t wait;
  int64_t count;
  const char *name;
  const char *secret;
  int level;
  kvi_config_list items;
} settings;

static const char *const levels[] = {"low", "high", NULL};

static const kvi_config_row rows[] = {
    {.name = "flag", KVI_CONFIG_BOOL_AT(settings, flag), .standard = "no", .doc = "A flag."},
    {.name = "a.size",
     KVI_CONFIG_SIZE_AT(settings, size),
     .standard = "1MiB",
     .max = INT64_MAX,
     .doc = "A size."},
    {.name = "a.wait", KVI_CONFIG_DURATION_AT(settings, wait), .standard = "1s", .doc = "A duration."},
    {.name = "a.b.c.count", KVI_CONFIG_INT_AT(settings, count), .standard = "0", .doc = "A number."},
    {.name = "a.name", KVI_CONFIG_STRING_AT(settings, name), .doc = "Text."},
    {.name = "a.secret", KVI_CONFIG_STRING_AT(settings, secret), .secret = true, .doc = "A secret."},
    {.name = "a.level",
     KVI_CONFIG_ENUM_AT(settings, level),
     .standard = "low",
     .choices = levels,
     .doc = "A word."},
    {.name = "items", KVI_CONFIG_LIST_AT(settings, items), .doc = "A list."},
};

static const kvi_config_table table = {
    .program = "fuzzed",
    .version = "0",
    .summary = "s",
    .parts = {KVI_CONFIG_ROWS(rows)},
    .struct_size = sizeof(settings),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
  if (!holds)
    abort();
}

/* The same name and only line 1, so that the two dumps can be compared. */
static void strip_comments(char *dump)
{
  for (char *line = dump; *line != '\0';) {
    size_t length = strcspn(line, "\n");
    size_t end = length;

    while (end > 0 && strncmp(line + end, " # ", 3) != 0)
      end--;
    memset(line + end, ' ', length - end);
    line += length + (line[length] == '\n');
  }
}

static void load_again(const kvi_config *first)
{
  kvi_config *second = NULL;
  kvi_strbuf one, two;

  kvi_strbuf_init(&one, (size_t)8 * KVI_CONFIG_FILE_MAX);
  kvi_strbuf_init(&two, (size_t)8 * KVI_CONFIG_FILE_MAX);
  kvi_config_dump_text(first, &one);
  require(one.status == KVS_OK && kvi_config_create(&table, &second) == KVS_OK);
  if (one.length <= KVI_CONFIG_FILE_MAX) {
    require(kvi_config_load_yaml(second, "again", one.text, one.length) == KVS_OK);
    kvi_config_dump_text(second, &two);
    strip_comments(one.text);
    strip_comments(two.text);
    for (size_t i = 0, j = 0; one.text[i] != '\0' || two.text[j] != '\0'; i++, j++) {
      i += strspn(one.text + i, " ");
      j += strspn(two.text + j, " ");
      require(one.text[i] == two.text[j]);
      if (one.text[i] == '\0')
        break;
    }
  }
  kvi_strbuf_free(&one);
  kvi_strbuf_free(&two);
  kvi_config_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  kvi_config *config = NULL;
  kvs_status status;

  require(kvi_config_create(&table, &config) == KVS_OK);
  status = kvi_config_load_yaml(config, "fuzz", (const char *)data, size);
  if (status == KVS_OK)
    load_again(config);
  else
    require(status == KVS_ERR_CONFIG && kvi_config_error(config)[0] != '\0');
  kvi_config_free(config);
  return 0;
}
