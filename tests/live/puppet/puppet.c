/* SPDX-License-Identifier: MIT */
/* Puppet: a process that does what the lines on its standard input say, and answers each with one
 * line. World: user. It is parent, child, and the child's child: a resumed puppet goes on hearing
 * on whatever its launcher has as standard input. At the end of the input it checks all its memory
 * and exits with 0. A wrong byte anywhere exits with 99. */
#include <errno.h>
#include <mitosis/mitosis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "device.h"
#include "files.h"
#include "mischief.h"
#include "model.h"
#include "stress.h"
#include "talk.h"

/* A line: "VERB A B", "VERB A TEXT" or "VERB TEXT". */
struct order {
  char verb[32], first[512], second[512];
  uint64_t a, b; /* `first` and `second` as numbers, 0 where they are none */
};

static void say_failure(void) {
  say("error %d %s", mitosis_errno(), mitosis_strerror());
}

static void say_prepared(int who, const struct mitosis_key* key) {
  char text[33];
  if (who == MITOSIS_CHILD) {
    say("child %d", (int)getpid());
  } else {
    mitosis_key_format(key, text);
    say("parent %s", text);
  }
}

/* "prepare HANDLER [POLICY]": "parent KEY", in a child "child PID", or "error NUMBER SENTENCE". A
 * module has its own policy. */
static void do_prepare(const struct order* order) {
  struct mitosis_key key;
  const char* policy = order->second[0] != '\0' ? order->second : NULL;
  if (device_is_used()) {
    const int who = device_prepare(order->a, key.bytes);
    if (who >= 0)
      say_prepared(who, &key);
    else
      say("error %d %s", errno, strerror(errno));
    return;
  }
  const int sd = mitosis_open();
  const int who = sd < 0 ? -1 : mitosis_prepare(sd, order->a, policy, &key);
  if (who >= 0)
    say_prepared(who, &key);
  else
    say_failure();
  if (sd >= 0) mitosis_close(sd);
}

static void do_reclaim(const struct order* order) {
  const int sd = mitosis_open();
  if (sd >= 0 && mitosis_reclaim(sd, order->a) == 0) {
    say("ok");
  } else {
    say_failure();
  }
  if (sd >= 0) mitosis_close(sd);
}

static void do_map(const struct order* order) {
  const struct area* area = area_map(order->a);
  say(area != NULL && area->at != NULL ? "ok" : "error no memory");
}

/* Pages FIRST to FIRST + COUNT of area 0; fewer at its end. */
static size_t page_count(const struct order* order) {
  const size_t pages = areas[0].pages;
  if (order->a >= pages) return 0;
  return order->b < pages - order->a ? order->b : pages - order->a;
}
static void do_read(const struct order* order) {
  const size_t count = page_count(order);
  for (size_t i = order->a; i < order->a + count; ++i) page_check(&areas[0], i);
  say("ok %zu", count);
}
static void do_write(const struct order* order) {
  const size_t count = page_count(order);
  for (size_t i = order->a; i < order->a + count; ++i) page_write(&areas[0], i);
  say("ok %zu", count);
}
/* As read, with a line "at PAGE" every 64 pages. */
static void do_tell(const struct order* order) {
  const size_t count = page_count(order);
  for (size_t i = order->a; i < order->a + count; ++i) {
    page_check(&areas[0], i);
    if (i % 64 == 0) say("at %zu", i);
  }
  say("ok %zu", count);
}
static void do_drop(const struct order* order) {
  const size_t count = page_count(order);
  char* at = areas[0].at + order->a * page_size;
  if (madvise(at, count * page_size, MADV_DONTNEED) != 0) wrong("MADV_DONTNEED");
  for (size_t i = order->a; i < order->a + count; ++i) {
    record_set(&areas[0], i, record_of(&areas[0], i).id, 0);
  }
  say("ok %zu", count);
}
/* One byte, checked by nobody: for a page that cannot be had. */
static void do_touch(const struct order* order) {
  say("ok %d", *(volatile char*)(areas[0].at + order->a * page_size));
}

