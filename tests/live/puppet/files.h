/* SPDX-License-Identifier: MIT */
/* Files that a puppet holds open across prepare. World: user. */
#ifndef PUPPET_FILES_H
#define PUPPET_FILES_H

/* Opens `path` (of at least 10 bytes "0123456789...") three times: for reading, once more through
 * a dup of that, and for appending. 0, or -1 where it cannot be opened. */
int files_open(const char* path);
/* Reads `count` bytes, at most 64, by the first descriptor and says them. */
void files_read(int count);
/* The same by the dup. */
void files_read_dup(int count);
/* Appends `text` by the third. */
void files_append(const char* text);

#endif
