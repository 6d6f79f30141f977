# The check behind tools/check-layers.sh. Reads the table (-v table=FILE), then every C file named on standard input.

# A pattern of the table as an anchored regular expression: * stands for anything.
function pattern_regex(pattern,    r) {
  r = pattern
  gsub(/[.+]/, "[&]", r)
  gsub(/\*/, ".*", r)
  return "^" r "$"
}

function fail_table(what) {
  printf "%s:%d: %s\n", table, table_line, what
  failures++
}

function read_table(    line, n, word, i) {
  while ((getline line < table) > 0) {
    table_line++
    sub(/#.*/, "", line)
    n = split(line, word, /[ \t]+/)
    if (n == 0 || word[1] == "")
      continue
    if (word[1] == "folder") {
      folders[word[2]] = 1
      for (i = 3; i <= n; i++)
        if (word[i] != "")
          edge[word[2], word[i]] = 1
    } else if (word[1] == "top") {
      tops[word[2]] = 1
    } else if (word[1] == "header") {
      header_regex[++headers] = pattern_regex(word[2])
      for (i = 3; i <= n; i++)
        if (word[i] != "") {
          header_home[headers, word[i]] = 1
          header_homes[headers] = header_homes[headers] " " word[i]
        }
    } else if (word[1] == "system") {
      for (i = 2; i <= n; i++)
        if (word[i] != "")
          system_regex[++systems] = pattern_regex(word[i])
    } else
      fail_table("a line begins with folder, top, header or system, not with " word[1])
  }
  close(table)
}

# The longest folder of the table that the path lies in, or "".
function folder_of(path,    best, f) {
  best = ""
  for (f in folders)
    if (index(path, f "/") == 1 && length(f) > length(best))
      best = f
  return best
}

function is_top(path,    t) {
  for (t in tops)
    if (path == t || index(path, t "/") == 1)
      return 1
  return 0
}

function lies_in_home(path, h,    parent) {
  parent = path
  while (sub(/\/[^\/]*$/, "", parent))
    if ((h, parent) in header_home)
      return 1
  return 0
}

function report(what) {
  printf "%s:%d: %s\n", file, line_number, what
  failures++
}

function check_ours(target,    from, to) {
  if (is_top(file))
    return
  from = folder_of(file)
  to = folder_of(target)
  if (from == "")
    report("this file lies in no folder of the table; a new layer needs a line in tools/layers.txt")
  else if (to == "")
    report("\"" target "\" lies in no layer that others may use")
  else if (from != to && !((from, to) in edge))
    report(from "/ may not use " to "/: \"" target "\" is against the order of the layers (docs/layers.md)")
}

function beside(path, name) {
  sub(/[^\/]*$/, name, path)
  return path
}

function check_include(spec, angled,    h, s, owner) {
  for (h = 1; h <= headers; h++)
    if (spec ~ header_regex[h]) {
      if (!lies_in_home(file, h) && index(file, "tests/") != 1)
        report("<" spec "> may be included in" header_homes[h] " only, so that one folder knows that library")
      return
    }
  if (spec ~ /^kvasir\//) {
    if (spec in public_header)
      check_ours(public_header[spec])
    else
      report("<" spec "> is no public header of any layer")
    return
  }
  if (angled) {
    for (s = 1; s <= systems; s++)
      if (spec ~ system_regex[s])
        return
    report("<" spec "> is neither a system header nor a library in the table tools/layers.txt")
  } else if (spec in exists)
    check_ours(spec)
  else if (index(file, "tests/") == 1 && (beside(file, spec) in exists))
    return # a test's own helpers, beside it
  else
    report("\"" spec "\" is no file of the tree; includes are written from the root, as in \"base/log.h\"")
}

function check_file(    line, text, spec, status) {
  code_reset()
  line_number = 0
  while ((status = (getline line < file)) > 0) {
    line_number++
    # code() empties strings, so it tells whether this is an include and the line itself tells of what.
    text = code(line)
    if (text !~ /^[ \t]*#[ \t]*include[ \t]*[<"]/)
      continue
    spec = line
    sub(/^[^<"]*[<"]/, "", spec)
    sub(/[>"].*$/, "", spec)
    check_include(spec, text ~ /</)
  }
  if (status < 0) {
    line_number = 0
    report("cannot be read")
  }
  close(file)
}

BEGIN {
  read_table()
  while ((getline path < "-") > 0) {
    files[++count] = path
    exists[path] = 1
    if (match(path, /\/include\/kvasir\//))
      public_header[substr(path, RSTART + length("/include/"))] = path
  }
  for (i = 1; i <= count; i++) {
    file = files[i]
    check_file()
  }
  if (count == 0) {
    print "layers: no C files found"
    exit 1
  }
  if (failures) {
    printf "layers: %d of the includes in %d files break the table\n", failures, count
    exit 1
  }
  printf "layers: %d files keep to tools/layers.txt\n", count
}
