/* SPDX-License-Identifier: MIT */
/* What the states use. World: user. A failed expectation says where and ends the program. */
#ifndef STATES_STATE_H
#define STATES_STATE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../puppet/talk.h"

#define EXPECT(condition)                                                                  \
  do {                                                                                     \
    if (!(condition)) wrong("%s:%d: %s, errno %d", __FILE__, __LINE__, #condition, errno); \
  } while (0)

/* Whether this is a child by now, which a state may have to know: its connections are closed. */
extern int is_child;
/* mitosis_prepare_as's; 0 unless a setup changes it. */
extern unsigned prepare_flags;
/* A directory of the test's, for both machines. */
extern const char* folder;
/* A path in it. */
const char* in_folder(const char* name);
/* What poll(2) says of one descriptor at once. */
int ready(int fd);
/* Waits up to 10 s for `events`. */
int ready_soon(int fd, short events);

#define STATE(name)        \
  void setup_##name(void); \
  void check_##name(void);
#include "states.def"
#undef STATE

#endif
