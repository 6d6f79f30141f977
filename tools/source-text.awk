# code(LINE): the line without comments and without the inside of strings and character constants. Call it for every
# line of a file in order, and code_reset() before the first: a block comment is carried from line to line.
function code_reset() { in_comment = 0 }

function code(line,    out, i, n, c, two, quote) {
  out = ""
  quote = ""
  n = length(line)
  for (i = 1; i <= n; i++) {
    c = substr(line, i, 1)
    two = substr(line, i, 2)
    if (in_comment) {
      if (two == "*/") {
        in_comment = 0
        i++
      }
    } else if (quote != "") {
      if (c == "\\")
        i++
      else if (c == quote) {
        out = out c
        quote = ""
      }
    } else if (two == "/*") {
      in_comment = 1
      out = out " "
      i++
    } else if (two == "//") {
      break
    } else {
      if (c == "\"" || c == "'")
        quote = c
      out = out c
    }
  }
  return out
}
