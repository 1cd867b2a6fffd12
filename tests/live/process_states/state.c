/* SPDX-License-Identifier: MIT */
/* A process with one kind of state (its first argument). Obeys lines, as the puppet:
 * "prepare HANDLER [POLICY]" -> "parent KEY", in a child "child PID", or "error NUMBER SENTENCE";
 * "check" -> "ok". At the end of its input it checks once more and exits with 0. */
#include "state.h"

#include <errno.h>
#include <mitosis/mitosis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../puppet/talk.h"

static const struct {
  const char* name;
  set_state* set;
  check_state* check;
} states[] = {
#define STATE(name) {#name, set_##name, check_##name},
#include "process_states.def"
#undef STATE
};

void must(int holds, const char* format, ...) {
  if (holds) return;
  char sentence[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  say("wrong: %s", sentence);
  _exit(99);
}

void must_call(long result, const char* what) {
  must(result >= 0, "%s: %s", what, strerror(errno));
}

static enum who who = before;

static void do_prepare(const char* line) {
  unsigned long long handler = 0;
  char policy[128] = "";
  sscanf(line, "prepare %llu %127s", &handler, policy);
  const int sd = mitosis_open();
  struct mitosis_key key;
  const int role =
      sd < 0 ? -1 : mitosis_prepare(sd, handler, policy[0] != '\0' ? policy : NULL, &key);
  if (role == MITOSIS_PARENT) {
    char text[33];
    mitosis_key_format(&key, text);
    who = parent;
    say("parent %s", text);
  } else if (role == MITOSIS_CHILD) {
    who = child;
    say("child %d", (int)getpid());
  } else {
    say("error %d %s", mitosis_errno(), mitosis_strerror());
  }
  if (sd >= 0) mitosis_close(sd);
}

int main(int argc, char** argv) {
  size_t state = 0;
  while (argc == 2 && state < sizeof states / sizeof *states &&
         strcmp(states[state].name, argv[1]) != 0) {
    ++state;
  }
  if (argc != 2 || state == sizeof states / sizeof *states) {
    say("error 0 which state?");
    return 2;
  }
  states[state].set();
  states[state].check(before);
  char line[600];
  while (hear(line, sizeof line)) {
    if (strncmp(line, "prepare", 7) == 0) {
      do_prepare(line);
    } else if (strcmp(line, "check") == 0) {
      states[state].check(who);
      say("ok");
    } else {
      say("error 0 what is \"%s\"?", line);
    }
  }
  states[state].check(who);
  return 0;
}
