/* The feeds outside the file: the environment and the command line; and the order in which a program's start
 * uses all three. */
#include <stdlib.h>
#include <string.h>

#include "base/config_private.h"
#include "base/log.h"

#define ENV_PREFIX "KVASIR_"
#define ENV_FILE   "KVASIR_CONFIG"

/* --- environment --- */

/* True if the variable, whose name is so long, belongs to another program. */
static bool is_of_another(const kvi_config_table *table, const char *variable, size_t length)
{
  for (const char *const *name = table->others; name != NULL && *name != NULL; name++) {
    if (strncmp(*name, variable, length) == 0 && (*name)[length] == '\0')
      return true;
  }
  return false;
}

static kvs_status load_variable(kvi_config *config, const char *variable)
{
  const kvi_config_place place = {.source = KVI_CONFIG_FROM_ENV, .label = "environment"};
  const char *name = variable + strlen(ENV_PREFIX);
  const char *equals = strchr(name, '=');
  char written[KVI_CONFIG_NAME_MAX] = "";
  char near[KVI_CONFIG_NAME_MAX];

  if (equals == NULL || strncmp(variable, ENV_FILE "=", sizeof ENV_FILE) == 0 ||
      is_of_another(config->table, variable, (size_t)(equals - variable)))
    return KVS_OK;
  size_t length = (size_t)(equals - name);
  size_t row = kvi_config_find_loosely(config->table, name, length);
  if (row < kvi_config_row_count(config->table))
    return kvi_config_assign_text(config, row, equals + 1, &place);

  /* only a warning: programs we do not know of, and Kubernetes' service links, have variables of this prefix too */
  if (length < sizeof written)
    memcpy(written, name, length);
  if (written[0] != '\0' && kvi_config_suggest(config->table, written, near))
    kvi_log_warn("environment: %.*s is no setting of %s (did you mean %s?)", (int)(equals - variable),
                 variable, config->table->program, near);
  else
    kvi_log_warn("environment: %.*s is no setting of %s", (int)(equals - variable), variable,
                 config->table->program);
  return KVS_OK;
}

