/* SPDX-License-Identifier: MIT */
/* Lines in and out of the puppet: unbuffered, so that nothing is read ahead or written late by a
 * process that is copied in between. World: user. */
#ifndef PUPPET_TALK_H
#define PUPPET_TALK_H

#include <stddef.h>

/* Reads one line of standard input without its end. 0 at the end of the input. */
int hear(char* line, size_t size);

/* Writes one line to standard output in one write(2), adding the end. */
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));

/* Says "wrong ..." and exits with 99: the process has seen bytes that cannot be. */
void wrong(const char* format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
