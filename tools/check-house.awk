# The rules behind tools/check-house.sh that are about single C files. Reads the names of files on standard input.

function report(what) {
  printf "%s:%d: %s\n", file, line_number, what
  failures++
}

function note(what) {
  printf "note: %s:%d: %s\n", file, line_number, what
  notes++
}

function forbid(name, instead) {
  instead_of[name] = instead
}

# Calls of a forbidden function: its name as a whole word in front of a parenthesis.
function check_calls(text,    rest, name) {
  rest = text
  while (match(rest, /[A-Za-z_][A-Za-z0-9_]*[ ]*\(/)) {
    name = substr(rest, RSTART, RLENGTH)
    sub(/[ ]*\($/, "", name)
    if (name in instead_of && !(name in allowed_in_tests && file ~ /^tests\//))
      report(name "() is not used here: " instead_of[name])
    rest = substr(rest, RSTART + RLENGTH)
  }
}

# The guard of a header is its path, or the end of it, behind KVI_ or KVASIR_: base/log.h has KVI_BASE_LOG_H. Headers for
# users have no choice: <kvasir/status.h> has KVASIR_STATUS_H.
function guard_of(path,    guard) {
  guard = path
  guard_is_public = sub(/^.*\/include\//, "", guard)
  guard = toupper(guard)
  gsub(/[^A-Z0-9]/, "_", guard)
  return guard
}

# NODE_ADDRESS_H ends SERVER_NODE_ADDRESS_H, and RESS_H does not.
function ends_with_words(whole, end) {
  return length(end) > 2 && index("_" whole "\n", "_" end "\n") > 0
}

function check_guard(text,    word, guard) {
  if (file !~ /\.h$/ || guard_seen || text ~ /^[ \t]*$/)
    return
  guard_seen = 1
  guard = guard_of(file)
  split(text, word, /[ \t]+/)
  if (word[1] == "#ifndef" && guard_is_public && word[2] == guard)
    return
  if (word[1] == "#ifndef" && !guard_is_public && sub(/^(KVI|KVASIR)_/, "", word[2]) && ends_with_words(guard, word[2]))
    return
  report("a header begins with its include guard, here #ifndef " (guard_is_public ? "" : "KVI_") guard)
}

# clang-format puts the braces of a function, and of nothing longer, in the first column.
function check_function_length(line) {
  if (line == "{")
    body_start = line_number
  else if (line == "}" && body_start) {
    if (line_number - body_start - 1 > longest_function)
      note("this function has " (line_number - body_start - 1) " lines; above " longest_function " look for a seam")
    body_start = 0
  }
}

function check_line(line,    text) {
  text = code(line)
  check_calls(text)
  check_guard(text)
  check_function_length(line)
  # The rest is about the text as written, comments and strings included.
  if (line ~ /(TODO|FIXME|(^|[^X])XXX([^X]|$))/)
    report("nothing is left half done: finish it, or write it down as a limitation in docs/")
  if (line ~ /"\/(home|root|work|Users)\//)
    report("a path of one machine; take it from the configuration, the build or the environment")
  if (line ~ /\r/)
    report("a carriage return; lines end with a newline alone")
}

BEGIN {
  longest_file = 600
  longest_function = 80
  forbid("gets", "read with a bound")
  forbid("strcpy", "copy with the size of the target: snprintf or memcpy")
  forbid("stpcpy", "copy with the size of the target: snprintf or memcpy")
  forbid("strcat", "append with the size of the target: snprintf")
  forbid("strncat", "append with the size of the target: snprintf")
  forbid("sprintf", "snprintf knows the size")
  forbid("vsprintf", "vsnprintf knows the size")
  forbid("atoi", "strtol tells errors from numbers")
  forbid("atol", "strtol tells errors from numbers")
  forbid("atoll", "strtoll tells errors from numbers")
  forbid("atof", "strtod tells errors from numbers")
  forbid("alloca", "the stack has no bound check")
  forbid("strtok", "it keeps state between calls: strtok_r or strcspn")
  forbid("usleep", "wait for the event with a deadline; nanosleep where time itself is meant")
  forbid("system", "posix_spawn without a shell")
  forbid("popen", "posix_spawn without a shell")
  forbid("mktemp", "mkstemp")
  forbid("tmpnam", "mkstemp")
  forbid("rand", "it is shared and weak: a generator of your own with a seed, or getrandom")
  forbid("localtime", "localtime_r, or better a duration of the monotonic clock")
  forbid("gmtime", "gmtime_r")
  forbid("gettimeofday", "durations come from CLOCK_MONOTONIC")
  forbid("select", "it overflows with a descriptor above 1023: poll or epoll")
  # A test knows the size of what it copies, and a sanitizer watches it.
  allowed_in_tests["strcpy"] = 1
  allowed_in_tests["strcat"] = 1
  allowed_in_tests["usleep"] = 1
  allowed_in_tests["system"] = 1
  allowed_in_tests["popen"] = 1
  allowed_in_tests["rand"] = 1

  while ((getline file < "-") > 0) {
    count++
    code_reset()
    line_number = 0
    guard_seen = 0
    body_start = 0
    while ((getline line < file) > 0) {
      line_number++
      check_line(line)
    }
    close(file)
    if (line_number > longest_file)
      note("a file of " line_number " lines; above " longest_file " look for a seam")
  }
  printf "house: %d C files, %d faults, %d notes\n", count, failures, notes
  exit failures > 0 || count == 0
}