kvs_status kvi_config_load_env(kvi_config *config, char *const *environment)
{
  for (; environment != NULL && *environment != NULL; environment++) {
    if (strncmp(*environment, ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
      continue;
    kvs_status status = load_variable(config, *environment);
    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

/* --- command line --- */

static const kvi_config_place args_place = {.source = KVI_CONFIG_FROM_ARGS, .label = "command line"};

typedef struct args_feed {
  kvi_config *config;
  int argc;
  char *const *argv;
  int at;            /* of the option being read */
  const char *name;  /* without the dashes */
  size_t length;     /* of the name */
  const char *value; /* after '=', or NULL */
  kvi_config_action action;
  const char *file;
} args_feed;

static bool is_option(const args_feed *feed, const char *name)
{
  return feed->length == strlen(name) && strncmp(feed->name, name, feed->length) == 0;
}

static kvs_status fail_option(args_feed *feed, const char *reason)
{
  return kvi_config_fail(feed->config, &args_place, feed->argv[feed->at], "%s", reason);
}

/* The value after '=', or else the next argument. */
static kvs_status take_value(args_feed *feed)
{
  if (feed->value != NULL)
    return KVS_OK;
  if (feed->at + 1 >= feed->argc || feed->argv[feed->at + 1] == NULL)
    return fail_option(feed, "has no value");
  feed->value = feed->argv[++feed->at];
  return KVS_OK;
}

/* The options every program has. *taken_p tells whether this was one. */
static kvs_status read_common(args_feed *feed, bool *taken_p)
{
  *taken_p = true;
  if (is_option(feed, "config")) {
    kvs_status status = take_value(feed);

    feed->file = feed->value;
    return status;
  }
  if (is_option(feed, "print-docs")) {
    kvs_status status = take_value(feed);

    if (status != KVS_OK)
      return status;
    const char *format = feed->value != NULL ? feed->value : "";
    if (strcmp(format, "markdown") != 0 && strcmp(format, "man") != 0)
      return kvi_config_fail(feed->config, &args_place, "--print-docs", "expected markdown or man");
    feed->action = strcmp(format, "man") == 0 ? KVI_CONFIG_MAN : KVI_CONFIG_MARKDOWN;
    return KVS_OK;
  }
  if (is_option(feed, "dump-config")) {
    if (feed->value != NULL && strcmp(feed->value, "json") != 0 && strcmp(feed->value, "text") != 0)
      return kvi_config_fail(feed->config, &args_place, "--dump-config", "expected text or json");
    feed->action =
        feed->value != NULL && strcmp(feed->value, "json") == 0 ? KVI_CONFIG_DUMP_JSON : KVI_CONFIG_DUMP;
    return KVS_OK;
  }
  if (is_option(feed, "help"))
    feed->action = KVI_CONFIG_HELP;
  else if (is_option(feed, "version"))
    feed->action = KVI_CONFIG_VERSION;
  else if (is_option(feed, "check-config"))
    feed->action = KVI_CONFIG_CHECK;
  else
    *taken_p = false;
  if (*taken_p && feed->value != NULL)
    return fail_option(feed, "takes no value");
  return KVS_OK;
}

static kvs_status fail_unknown_option(args_feed *feed)
{
  char name[KVI_CONFIG_NAME_MAX] = "";

  if (feed->length >= sizeof name)
    return kvi_config_fail(feed->config, &args_place, NULL, "unknown option of more than %zu bytes",
                           sizeof name);
  memcpy(name, feed->name, feed->length);
  return kvi_config_fail_unknown(feed->config, &args_place, name, "option");
}

/* --name=value, --name value, --flag, --no-flag */
static kvs_status read_setting(args_feed *feed)
{
  const kvi_config_table *table = feed->config->table;
  size_t index = kvi_config_find_loosely(table, feed->name, feed->length);
  const kvi_config_row *row = kvi_config_row_at(table, index);
  kvs_status status;

  if (row == NULL && feed->length > 3 && strncmp(feed->name, "no-", 3) == 0) {
    index = kvi_config_find_loosely(table, feed->name + 3, feed->length - 3);
    row = kvi_config_row_at(table, index);
    if (row != NULL && row->type == KVI_CONFIG_BOOL)
      return feed->value != NULL ? fail_option(feed, "takes no value")
                                 : kvi_config_assign_text(feed->config, index, "false", &args_place);
    row = NULL;
  }
  if (row == NULL)
    return fail_unknown_option(feed);
  if (row->type == KVI_CONFIG_BOOL && feed->value == NULL)
    return kvi_config_assign_text(feed->config, index, "true", &args_place);
  status = take_value(feed);
  if (status != KVS_OK)
    return status;
  return kvi_config_assign_text(feed->config, index, feed->value, &args_place);
}

static kvs_status read_option(args_feed *feed)
{
  const char *arg = feed->argv[feed->at];
  bool taken = false;

  if (strcmp(arg, "-h") == 0) {
    feed->action = KVI_CONFIG_HELP;
    return KVS_OK;
  }
  if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0')
    return kvi_config_fail(feed->config, &args_place, NULL, "unexpected argument \"%.64s\"", arg);
  feed->name = arg + 2;
  feed->length = strcspn(feed->name, "=");
  feed->value = feed->name[feed->length] == '=' ? feed->name + feed->length + 1 : NULL;
  kvs_status status = read_common(feed, &taken);
  if (status != KVS_OK || taken)
    return status;
  return read_setting(feed);
}

kvs_status kvi_config_load_args(kvi_config *config, int argc, char *const *argv, kvi_config_action *action_p,
                                const char **file_p)
{
  args_feed feed = {.config = config, .argc = argc, .argv = argv, .action = KVI_CONFIG_RUN};

  *action_p = KVI_CONFIG_RUN;
  *file_p = NULL;
  for (feed.at = 1; feed.at < argc; feed.at++) {
    kvs_status status = read_option(&feed);

    if (status != KVS_OK)
      return status;
  }
  *action_p = feed.action;
  *file_p = feed.file;
  return KVS_OK;
}

/* --- all three --- */

static const char *file_of_environment(char *const *environment)
{
  for (; environment != NULL && *environment != NULL; environment++)
    if (strncmp(*environment, ENV_FILE "=", sizeof ENV_FILE) == 0)
      return *environment + sizeof ENV_FILE;
  return NULL;
}

static bool needs_values(kvi_config_action action)
{
  return action == KVI_CONFIG_RUN || action == KVI_CONFIG_CHECK || action == KVI_CONFIG_DUMP ||
         action == KVI_CONFIG_DUMP_JSON;
}

kvs_status kvi_config_load(kvi_config *config, int argc, char *const *argv, char *const *environment,
                           kvi_config_action *action_p)
{
  const char *file = NULL;
  kvs_status status = kvi_config_load_args(config, argc, argv, action_p, &file);

  if (status != KVS_OK || !needs_values(*action_p))
    return status;
  if (file == NULL)
    file = file_of_environment(environment);
  if (file != NULL && file[0] != '\0')
    status = kvi_config_load_file(config, file);
  if (status == KVS_OK)
    status = kvi_config_load_env(config, environment);
  return status;
}
