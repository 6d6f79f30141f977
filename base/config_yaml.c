/* The file feed: nested maps of YAML, read event by event with libyaml. Aliases, tags and second documents
 * are refused. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/config_private.h"

/* A section met so far; a second map of the same name is a duplicate. */
typedef struct section {
  struct section *next;
  char name[KVI_CONFIG_NAME_MAX];
} section;

typedef struct yaml_feed {
  kvi_config *config;
  yaml_parser_t parser;
  kvi_config_place place; /* of the event last read */
  char path[KVI_CONFIG_NAME_MAX];
  size_t path_length;
  size_t depth;
  bool *seen; /* of each row */
  section *sections;
} yaml_feed;

static kvs_status fail(yaml_feed *feed, const char *reason)
{
  return kvi_config_fail(feed->config, &feed->place, feed->path_length > 0 ? feed->path : NULL, "%s", reason);
}

/* On success the caller deletes *event. */
static kvs_status next_event(yaml_feed *feed, yaml_event_t *event)
{
  if (!yaml_parser_parse(&feed->parser, event)) {
    if (feed->parser.error == YAML_MEMORY_ERROR)
      return KVS_ERR_NOMEM;
    feed->place.line = feed->parser.problem_mark.line + 1;
    return kvi_config_fail(feed->config, &feed->place, NULL, "not valid YAML: %s%s%s",
                           feed->parser.context != NULL ? feed->parser.context : "",
                           feed->parser.context != NULL ? ", " : "",
                           feed->parser.problem != NULL ? feed->parser.problem : "no reason given");
  }
  feed->place.line = event->start_mark.line + 1;
  return KVS_OK;
}

static bool row_exists(const yaml_feed *feed)
{
  return kvi_config_find(feed->config->table, feed->path) < kvi_config_row_count(feed->config->table);
}

static bool section_exists(const yaml_feed *feed)
{
  const kvi_config_row *row;

  for (size_t i = 0; (row = kvi_config_row_at(feed->config->table, i)) != NULL; i++)
    if (strncmp(row->name, feed->path, feed->path_length) == 0 && row->name[feed->path_length] == '.')
      return true;
  return false;
}

/* Text of a scalar without tag or anchor; NULL with the reason left behind in *status_p. */
static const char *scalar_text(yaml_feed *feed, const yaml_event_t *event, kvs_status *status_p)
{
  const char *text = (const char *)event->data.scalar.value;
  bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

  *status_p = KVS_ERR_CONFIG;
  if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)
    fail(feed, "anchors and tags are not supported");
  else if (strlen(text) != event->data.scalar.length)
    fail(feed, "holds a NUL character");
  else if (event->data.scalar.length > KVI_CONFIG_VALUE_MAX)
    kvi_config_fail(feed->config, &feed->place, feed->path_length > 0 ? feed->path : NULL,
                    "longer than %u bytes", KVI_CONFIG_VALUE_MAX);
  else if (plain && (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0))
    fail(feed, "has no value");
  else {
    *status_p = KVS_OK;
    return text;
  }
  return NULL;
}

/* Marks the row at the path and gives its number. */
static kvs_status claim_row(yaml_feed *feed, size_t *row_p)
{
  size_t row = kvi_config_find(feed->config->table, feed->path);

  if (row == kvi_config_row_count(feed->config->table))
    return section_exists(feed) ? fail(feed, "is a section: it holds settings, not a value")
                                : kvi_config_fail_unknown(feed->config, &feed->place, feed->path, "key");
  if (feed->seen[row])
    return fail(feed, "duplicate key");
  feed->seen[row] = true;
  *row_p = row;
  return KVS_OK;
}

static kvs_status read_scalar(yaml_feed *feed, const yaml_event_t *event)
{
  size_t row = 0;
  kvs_status status = claim_row(feed, &row);
  const char *text;

  if (status != KVS_OK)
    return status;
  text = scalar_text(feed, event, &status);
  if (text == NULL)
    return status;
  if (kvi_config_row_at(feed->config->table, row)->type == KVI_CONFIG_LIST)
    return fail(feed, "expected a list such as [a, b]");
  return kvi_config_assign(feed->config, row, &text, 1, &feed->place);
}

