/* client/cli/options.c: option tables: parsed by getopt_long, printed as help. */
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "client/cli/cli.h"

#define OPTIONS_MAX 32

const char *cli_word(const struct cli_command *command)
{
  const char *blank = strrchr(command->name, ' ');

  return blank != NULL ? blank + 1 : command->name;
}

static const struct cli_option *common_options(const struct cli_command *command)
{
  return command != NULL && command->local ? cli_local_options : cli_common_options;
}

/* The tables of a command as getopt_long wants them. */
struct parser {
  struct option longs[OPTIONS_MAX + 2];
  const struct cli_option *rows[OPTIONS_MAX];
  char shorts[3 * OPTIONS_MAX + 8];
  size_t n;
};

static void add_rows(struct parser *parser, const struct cli_option *options)
{
  size_t end = strlen(parser->shorts);

  for (; options != NULL && options->name != NULL && parser->n < OPTIONS_MAX; options++) {
    parser->longs[parser->n] =
        (struct option){.name = options->name,
                        .has_arg = options->value != NULL ? required_argument : no_argument,
                        .val = 256 + (int)parser->n};
    parser->rows[parser->n++] = options;
    if (options->letter != 0) {
      parser->shorts[end++] = options->letter;
      if (options->value != NULL)
        parser->shorts[end++] = ':';
    }
  }
  parser->shorts[end] = '\0';
}

static kvs_status set_option(const struct cli_option *option, const char *text)
{
  int64_t number;
  kvs_status status;

  switch (option->kind) {
  case CLI_FLAG:
    *(bool *)option->target = true;
    return KVS_OK;
  case CLI_TEXT:
    *(const char **)option->target = text;
    return KVS_OK;
  case CLI_SIZE:
    return kvi_parse_size(text, option->target);
  case CLI_DURATION:
    return kvi_parse_duration(text, option->target);
  case CLI_NUMBER:
    status = kvi_parse_int(text, &number);
    if (status != KVS_OK || number < 0)
      return KVS_ERR_INVALID;
    *(uint64_t *)option->target = (uint64_t)number;
    return KVS_OK;
  }
  return KVS_ERR_INVALID;
}

static const struct cli_option *find_row(const struct parser *parser, int value)
{
  for (size_t i = 0; i < parser->n; i++) {
    if (value == 256 + (int)i || (value < 256 && value == parser->rows[i]->letter))
      return parser->rows[i];
  }
  return NULL;
}

int cli_parse(const struct cli_command *command, int argc, char **argv, bool *help_p, int *first_p)
{
  /* '+' stops at the first argument: what follows the command's name is the command's. ':' lets us tell what is missing. */
  struct parser parser = {.shorts = "+:h"};
  int value;

  *help_p = false;
  if (command != NULL && command->commands == NULL) {
    parser.shorts[0] = ':'; /* a command's options may stand between its arguments */
    memmove(parser.shorts + 1, parser.shorts + 2, 2);
    add_rows(&parser, command->options);
  }
  add_rows(&parser, common_options(command));
  parser.longs[parser.n] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
  optind = 0; /* glibc: start anew, with this string's first character */
  while ((value = getopt_long(argc, argv, parser.shorts, parser.longs, NULL)) != -1) {
    const struct cli_option *row = find_row(&parser, value);

    if (value == 'h')
      *help_p = true;
    else if (value == ':')
      return cli_usage(command, "option '%s' needs a value", argv[optind - 1]);
    else if (row == NULL)
      return cli_usage(command, "there is no option '%s'", argv[optind - 1]);
    else if (set_option(row, optarg) != KVS_OK)
      return cli_usage(command, "'%s' is no %s for --%s", optarg, row->value, row->name);
  }
  *first_p = optind;
  return CLI_OK;
}

int cli_usage(const struct cli_command *command, const char *format, ...)
{
  va_list arguments;

  fputs("kvasirctl", stderr);
  if (command != NULL)
    fprintf(stderr, " %s", command->name);
  fputs(": ", stderr);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "\nTry 'kvasirctl %s%s--help'.\n", command == NULL ? "" : command->name,
          command == NULL ? "" : " ");
  return CLI_USAGE;
}

static void print_rows(const struct cli_option *options, FILE *out)
{
  for (; options != NULL && options->name != NULL; options++) {
    char left[64];

    snprintf(left, sizeof(left), "--%s%s%s", options->name, options->value != NULL ? " " : "",
             options->value != NULL ? options->value : "");
    if (options->letter != 0)
      fprintf(out, "  -%c, %-22s %s\n", options->letter, left, options->help);
    else
      fprintf(out, "      %-22s %s\n", left, options->help);
  }
}

static void print_commands(const struct cli_command *group, FILE *out)
{
  fputs("\nCommands:\n", out);
  for (size_t i = 0; group->commands[i] != NULL; i++)
    fprintf(out, "  %-11s %s\n", cli_word(group->commands[i]), group->commands[i]->summary);
  fprintf(out, "\n'kvasirctl %s COMMAND --help' explains a command.\n", group->name);
}

void cli_help(const struct cli_command *command, FILE *out)
{
  if (command != NULL) {
    fprintf(out, "Usage: kvasirctl %s [OPTION...]%s%s\n\n%s.\n", command->name,
            command->arguments[0] != '\0' ? " " : "", command->arguments, command->summary);
    if (command->details != NULL)
      fprintf(out, "\n%s\n", command->details);
    if (command->commands != NULL)
      print_commands(command, out);
    fputs("\nOptions:\n", out);
    print_rows(command->options, out);
  }
  print_rows(common_options(command), out);
  fprintf(out, "  -h, %-22s %s\n", "--help", "this text");
  if (command == NULL)
    fprintf(out, "  -V, %-22s %s\n", "--version", "the version");
}
