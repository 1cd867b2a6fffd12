/* SPDX-License-Identifier: MIT
 * A program that the restore tests capture: it knows its vdso's functions by address, and, resumed,
 * calls them and compares with the system calls. Exits with 0, or with the number of the check that
 * failed. World: user. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CHECK(number, condition) \
  if (!(condition)) _exit(number)

static int64_t ns(const struct timespec* t) {
  return t->tv_sec * 1000000000ll + t->tv_nsec;
}

int main(void) {
  void* const vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
  CHECK(90, vdso != NULL);
  int (*gettime)(clockid_t, struct timespec*);
  int (*getres)(clockid_t, struct timespec*);
  int (*timeofday)(struct timeval*, void*);
  time_t (*seconds)(time_t*);
  int (*cpu)(unsigned*, unsigned*, void*);
  *(void**)&gettime = dlvsym(vdso, "__vdso_clock_gettime", "LINUX_2.6");
  *(void**)&getres = dlvsym(vdso, "__vdso_clock_getres", "LINUX_2.6");
  *(void**)&timeofday = dlvsym(vdso, "__vdso_gettimeofday", "LINUX_2.6");
  *(void**)&seconds = dlvsym(vdso, "__vdso_time", "LINUX_2.6");
  *(void**)&cpu = dlvsym(vdso, "__vdso_getcpu", "LINUX_2.6");
  CHECK(91, gettime && getres && timeofday && seconds && cpu);
  CHECK(1, syscall(SYS_tgkill, getpid(), getpid(), SIGSTOP) == 0);
  for (int i = 0; i < 3; ++i) {
    struct timespec before, between, after;
    const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    syscall(SYS_clock_gettime, clocks[i], &before);
    CHECK(2, gettime(clocks[i], &between) == 0);
    syscall(SYS_clock_gettime, clocks[i], &after);
    CHECK(3, ns(&before) <= ns(&between) && ns(&between) <= ns(&after));
  }
  CHECK(4, gettime(12345, &(struct timespec){0, 0}) < 0);
  struct timeval now;
  const time_t early = (time_t)syscall(SYS_time, NULL);
  CHECK(5, timeofday(&now, NULL) == 0 && now.tv_sec >= early && now.tv_sec <= early + 10);
  time_t stored = 0;
  CHECK(6, seconds(&stored) >= early && stored >= early && stored <= early + 10);
  unsigned number = ~0u;
  CHECK(7, cpu(&number, NULL, NULL) == 0 && number < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
  struct timespec resolution, real;
  syscall(SYS_clock_getres, CLOCK_MONOTONIC, &real);
  CHECK(8, getres(CLOCK_MONOTONIC, &resolution) == 0 && ns(&resolution) == ns(&real));
  CHECK(9, clock_gettime(CLOCK_MONOTONIC, &(struct timespec){0, 0}) == 0 && time(NULL) >= early);
  CHECK(10, printf("restored\n") > 0 && fflush(stdout) == 0);
  return 0;
}
