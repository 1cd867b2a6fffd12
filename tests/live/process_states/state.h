/* SPDX-License-Identifier: MIT */
/* What a state of the matrix is made of. World: user. */
#ifndef PROCESS_STATES_STATE_H
#define PROCESS_STATES_STATE_H

/* Who checks. */
enum who { before, parent, child };

/* Sets the state up. */
typedef void set_state(void);
/* Checks it; every difference is told by must(). Called at least once in each process. */
typedef void check_state(enum who who);

#define STATE(name)     \
  set_state set_##name; \
  check_state check_##name;
#include "process_states.def"
#undef STATE

/* Ends the program with status 99 and the sentence on standard output, unless `holds`. */
__attribute__((format(printf, 2, 3))) void must(int holds, const char* format, ...);
/* The same for a system call's result; names errno. */
void must_call(long result, const char* what);

#endif
