/* client/cli/completion.c: kvasirctl completion: scripts made of the tables that also parse the command line. */
#include <string.h>

#include "client/cli/cli.h"

static void print_options(const struct cli_option *options)
{
  for (; options != NULL && options->name != NULL; options++)
    printf(" --%s", options->name);
}

static void print_bash(void)
{
  fputs("# bash completion of kvasirctl, printed by 'kvasirctl completion bash'\n"
        "_kvasirctl()\n{\n"
        "  local current=${COMP_WORDS[COMP_CWORD]} command= words= word i\n"
        "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "    word=${COMP_WORDS[i]}\n"
        "    case $word in\n"
        "      -e | --endpoint | -t | --timeout | --tls-ca | --tls-cert | --tls-key | --tls-name) i=$((i + "
        "1)) ;;\n"
        "      -*) ;;\n"
        "      *) command=$word; break ;;\n"
        "    esac\n"
        "  done\n"
        "  case ${COMP_WORDS[COMP_CWORD - 1]} in\n"
        "    --tls-ca | --tls-cert | --tls-key) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
        "  esac\n"
        "  case $command in\n",
        stdout);
  for (size_t i = 0; cli_commands[i] != NULL; i++) {
    const struct cli_command *command = cli_commands[i];

    printf("    %s) words=\"", command->name);
    if (command->words != NULL && command->words[0] != '@')
      printf("%s", command->words);
    print_options(command->options);
    print_options(cli_common_options);
    fputs(" --help\" ;;\n", stdout);
  }
  fputs("    \"\") words=\"", stdout);
  for (size_t i = 0; cli_commands[i] != NULL; i++)
    printf("%s ", cli_commands[i]->name);
  print_options(cli_common_options);
  fputs(" --help --version\" ;;\n  esac\n", stdout);
  fputs("  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
        "  case $command in\n",
        stdout);
  for (size_t i = 0; cli_commands[i] != NULL; i++) {
    if (cli_commands[i]->words != NULL && cli_commands[i]->words[0] == '@')
      printf("    %s) [[ $current == -* ]] || COMPREPLY+=($(compgen -f -- \"$current\")) ;;\n",
             cli_commands[i]->name);
  }
  fputs("  esac\n}\ncomplete -o filenames -F _kvasirctl kvasirctl\n", stdout);
}

/* What stands in '...[...]' of _arguments, without what would end it. */
static void print_zsh_text(const char *text)
{
  for (; *text != '\0'; text++) {
    if (*text == '\'')
      fputs("'\\''", stdout);
    else if (*text == '[' || *text == ']' || *text == ':')
      printf("\\%c", *text);
    else
      putchar(*text);
  }
}

static void print_zsh_options(const struct cli_option *options)
{
  for (; options != NULL && options->name != NULL; options++) {
    printf(" \\\n        '--%s[", options->name);
    print_zsh_text(options->help);
    printf("]%s'", options->value == NULL                ? ""
                   : strcmp(options->value, "FILE") == 0 ? ":file:_files"
                                                         : ": :");
  }
}

static void print_zsh(void)
{
  fputs("#compdef kvasirctl\n"
        "# zsh completion of kvasirctl, printed by 'kvasirctl completion zsh'\n"
        "_kvasirctl() {\n  local state\n  local -a commands\n  commands=(\n",
        stdout);
  for (size_t i = 0; cli_commands[i] != NULL; i++) {
    printf("    '%s:", cli_commands[i]->name);
    print_zsh_text(cli_commands[i]->summary);
    fputs("'\n", stdout);
  }
  fputs("  )\n  _arguments -C", stdout);
  print_zsh_options(cli_common_options);
  fputs(" \\\n        '--help[explain]' '--version[print the version]' '1:command:->command' "
        "'*::argument:->argument'\n"
        "  case $state in\n"
        "    command) _describe command commands ;;\n"
        "    argument)\n      case $words[1] in\n",
        stdout);
  for (size_t i = 0; cli_commands[i] != NULL; i++) {
    const struct cli_command *command = cli_commands[i];

    printf("        %s) _arguments '--help[explain]'", command->name);
    print_zsh_options(command->options);
    print_zsh_options(cli_common_options);
    if (command->words != NULL && command->words[0] == '@')
      fputs(" '*:file:_files'", stdout);
    else if (command->words != NULL)
      printf(" '1:what:(%s)'", command->words);
    fputs(" ;;\n", stdout);
  }
  fputs("      esac\n      ;;\n  esac\n}\n_kvasirctl \"$@\"\n", stdout);
}

static int run(struct cli *cli, int n, char **arguments)
{
  (void)cli;
  (void)n;
  if (strcmp(arguments[0], "bash") == 0)
    print_bash();
  else if (strcmp(arguments[0], "zsh") == 0)
    print_zsh();
  else
    return cli_usage(&cli_completion, "it knows bash and zsh, not '%s'", arguments[0]);
  return CLI_OK;
}

const struct cli_command cli_completion = {
    .name = "completion",
    .arguments = "bash|zsh",
    .summary = "Print the completion of a shell",
    .details = "bash: kvasirctl completion bash > ~/.local/share/bash-completion/completions/kvasirctl\n"
               "zsh:  kvasirctl completion zsh > DIRECTORY_OF_FPATH/_kvasirctl",
    .words = "bash zsh",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
