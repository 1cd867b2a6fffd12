// SPDX-License-Identifier: MIT
// Random calls of /dev/mitosis-syscalls with random arguments: SEED COUNT. Each in a process of its
// own, which a resume may replace. Says what came of them; the kernel's log must stay clean.
#define _GNU_SOURCE
#include <mitosis/fork/kernel/device.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, SECONDS = 10 };

static unsigned long state;

static unsigned long draw(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static unsigned number(void) {
  static const unsigned known[] = {
      0,
      3,
      4,
      5,
      6,
      7,
      8,
      MITOSIS_RECLAIM,
      MITOSIS_PREPARE_KEYED,
      MITOSIS_RESUME_KEYED,
      MITOSIS_RENEW,
      MITOSIS_LIST,
      MITOSIS_STATISTICS,
  };
  const unsigned one = known[draw() % (sizeof known / sizeof known[0])];
  switch (draw() % 8) {
    case 0:
      return (unsigned)draw();
    case 1:  // another size or direction
      return one ^ (1u << (16 + draw() % 16));
    default:
      return one;
  }
}

// Small numbers, so that handlers meet; words of memory that is there, is not, or ends.
static unsigned long value(unsigned char* page) {
  switch (draw() % 6) {
    case 0:
      return draw();
    case 1:
      return (unsigned long)page + draw() % (2 * PAGE);
    case 2:
      return ~0ul - draw() % 64;
    default:
      return draw() % 4;
  }
}

// In a process of its own; 0, or the errno of the call.
static int one(int device, unsigned char* page) {
  unsigned long* words = (unsigned long*)page;
  for (int i = 0; i < 8; ++i) words[i] = value(page);
  const unsigned long where = draw() % 4 == 0 ? PAGE - draw() % 64 : 0;
  memmove(page + where, page, where ? PAGE - where : 0);
  const unsigned long argument = draw() % 3 == 0 ? value(page) : (unsigned long)page + where;
  return ioctl(device, number(), argument) < 0 ? errno : 0;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const int device = open("/dev/mitosis-syscalls", O_RDWR);
  // Two pages, of which the second is not there.
  unsigned char* page =
      mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (device < 0 || page == MAP_FAILED || munmap(page + PAGE, PAGE) != 0) return 2;
  state = strtoul(argv[1], NULL, 0) * 2654435761u + 1;
  unsigned ok = 0, refused = 0, killed = 0;
  for (long left = strtol(argv[2], NULL, 0); left > 0; --left) {
    (void)draw();
    const pid_t pid = fork();
    if (pid < 0) return 2;
    if (pid == 0) {
      alarm(SECONDS);
      _exit(one(device, page) == 0 ? 0 : 1);
    }
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) return 2;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
      puts("WRONG: a call did not end");
      return 1;
    }
    if (WIFSIGNALED(status))
      ++killed;
    else if (WEXITSTATUS(status) == 0)
      ++ok;
    else
      ++refused;
  }
  printf("ok=%u refused=%u killed=%u\n", ok, refused, killed);
  return 0;
}
