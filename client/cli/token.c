/* client/cli/token.c: kvasirctl token. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/rand.h"
#include "base/text.h"
#include "client/cli/cli.h"

#define TOKEN_BYTES 32u /* of randomness */

/* Nobody else may read it, and none that is there is overwritten. */
static int token_write(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool written;

  if (fd < 0) {
    fprintf(stderr, "kvasirctl: %s: %s\n", path, strerror(errno));
    return CLI_ERROR;
  }
  written = cli_write_full(fd, text, strlen(text)) && cli_write_full(fd, "\n", 1);
  if (close(fd) != 0 || !written) {
    fprintf(stderr, "kvasirctl: %s: %s\n", path, strerror(errno));
    (void)unlink(path);
    return CLI_ERROR;
  }
  return CLI_OK;
}

static int run(struct cli *cli, int n, char **arguments)
{
  char text[2 * TOKEN_BYTES + 1], hash[2 * KVI_SHA256_BYTES + 1];
  uint8_t token[TOKEN_BYTES], digest[KVI_SHA256_BYTES];
  int code;

  (void)n;
  if (kvi_random_bytes(token, sizeof(token)) != KVS_OK ||
      kvi_hex_encode(token, sizeof(token), text, sizeof(text)) != KVS_OK) {
    fputs("kvasirctl: no random bytes to be had\n", stderr);
    return CLI_ERROR;
  }
  kvi_sha256(text, strlen(text), digest);
  (void)kvi_hex_encode(digest, sizeof(digest), hash, sizeof(hash));
  code = token_write(arguments[0], text);
  if (code == CLI_OK)
    printf(cli->json ? "{\"token\":\"sha256:%s\"}\n" : "sha256:%s\n", hash);
  return code;
}

const struct cli_command cli_token = {
    .name = "token",
    .arguments = "FILE",
    .summary = "Make a token for a tenant",
    .details = "Writes a new random token to FILE, which must not be there, for clients (--token-file, "
               "$KVASIR_TOKEN_FILE), and\n"
               "prints its SHA-256, for the tenants file of nodes.",
    .words = "@file",
    .min_arguments = 1,
    .max_arguments = 1,
    .local = true,
    .run = run,
};