/* Reads items up to the end of the sequence; each is a copy that the caller frees. */
static kvs_status read_items(yaml_feed *feed, char **items, size_t *count_p)
{
  for (;;) {
    yaml_event_t event;
    kvs_status status = next_event(feed, &event);
    const char *text;

    if (status != KVS_OK)
      return status;
    if (event.type == YAML_SEQUENCE_END_EVENT) {
      yaml_event_delete(&event);
      return KVS_OK;
    }
    if (event.type != YAML_SCALAR_EVENT) {
      status = fail(feed, "an item of the list is not plain text");
    } else if (*count_p == KVI_CONFIG_ITEMS_MAX) {
      status = fail(feed, "too many items");
    } else if ((text = scalar_text(feed, &event, &status)) != NULL) {
      items[*count_p] = strdup(text);
      if (items[*count_p] != NULL)
        ++*count_p;
      else
        status = KVS_ERR_NOMEM;
    }
    yaml_event_delete(&event);
    if (status != KVS_OK)
      return status;
  }
}

static kvs_status read_sequence(yaml_feed *feed, const yaml_event_t *event)
{
  kvi_config_place start = feed->place;
  size_t count = 0, row = 0;
  kvs_status status = claim_row(feed, &row);
  kvi_config_type type;
  char **items;

  if (status != KVS_OK)
    return status;
  if (event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL)
    return fail(feed, "anchors and tags are not supported");
  type = kvi_config_row_at(feed->config->table, row)->type;
  if (type != KVI_CONFIG_LIST)
    return kvi_config_fail(feed->config, &feed->place, feed->path, "expected a %s, found a list",
                           kvi_config_type_name(type));
  items = calloc(KVI_CONFIG_ITEMS_MAX, sizeof *items);
  if (items == NULL)
    return KVS_ERR_NOMEM;
  status = read_items(feed, items, &count);
  if (status == KVS_OK)
    status = kvi_config_assign(feed->config, row, (const char *const *)items, count, &start);
  for (size_t i = 0; i < count; i++)
    free(items[i]);
  free(items);
  return status;
}

static kvs_status claim_section(yaml_feed *feed)
{
  section *new;

  if (feed->depth >= KVI_CONFIG_DEPTH_MAX)
    return fail(feed, "nested too deep");
  if (!section_exists(feed))
    return row_exists(feed) ? fail(feed, "expected a value, found a map")
                            : kvi_config_fail_unknown(feed->config, &feed->place, feed->path, "section");
  for (section *s = feed->sections; s != NULL; s = s->next)
    if (strcmp(s->name, feed->path) == 0)
      return fail(feed, "duplicate key");
  new = calloc(1, sizeof *new);
  if (new == NULL)
    return KVS_ERR_NOMEM;
  memcpy(new->name, feed->path, feed->path_length + 1);
  new->next = feed->sections;
  feed->sections = new;
  return KVS_OK;
}

static kvs_status read_map(yaml_feed *feed, const yaml_event_t *start);

static kvs_status read_value(yaml_feed *feed)
{
  yaml_event_t event;
  size_t key_line = feed->place.line;
  kvs_status status = next_event(feed, &event);

  if (status != KVS_OK)
    return status;
  feed->place.line = key_line; /* a person looks for the key */
  switch (event.type) {
  case YAML_SCALAR_EVENT:
    status = read_scalar(feed, &event);
    break;
  case YAML_SEQUENCE_START_EVENT:
    status = read_sequence(feed, &event);
    break;
  case YAML_MAPPING_START_EVENT:
    status = claim_section(feed);
    if (status == KVS_OK)
      status = read_map(feed, &event);
    break;
  default:
    status = fail(feed, "anchors and aliases are not supported");
    break;
  }
  yaml_event_delete(&event);
  return status;
}

/* Adds ".key" to the path. */
static kvs_status enter_key(yaml_feed *feed, const yaml_event_t *event)
{
  kvs_status status;
  const char *key;

  if (event->type != YAML_SCALAR_EVENT)
    return fail(feed, "a key is not plain text");
  key = scalar_text(feed, event, &status);
  if (key == NULL)
    return status;
  size_t length = strlen(key), dot = feed->path_length > 0 ? 1 : 0;
  if (length + dot >= sizeof feed->path - feed->path_length)
    return fail(feed, "a key is too long");
  if (dot)
    feed->path[feed->path_length++] = '.';
  memcpy(feed->path + feed->path_length, key, length + 1);
  feed->path_length += length;
  return KVS_OK;
}

