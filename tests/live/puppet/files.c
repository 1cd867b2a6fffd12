/* SPDX-License-Identifier: MIT */
/* See files.h. */
#include "files.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "talk.h"

static int reader = -1, twin = -1, appender = -1;

int files_open(const char* path) {
  reader = open(path, O_RDONLY | O_CLOEXEC);
  twin = dup(reader);
  appender = open(path, O_WRONLY | O_APPEND);
  return reader < 0 || twin < 0 || appender < 0 ? -1 : 0;
}

static void read_by(int fd, int count) {
  char text[65] = "";
  const ssize_t n = read(fd, text, count > 64 ? 64 : (size_t)count);
  if (n >= 0) text[n] = '\0';
  say(n < 0 ? "error cannot read%s" : "ok %s", text);
}

void files_read(int count) {
  read_by(reader, count);
}
void files_read_dup(int count) {
  read_by(twin, count);
}
void files_append(const char* text) {
  say(write(appender, text, strlen(text)) < 0 ? "error cannot append" : "ok");
}
