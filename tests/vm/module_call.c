// SPDX-License-Identifier: MIT
// One call of /dev/mitosis-syscalls for the tests of mitosis.ko, and what it says: on one line its
// result, or the error in words.
#define _GNU_SOURCE
#include <mitosis/fork/kernel/device.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CONNECT = 3 };
struct connect_req {
  unsigned int machine_id, nic_id;
  const char* gid;
};
enum { ROOM = 8 };

static int device;

static unsigned long number_of(const char* text) {
  return strtoul(text, NULL, 0);
}

static int say(const char* what, int result) {
  printf("%s: %s\n", what, result == 0 ? "done" : strerror(errno));
  return result == 0 ? 0 : 1;
}

static int call(char** words) {
  const int result = ioctl(device, number_of(words[0]), number_of(words[1]));
  printf("%d %d\n", result, result < 0 ? errno : 0);
  return 0;
}

static int do_connect(char** words) {
  const struct connect_req request = {(unsigned)number_of(words[0]), 0, words[1]};
  return say("connect", ioctl(device, CONNECT, &request));
}

static int reclaim(char** words) {
  const struct mitosis_reclaim request = {number_of(words[0]), 0};
  return say("reclaim", ioctl(device, MITOSIS_RECLAIM, &request));
}

static int renew(char** words) {
  const struct mitosis_lease request = {number_of(words[0]), (unsigned)number_of(words[1]), 0};
  return say("renew", ioctl(device, MITOSIS_RENEW, &request));
}

// A parent of two pages' worth of memory, that stays until its lease ends; the program does not.
static int pin(char** words) {
  struct mitosis_prepare request = {
      .handler = number_of(words[0]),
      .flags = MITOSIS_STAYS,
      .lease_seconds = (unsigned)number_of(words[1]),
  };
  const int result = ioctl(device, MITOSIS_PREPARE_KEYED, &request);
  if (result != 1) return say("pin", result);
  puts("child fine");
  return 0;
}

// Does not return where it succeeds. A machine below zero: this one.
static int resume(char** words) {
  struct mitosis_resume request = {.handler = number_of(words[1])};
  const long machine = strtol(words[0], NULL, 0);
  if (machine < 0)
    request.flags = MITOSIS_FROM_HERE;
  else
    request.machine = (unsigned)machine;
  for (int i = 0; i < MITOSIS_KEY_BYTES; ++i) sscanf(words[2] + 2 * i, "%2hhx", &request.key[i]);
  return say("resume", ioctl(device, MITOSIS_RESUME_KEYED, &request));
}

static int list(char** words) {
  (void)words;
  struct mitosis_entry entries[ROOM];
  struct mitosis_list request = {.entries = (unsigned long)entries, .room = ROOM};
  if (ioctl(device, MITOSIS_LIST, &request) != 0) return say("list", -1);
  for (unsigned i = 0; i < request.count && i < ROOM; ++i) {
    const struct mitosis_entry* e = &entries[i];
    printf("%llu pages=%llu pid=%u uid=%u lease=%u flags=%u users=%u\n", e->handler, e->pages,
           e->pid, e->uid, e->lease_seconds, e->flags, e->users);
  }
  return 0;
}

static int statistics(char** words) {
  (void)words;
  struct mitosis_statistics s;
  if (ioctl(device, MITOSIS_STATISTICS, &s) != 0) return say("statistics", -1);
  printf(
      "prepared=%llu pages=%llu children=%llu prepares=%llu local_resumes=%llu "
      "remote_resumes=%llu faults=%llu failed_faults=%llu remote_pages=%llu doorbells=%llu "
      "accepted=%llu refused=%llu refused_prepares=%llu prepares_unsupported=%llu "
      "prepares_in_use=%llu prepares_without_room=%llu refused_resumes=%llu "
      "resumes_unsupported=%llu resumes_unknown=%llu resumes_denied=%llu resumes_unreachable=%llu "
      "ahead_pages=%llu zero_pages=%llu fetched_pages=%llu cached_pages=%llu dropped_pages=%llu "
      "reads=%llu read_bytes=%llu fallback_reads=%llu connections=%llu broken_connections=%llu\n",
      s.prepared_now, s.prepared_pages_now, s.children_now, s.prepares, s.local_resumes,
      s.remote_resumes, s.faults, s.failed_faults, s.remote_pages, s.doorbells, s.accepted_peers,
      s.refused_peers, s.refused_prepares, s.prepares_unsupported, s.prepares_in_use,
      s.prepares_without_room, s.refused_resumes, s.resumes_unsupported, s.resumes_unknown,
      s.resumes_denied, s.resumes_unreachable, s.ahead_pages, s.zero_pages, s.fetched_pages,
      s.cached_pages, s.dropped_pages, s.reads, s.read_bytes, s.fallback_reads, s.connections,
      s.broken_connections);
  return 0;
}

static const struct {
  const char* name;
  int words;
  int (*run)(char** words);
} commands[] = {
    {"call", 2, call},       {"connect", 2, do_connect},
    {"reclaim", 1, reclaim}, {"renew", 2, renew},
    {"pin", 2, pin},         {"resume", 3, resume},
    {"list", 0, list},       {"statistics", 0, statistics},
};

int main(int argc, char** argv) {
  device = open("/dev/mitosis-syscalls", O_RDWR);
  if (device < 0) {
    perror("/dev/mitosis-syscalls");
    return 1;
  }
  for (unsigned i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; ++i) {
    if (strcmp(argv[1], commands[i].name) == 0 && argc == 2 + commands[i].words) {
      return commands[i].run(argv + 2);
    }
  }
  fputs(
      "usage: module_call call NUMBER ARGUMENT | connect MACHINE ADDRESS | reclaim HANDLER | "
      "renew HANDLER SECONDS | pin HANDLER LEASE | resume MACHINE HANDLER KEY | list | "
      "statistics\n",
      stderr);
  return 2;
}
