// SPDX-License-Identifier: MIT
// Every kind of memory of module_program.c, and what a child does with it. Checks return 0, or say
// what is wrong and return another number.
#ifndef MODULE_CHILD_H
#define MODULE_CHILD_H

#include <stddef.h>

enum { NIL = 0, PAGE = 4096, STACK_BYTES = 32 * PAGE };

void say(const char* text);
int fail(const char* what);

// All but the stack. `sharing`: MAP_SHARED, or MAP_PRIVATE where nothing may be shared. 0, or -1.
int make_memory(int sharing);
// One page of a file that has no name any more, to be read alone; its descriptor, or -1.
int map_file(unsigned seed);
// What was made, globals, thread-local memory, and the caller's stack, by the seed.
void fill_all(unsigned char* on_stack, size_t stack_bytes, unsigned seed);
int check_all(const unsigned char* on_stack, size_t stack_bytes, unsigned seed);
int check_file(unsigned seed);

// All below: once its parent has filled all with 10.
// What a process does after a fork, all of which the C library and the kernel must bear.
int live_on(void);
// The resumed process forks before it has touched most of its memory.
int fork_and_check(void);
// It forks, and the kernel moves a page in memory which it has then, and the fork has not.
int fork_and_move(void);
// Each generation ends once it has forked the next; the last one still gets the first's memory.
int many_generations(void);
// Touches pages that nobody has touched, as one loop does before and between two waits for files:
// /run/first, then /run/second. Between these are all pages of the shared memory, in order, and as
// many that never were written.
int touch_in_order(void);
// Forks that read by the connection which all of them share are killed in mid-run, some times over:
// it stays the others'.
int kill_readers(void);
// A signal comes at many moments of a fork.
int fork_among_signals(void);
// Anonymous memory's semantics, of pages that were fetched and of others.
int change_memory(int device);
// Of its parent's memory a child writes to a little, throws a little away and moves a little.
int touch_a_little(void);
// A child of that child finds it so, and makes it what it was.
int find_touched(void);

#endif
