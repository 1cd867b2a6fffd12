/* SPDX-License-Identifier: MIT */
/* See talk.h. */
#include "talk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int hear(char* line, size_t size) {
  size_t length = 0;
  while (1) {
    char c;
    const ssize_t n = read(0, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    if (c == '\n') break;
    if (length + 1 < size) line[length++] = c;
  }
  line[length] = '\0';
  return 1;
}

static void write_line(const char* format, va_list values) {
  char line[1024];
  int length = vsnprintf(line, sizeof line - 1, format, values);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  line[length++] = '\n';
  if (write(1, line, (size_t)length) != length) _exit(98); /* nobody listens any more */
}

void say(const char* format, ...) {
  va_list values;
  va_start(values, format);
  write_line(format, values);
  va_end(values);
}

void wrong(const char* format, ...) {
  char text[512];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  say("wrong %s (pid %d)", text, (int)getpid());
  _exit(99);
}