/* Recursion is bounded by claim_section(). */
static kvs_status read_map(yaml_feed *feed, const yaml_event_t *start)
{
  if (start->data.mapping_start.anchor != NULL || start->data.mapping_start.tag != NULL)
    return fail(feed, "anchors and tags are not supported");
  feed->depth++;
  for (;;) {
    size_t path_length = feed->path_length;
    yaml_event_t event;
    kvs_status status = next_event(feed, &event);

    if (status != KVS_OK)
      return status;
    bool end = event.type == YAML_MAPPING_END_EVENT;
    if (!end)
      status = enter_key(feed, &event);
    yaml_event_delete(&event);
    if (end || status != KVS_OK) {
      feed->depth--;
      return status;
    }
    status = read_value(feed);
    if (status != KVS_OK)
      return status;
    feed->path_length = path_length;
    feed->path[path_length] = '\0';
  }
}

/* The events around the one map of the one document. An empty file is an empty map. */
static kvs_status read_stream(yaml_feed *feed)
{
  for (size_t documents = 0;;) {
    yaml_event_t event;
    kvs_status status = next_event(feed, &event);

    if (status != KVS_OK)
      return status;
    yaml_event_type_t type = event.type;
    if (type == YAML_MAPPING_START_EVENT)
      status = read_map(feed, &event);
    else if (type == YAML_DOCUMENT_START_EVENT && documents++ > 0)
      status = fail(feed, "there is a second document");
    else if (type == YAML_SCALAR_EVENT && event.data.scalar.length == 0 && event.data.scalar.anchor == NULL)
      status = KVS_OK; /* "---" and nothing else */
    else if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT || type == YAML_ALIAS_EVENT)
      status = fail(feed, "expected a map of settings");
    yaml_event_delete(&event);
    if (status != KVS_OK || type == YAML_STREAM_END_EVENT)
      return status;
  }
}

kvs_status kvi_config_load_yaml(kvi_config *config, const char *name, const char *text, size_t length)
{
  yaml_feed feed = {.config = config, .place = {.source = KVI_CONFIG_FROM_FILE}};
  kvs_status status = KVS_ERR_NOMEM;

  feed.place.label = kvi_config_keep(config, name, strlen(name));
  feed.seen = calloc(kvi_config_row_count(config->table), sizeof *feed.seen);
  if (feed.place.label == NULL || feed.seen == NULL || !yaml_parser_initialize(&feed.parser))
    goto free_feed;
  if (length > KVI_CONFIG_FILE_MAX) {
    status = kvi_config_fail(config, &feed.place, NULL, "larger than %u bytes", KVI_CONFIG_FILE_MAX);
  } else {
    yaml_parser_set_input_string(&feed.parser, (const unsigned char *)(length > 0 ? text : ""), length);
    yaml_parser_set_encoding(&feed.parser, YAML_UTF8_ENCODING);
    status = read_stream(&feed);
  }
  yaml_parser_delete(&feed.parser);
free_feed:
  while (feed.sections != NULL) {
    section *next = feed.sections->next;

    free(feed.sections);
    feed.sections = next;
  }
  free(feed.seen);
  return status;
}

kvs_status kvi_config_load_file(kvi_config *config, const char *path)
{
  kvi_config_place place = {.source = KVI_CONFIG_FROM_FILE, .label = path};
  kvs_status status = KVS_ERR_NOMEM;
  char *text =
      malloc(KVI_CONFIG_FILE_MAX + 1); /* one byte more than allowed tells a file that is too large */
  FILE *file = NULL;

  if (text == NULL)
    return KVS_ERR_NOMEM;
  file = fopen(path, "re");
  if (file == NULL) {
    status = kvi_config_fail(config, &place, NULL, "cannot be opened: %s", strerror(errno));
    goto free_text;
  }
  size_t length = fread(text, 1, KVI_CONFIG_FILE_MAX + 1, file);
  if (ferror(file))
    status = kvi_config_fail(config, &place, NULL, "cannot be read: %s", strerror(errno));
  else
    status = kvi_config_load_yaml(config, path, text, length);
  fclose(file);
free_text:
  free(text);
  return status;
}
