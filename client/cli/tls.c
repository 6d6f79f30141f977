/* client/cli/tls.c: the options --tls-ca, --tls-cert, --tls-key, --tls-name and --token-file, and their places in the environment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"

/* "" counts as not said, so that an option can undo the environment. */
static const char *either(const char *option, const char *variable)
{
  const char *text = option != NULL ? option : getenv(variable);

  return text != NULL && text[0] != '\0' ? text : NULL;
}

static int need(const char *what, const char *variable, const char *needed)
{
  return cli_usage(NULL, "%s (or $%s) needs %s", what, variable, needed);
}

static int check_files(const char *const *files, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (files[i] != NULL && access(files[i], R_OK) != 0)
      return cli_usage(NULL, "cannot read the TLS file '%s': %s", files[i], strerror(errno));
  }
  return CLI_OK;
}

int cli_tls(const struct cli *cli, kvsc_options *options)
{
  const char *ca = either(cli->tls_ca, "KVASIR_TLS_CA");
  const char *cert = either(cli->tls_cert, "KVASIR_TLS_CERT");
  const char *key = either(cli->tls_key, "KVASIR_TLS_KEY");
  const char *name = either(cli->tls_name, "KVASIR_TLS_NAME");
  const char *const files[] = {ca, cert, key};

  options->token_file = either(cli->token_file, "KVASIR_TOKEN_FILE");
  if (options->token_file != NULL && access(options->token_file, R_OK) != 0)
    return cli_usage(NULL, "cannot read the token file '%s': %s", options->token_file, strerror(errno));
  if (strncmp(options->endpoint, "unix:", 5) == 0)
    return CLI_OK;
  if (cert != NULL && key == NULL)
    return need("--tls-cert", "KVASIR_TLS_CERT", "--tls-key");
  if (key != NULL && cert == NULL)
    return need("--tls-key", "KVASIR_TLS_KEY", "--tls-cert");
  if (cert != NULL && ca == NULL)
    return need("--tls-cert", "KVASIR_TLS_CERT", "--tls-ca");
  if (name != NULL && ca == NULL)
    return need("--tls-name", "KVASIR_TLS_NAME", "--tls-ca");
  options->tls_ca_file = ca;
  options->tls_cert_file = cert;
  options->tls_key_file = key;
  options->tls_server_name = name;
  return check_files(files, sizeof(files) / sizeof(files[0]));
}
