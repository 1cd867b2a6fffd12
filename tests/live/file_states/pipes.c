/* SPDX-License-Identifier: MIT */
/* Pipes, FIFOs, eventfds. World: user. */
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "state.h"

static int ends[2], more[2];

void setup_pipe(void) {
  EXPECT(pipe2(ends, O_CLOEXEC) == 0);
  EXPECT(fcntl(ends[1], F_SETPIPE_SZ, 16384) == 16384);
  EXPECT(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  EXPECT(write(ends[1], "first second", 12) == 12);
  char word[6];
  EXPECT(read(ends[0], word, 6) == 6); /* "second" is left */
}
void check_pipe(void) {
  char text[32];
  EXPECT(fcntl(ends[0], F_GETPIPE_SZ) == 16384);
  EXPECT((fcntl(ends[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
  EXPECT((fcntl(ends[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_WRONLY);
  EXPECT(fcntl(ends[0], F_GETFD) == FD_CLOEXEC);
  EXPECT(read(ends[0], text, sizeof text) == 6 && memcmp(text, "second", 6) == 0);
  EXPECT(read(ends[0], text, sizeof text) == -1 && errno == EAGAIN);
  EXPECT(write(ends[1], "third", 5) == 5);
  EXPECT(read(ends[0], text, sizeof text) == 5 && memcmp(text, "third", 5) == 0);
  close(ends[1]);
  EXPECT(read(ends[0], text, sizeof text) == 0);
}

void setup_pipe_packets(void) {
  EXPECT(pipe2(ends, O_DIRECT) == 0);
  EXPECT(write(ends[1], "one", 3) == 3 && write(ends[1], "second", 6) == 6);
}
void check_pipe_packets(void) {
  char text[32];
  EXPECT(read(ends[0], text, sizeof text) == 3 && memcmp(text, "one", 3) == 0);
  EXPECT(read(ends[0], text, 2) == 2); /* the rest of the packet goes */
  EXPECT((ready(ends[0]) & POLLIN) == 0);
  EXPECT((fcntl(ends[1], F_GETFL) & O_DIRECT) != 0);
  EXPECT(write(ends[1], "a", 1) == 1 && write(ends[1], "b", 1) == 1);
  EXPECT(read(ends[0], text, sizeof text) == 1);
}

void setup_pipe_closed_ends(void) {
  EXPECT(pipe(ends) == 0 && pipe(more) == 0);
  EXPECT(write(ends[1], "last", 4) == 4);
  close(ends[1]);
  close(more[0]);
  signal(SIGPIPE, SIG_IGN);
}
void check_pipe_closed_ends(void) {
  char text[8];
  EXPECT(read(ends[0], text, sizeof text) == 4);
  EXPECT(read(ends[0], text, sizeof text) == 0);
  EXPECT(write(more[1], "x", 1) == -1 && errno == EPIPE);
}

void setup_fifo(void) {
  EXPECT(mkfifo(in_folder("fifo"), 0600) == 0);
  ends[0] = open(in_folder("fifo"), O_RDONLY | O_NONBLOCK);
  ends[1] = open(in_folder("fifo"), O_WRONLY);
  more[0] = open(in_folder("fifo"), O_RDWR);
  EXPECT(ends[0] > 0 && ends[1] > 0 && more[0] > 0);
  EXPECT(write(ends[1], "in a fifo", 9) == 9);
}
void check_fifo(void) {
  char text[32];
  EXPECT(read(more[0], text, 5) == 5 && read(ends[0], text + 5, 20) == 4);
  EXPECT(memcmp(text, "in a fifo", 9) == 0);
  EXPECT(write(more[0], "x", 1) == 1 && read(ends[0], text, 1) == 1);
}

void setup_fifo_by_path(void) {
  EXPECT(mkfifo(in_folder("named"), 0600) == 0);
  more[0] = open(in_folder("named"), O_RDWR); /* for a moment: a writer needs a reader */
  ends[1] = open(in_folder("named"), O_WRONLY);
  ends[0] = -1;
  const int pid = fork(); /* somebody else reads */
  if (pid == 0) {
    close(ends[1]);
    char byte;
    while (read(more[0], &byte, 1) == 1 && byte != 'Q') {
    }
    _exit(0);
  }
  close(more[0]);
}
void check_fifo_by_path(void) {
  EXPECT(write(ends[1], is_child ? "child" : "Q", is_child ? 5 : 1) > 0);
}

void setup_eventfd(void) {
  ends[0] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  ends[1] = eventfd(0, 0);
  EXPECT(ends[0] > 0 && ends[1] > 0);
  const uint64_t many = 0xfffffffffffffffeu;
  EXPECT(write(ends[0], &many, 8) == 8);
  more[0] = dup(ends[1]);
}
void check_eventfd(void) {
  uint64_t got = 0;
  EXPECT(read(ends[0], &got, 8) == 8 && got == 0xfffffffffffffffeu);
  EXPECT(read(ends[0], &got, 8) == -1 && errno == EAGAIN);
  EXPECT((ready(ends[1]) & POLLIN) == 0);
  got = 5;
  EXPECT(write(ends[1], &got, 8) == 8 && read(more[0], &got, 8) == 8 && got == 5);
}

void setup_eventfd_semaphore(void) {
  ends[0] = eventfd(3, EFD_SEMAPHORE);
  ends[1] = eventfd(1, EFD_SEMAPHORE | EFD_NONBLOCK);
  EXPECT(ends[0] > 0 && ends[1] > 0);
}
void check_eventfd_semaphore(void) {
  uint64_t got = 0;
  for (int i = 0; i < 3; ++i) EXPECT(read(ends[0], &got, 8) == 8 && got == 1);
  EXPECT((ready(ends[0]) & POLLIN) == 0);
  EXPECT(read(ends[1], &got, 8) == 8 && got == 1);
  EXPECT(read(ends[1], &got, 8) == -1 && errno == EAGAIN);
}