/* "stress SEED MILLISECONDS": "ok OPERATIONS" */
static void do_stress(const struct order* order) {
  say("ok %llu", (unsigned long long)stress(order->a, (int)order->b));
}
static void do_fork(const struct order* order) {
  fork_both(order->a, (int)order->b);
  say("ok");
}
/* "forks SEED MILLISECONDS": "ok COUNT" */
static void do_forks(const struct order* order) {
  say("ok %llu", (unsigned long long)fork_many(order->a, (int)order->b));
}
/* Leaves a process behind that sleeps until its parent is gone and then reads the page. */
static void do_orphan(const struct order* order) {
  (void)record_of(&areas[0], order->a); /* so that it is there */
  const pid_t parent = getpid();
  usleep((useconds_t)(getppid() == parent)); /* nor may these two have to fault in it */
  if (fork() != 0) {
    say("ok");
    return;
  }
  for (int i = 0; i < 500 && getppid() == parent; ++i) usleep(10000);
  page_check(&areas[0], order->a);
  _exit(0);
}
static void do_probes(const struct order* order) {
  probes_set(order->a);
  say("ok");
}
static void do_check(const struct order* order) {
  (void)order;
  probes_check();
  say("ok %zu", areas_check());
}

static void do_open(const struct order* order) {
  say(files_open(order->first) == 0 ? "ok" : "error cannot open");
}
static void do_file(const struct order* order) {
  files_read((int)order->a);
}
static void do_twin(const struct order* order) {
  files_read_dup((int)order->a);
}
static void do_append(const struct order* order) {
  files_append(order->first);
}
static void do_have(const struct order* order) {
  say("ok %d", mischief(order->first));
}

static void do_who(const struct order* order) {
  (void)order;
  say("ok %d %d %d %d", (int)getuid(), (int)geteuid(), (int)getgid(), (int)getegid());
}
static void do_exit(const struct order* order) {
  exit((int)order->a);
}

static const struct {
  const char* verb;
  void (*run)(const struct order* order);
} verbs[] = {
    {"prepare", do_prepare}, {"reclaim", do_reclaim}, {"map", do_map},       {"read", do_read},
    {"write", do_write},     {"tell", do_tell},       {"drop", do_drop},     {"touch", do_touch},
    {"stress", do_stress},   {"fork", do_fork},       {"probes", do_probes}, {"check", do_check},
    {"open", do_open},       {"file", do_file},       {"twin", do_twin},     {"append", do_append},
    {"have", do_have},       {"who", do_who},         {"exit", do_exit},     {"orphan", do_orphan},
    {"forks", do_forks},
};

static void obey(const char* line) {
  struct order order;
  memset(&order, 0, sizeof order);
  sscanf(line, "%31s %511s %511s", order.verb, order.first, order.second);
  order.a = strtoull(order.first, NULL, 10);
  order.b = strtoull(order.second, NULL, 10);
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
    if (strcmp(order.verb, verbs[i].verb) == 0) {
      verbs[i].run(&order);
      return;
    }
  }
  say("error what is \"%s\"?", line);
}

/* Says where it was, which a status of 139 would not. SIGBUS is left alone: tests expect it. */
static void on_fault(int number, siginfo_t* info, void* context) {
  const ucontext_t* at = context;
  (void)number;
  wrong("SIGSEGV at %p, code %d, instruction %#llx", info->si_addr, info->si_code,
        (unsigned long long)at->uc_mcontext.gregs[REG_RIP]);
}
static void name_faults(void) {
  static char stack[16384];
  const stack_t alternate = {.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaltstack(&alternate, NULL);
  sigaction(SIGSEGV, &action, NULL);
}

int main(void) {
  name_faults();
  /* A local that lives in the frame which the child goes on in. */
  volatile uint64_t on_stack[512];
  for (uint64_t i = 0; i < 512; ++i) on_stack[i] = i * i + 7;
  probes_set(1);
  char line[600];
  while (hear(line, sizeof line)) {
    obey(line);
    for (uint64_t i = 0; i < 512; ++i) {
      if (on_stack[i] != i * i + 7) wrong("stack: word %llu", (unsigned long long)i);
    }
  }
  probes_check();
  areas_check();
  return 0;
}
