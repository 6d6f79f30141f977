/* client/cli/codec_plot.c: a chart into a file: SVG by ourselves, PNG by gnuplot. */
#include "client/cli/codec_plot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/codec.h"

static bool ends_in(const char *text, const char *end)
{
  size_t length = strlen(text), n = strlen(end);

  return length >= n && strcmp(text + length - n, end) == 0;
}

bool cli_codec_can_plot(const char *path)
{
  return ends_in(path, ".svg") || ends_in(path, ".png");
}

/* What a function writes, in memory, to be freed; NULL: no memory. */
static char *written(void (*write_chart)(FILE *, const struct kvi_chart *), const struct kvi_chart *chart,
                     size_t *length_p)
{
  char *text = NULL;
  FILE *memory = open_memstream(&text, length_p);
  bool failed;

  if (memory == NULL)
    return NULL;
  write_chart(memory, chart);
  failed = ferror(memory) != 0;
  if (fclose(memory) == 0 && !failed)
    return text;
  free(text);
  return NULL;
}

static int fail_gnuplot(const char *path, const char *what)
{
  return cli_codec_fail(path, "%s; a PNG needs gnuplot, a name that ends in .svg needs nothing", what);
}

/* Runs gnuplot from one descriptor to another and waits for it. */
static int run_gnuplot(const char *path, int in, int out)
{
  char name[] = "gnuplot";
  char *arguments[] = {name, NULL};
  posix_spawn_file_actions_t actions;
  int status = -1, error;
  pid_t child;

  if (posix_spawn_file_actions_init(&actions) != 0)
    return cli_codec_fail(path, "there is no memory for it");
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  error = posix_spawnp(&child, name, &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return fail_gnuplot(path, error == ENOENT ? "gnuplot is not installed" : strerror(error));
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    continue;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || lseek(out, 0, SEEK_END) <= 0)
    return fail_gnuplot(path, "gnuplot failed");
  return CLI_OK;
}

/* The script is smaller than what a pipe holds, so it is there before gnuplot starts. */
static int plot_png(const char *path, const char *script, size_t length, int out)
{
  int ends[2], code;

  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    return cli_codec_fail(path, "%s", strerror(errno));
  if (cli_write_full(ends[1], script, length)) {
    close(ends[1]);
    (void)fcntl(ends[0], F_SETFL, 0); /* gnuplot waits for its input */
    code = run_gnuplot(path, ends[0], out);
  } else {
    code = cli_codec_fail(path, "%s", strerror(errno));
    close(ends[1]);
  }
  close(ends[0]);
  return code;
}

int cli_codec_plot(const char *path, const struct kvi_chart *chart)
{
  bool png = ends_in(path, ".png");
  size_t length;
  char *text = written(png ? kvi_chart_gnuplot : kvi_chart_svg, chart, &length);
  struct cli_output file = {.fd = -1};
  int code;

  if (text == NULL)
    return cli_codec_fail(path, "there is no memory for it");
  code = cli_output_begin(&file, path);
  if (code == CLI_OK)
    code = png ? plot_png(path, text, length, file.fd) : cli_output_write(&file, text, length);
  free(text);
  return cli_output_end(&file, code);
}
