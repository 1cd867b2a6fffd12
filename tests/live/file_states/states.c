/* SPDX-License-Identifier: MIT */
/* A process with one state of the table. World: user.
 *   states NAME HANDLER FOLDER
 * Says "parent KEY", and each time it hears a line checks the state and says "ok". A child checks
 * once. What is not as it has to be: "wrong ..." and exit status 99. */
#include "state.h"

#include <mitosis/mitosis.h>

int is_child = 0;
unsigned prepare_flags = 0;
const char* folder = "";

const char* in_folder(const char* name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

int ready(int fd) {
  struct pollfd one = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  EXPECT(poll(&one, 1, 0) >= 0);
  return one.revents;
}

int ready_soon(int fd, short events) {
  struct pollfd one = {fd, events, 0};
  return poll(&one, 1, 10000) == 1 ? one.revents : 0;
}

static const struct {
  const char* name;
  void (*setup)(void);
  void (*check)(void);
} states[] = {
#define STATE(name) {#name, setup_##name, check_##name},
#include "states.def"
#undef STATE
};

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  folder = argv[3];
  for (size_t i = 0; i < sizeof states / sizeof *states; ++i) {
    if (strcmp(states[i].name, argv[1]) != 0) continue;
    states[i].setup();
    const int sd = mitosis_open();
    struct mitosis_key key;
    const int who = mitosis_prepare_as(sd, strtoull(argv[2], NULL, 10), NULL, prepare_flags, &key);
    if (who < 0) {
      say("error %s", mitosis_strerror());
      return 1;
    }
    if (who == MITOSIS_CHILD) {
      is_child = 1;
      mitosis_close(sd);
      states[i].check();
      say("child ok");
      return 0;
    }
    mitosis_close(sd);
    char text[33], line[64];
    mitosis_key_format(&key, text);
    say("parent %s", text);
    if (!hear(line, sizeof line)) return 3;
    states[i].check();
    say("ok");
    return 0;
  }
  return 2;
}
