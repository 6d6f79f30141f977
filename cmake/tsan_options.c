/*
 * Linked into every program under ThreadSanitizer, which asks for its options by this name. gRPC is not built for it and
 * synchronises by means that it does not see, so it looks at our modules only.
 */
const char *__tsan_default_options(void);

__attribute__((visibility("default"))) const char *__tsan_default_options(void)
{
  return "ignore_noninstrumented_modules=1";
}
