/* client/cli/main.c: kvasirctl: finds the command and runs it. */
#include <string.h>

#include "client/cli/cli.h"

#ifndef KVI_VERSION
#error "the build gives KVI_VERSION"
#endif

const struct cli_command *const cli_commands[] = {
    &cli_ping,     &cli_stats, &cli_tiers,      &cli_ls,      &cli_put,      &cli_get,    &cli_evict,
    &cli_programs, &cli_pins,  &cli_price,      &cli_hint,    &cli_why_miss, &cli_config, &cli_bench,
    &cli_replay,   &cli_codec, &cli_completion, &cli_tenants, &cli_curve,    &cli_token,  NULL,
};

static struct cli the_cli = {.timeout_ms = 5000};

const struct cli_option cli_common_options[] = {
    {'e', "endpoint", "ENDPOINT",
     "the node: kvasir://host:port or unix:/path (default: $KVASIR_ENDPOINT, else this host's)", CLI_TEXT,
     &the_cli.endpoint},
    {'t', "timeout", "DURATION", "how long to wait for the node (default 5s)", CLI_DURATION,
     &the_cli.timeout_ms},
    {0, "tls-ca", "FILE", "trust nodes this authority signed, PEM; turns TLS on (default: $KVASIR_TLS_CA)",
     CLI_TEXT, &the_cli.tls_ca},
    {0, "tls-cert", "FILE", "certificate to show to the node, PEM (default: $KVASIR_TLS_CERT)", CLI_TEXT,
     &the_cli.tls_cert},
    {0, "tls-key", "FILE", "its private key, PEM (default: $KVASIR_TLS_KEY)", CLI_TEXT, &the_cli.tls_key},
    {0, "tls-name", "NAME",
     "name in the node's certificate (default: $KVASIR_TLS_NAME, else the endpoint's host)", CLI_TEXT,
     &the_cli.tls_name},
    {0, "token-file", "FILE", "token of a tenant, for the node (default: $KVASIR_TOKEN_FILE)", CLI_TEXT,
     &the_cli.token_file},
    {'j', "json", NULL, "print JSON", CLI_FLAG, &the_cli.json},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

const struct cli_option cli_local_options[] = {
    {'j', "json", NULL, "print JSON", CLI_FLAG, &the_cli.json},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

static void print_overview(FILE *out)
{
  fputs("Usage: kvasirctl [OPTION...] COMMAND [ARGUMENT...]\n\nLooks at a Kvasir node and works on what it "
        "holds.\n\n"
        "Commands:\n",
        out);
  for (size_t i = 0; cli_commands[i] != NULL; i++)
    fprintf(out, "  %-11s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
  fputs("\nOptions, before or after the command:\n", out);
  cli_help(NULL, out);
  fputs("\nExit status: 0 done, 1 not there, 2 wrong command line, 3 no answer from the node, 4 something "
        "else failed.\n"
        "'kvasirctl COMMAND --help' explains a command.\n",
        out);
}

static const struct cli_command *find_command(const struct cli_command *const *commands, const char *word)
{
  for (size_t i = 0; commands[i] != NULL; i++) {
    if (strcmp(cli_word(commands[i]), word) == 0)
      return commands[i];
  }
  return NULL;
}

static int run_words(const struct cli_command *group, int argc, char **argv);

/* A group without more words shows what it has. */
static int run_group(const struct cli_command *group, int argc, char **argv, int first)
{
  if (first < argc)
    return run_words(group, argc - first, argv + first);
  cli_help(group, stderr);
  return CLI_USAGE;
}

/* Runs a command, of a group or of kvasirctl itself (NULL), whose words begin at argv[0]. */
static int run_words(const struct cli_command *group, int argc, char **argv)
{
  const struct cli_command *command = find_command(group != NULL ? group->commands : cli_commands, argv[0]);
  bool help;
  int first, code, n;

  if (command == NULL) {
    fprintf(stderr, "kvasirctl: there is no command '%s%s%s'; 'kvasirctl %s%s--help' lists them\n",
            group != NULL ? group->name : "", group != NULL ? " " : "", argv[0],
            group != NULL ? group->name : "", group != NULL ? " " : "");
    return CLI_USAGE;
  }
  code = cli_parse(command, argc, argv, &help, &first);
  if (code != CLI_OK)
    return code;
  if (help) {
    cli_help(command, stdout);
    return CLI_OK;
  }
  if (command->commands != NULL)
    return run_group(command, argc, argv, first);
  n = argc - first;
  if (n < command->min_arguments || n > command->max_arguments)
    return cli_usage(command, "it takes %s",
                     command->arguments[0] != '\0' ? command->arguments : "no arguments");
  return command->run(&the_cli, n, argv + first);
}

static int run_command(int argc, char **argv)
{
  int code = run_words(NULL, argc, argv);

  kvsc_close(the_cli.client);
  if (fflush(stdout) != 0 && code == CLI_OK) {
    perror("kvasirctl: standard output");
    code = CLI_ERROR;
  }
  return code;
}

int main(int argc, char **argv)
{
  bool help = false;
  int first = 0;
  int code;

  if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
    puts("kvasirctl " KVI_VERSION);
    return CLI_OK;
  }
  code = cli_parse(NULL, argc, argv, &help, &first);
  if (code != CLI_OK)
    return code;
  if (help) {
    print_overview(stdout);
    return CLI_OK;
  }
  if (first >= argc) {
    print_overview(stderr);
    return CLI_USAGE;
  }
  if (strcmp(argv[first], "help") == 0) {
    print_overview(stdout);
    return CLI_OK;
  }
  return run_command(argc - first, argv + first);
}
