/* SPDX-License-Identifier: MIT */
/* Things to have that a process may not prepare with. World: user. */
#ifndef PUPPET_MISCHIEF_H
#define PUPPET_MISCHIEF_H

/* `what`: "socket", "ring". The number of the descriptor, 0 where it is none,
 * -1 where there is no such thing or it cannot be had. */
int mischief(const char* what);

#endif
