/* client/cli/completion.c: kvasirctl completion: scripts made of the tables that also parse the command line. */
#include <string.h>

#include "client/cli/cli.h"

static void print_options(const struct cli_option *options)
{
  for (; options != NULL && options->name != NULL; options++)
    printf(" --%s", options->name);
}

static bool takes_files(const struct cli_command *command)
{
  return command->words != NULL && command->words[0] == '@';
}

static const struct cli_option *common_options(const struct cli_command *command)
{
  return command->local ? cli_local_options : cli_common_options;
}

static void print_bash_words(const struct cli_command *command)
{
  fputs("words=\"", stdout);
  if (command->words != NULL && !takes_files(command))
    printf("%s", command->words);
  for (size_t i = 0; command->commands != NULL && command->commands[i] != NULL; i++)
    printf(" %s", cli_word(command->commands[i]));
  print_options(command->options);
  print_options(common_options(command));
  printf(" --help\"%s", takes_files(command) ? " files=1" : "");
}

/* A group looks at its own word first, which follows it. */
static void print_bash_group(const struct cli_command *group)
{
  printf("    %s)\n      case ${COMP_WORDS[i + 1]} in\n", group->name);
  for (size_t i = 0; group->commands[i] != NULL; i++) {
    printf("        %s) ", cli_word(group->commands[i]));
    print_bash_words(group->commands[i]);
    fputs(" ;;\n", stdout);
  }
  fputs("      esac\n      ((COMP_CWORD > i + 1)) || { files=; ", stdout);
  print_bash_words(group);
  fputs("; } ;;\n", stdout);
}

static void print_bash(void)
{
  fputs("# bash completion of kvasirctl, printed by 'kvasirctl completion bash'\n"
        "_kvasirctl()\n{\n"
        "  local current=${COMP_WORDS[COMP_CWORD]} command= words= files= word i\n"
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
    if (cli_commands[i]->commands != NULL) {
      print_bash_group(cli_commands[i]);
      continue;
    }
    printf("    %s) ", cli_commands[i]->name);
    print_bash_words(cli_commands[i]);
    fputs(" ;;\n", stdout);
  }
  fputs("    \"\") words=\"", stdout);
  for (size_t i = 0; cli_commands[i] != NULL; i++)
    printf("%s ", cli_commands[i]->name);
  print_options(cli_common_options);
  fputs(" --help --version\" ;;\n  esac\n"
        "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
        "  [[ -z $files || $current == -* ]] || COMPREPLY+=($(compgen -f -- \"$current\"))\n"
        "}\ncomplete -o filenames -F _kvasirctl kvasirctl\n",
        stdout);
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

static void print_zsh_command(const struct cli_command *command, const char *blanks)
{
  printf("%s%s) _arguments '--help[explain]'", blanks, cli_word(command));
  print_zsh_options(command->options);
  print_zsh_options(common_options(command));
  if (takes_files(command))
    fputs(" '*:file:_files'", stdout);
  else if (command->words != NULL)
    printf(" '1:what:(%s)'", command->words);
  fputs(" ;;\n", stdout);
}

/* The group's word shifts its command's arguments by one. */
static void print_zsh_group(const struct cli_command *group)
{
  printf("        %s)\n          if ((CURRENT == 2)); then\n            _values command", group->name);
  for (size_t i = 0; group->commands[i] != NULL; i++)
    printf(" %s", cli_word(group->commands[i]));
  fputs("\n            return\n          fi\n          shift words\n          ((CURRENT--))\n"
        "          case $words[1] in\n",
        stdout);
  for (size_t i = 0; group->commands[i] != NULL; i++)
    print_zsh_command(group->commands[i], "            ");
  fputs("          esac\n          ;;\n", stdout);
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
    if (cli_commands[i]->commands != NULL)
      print_zsh_group(cli_commands[i]);
    else
      print_zsh_command(cli_commands[i], "        ");
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
