// SPDX-License-Identifier: MIT
// A program of the original interface: it knows nothing of mitosis but a device and its ioctls, and
// runs with the kernel module, or without it by
//   mitosis run -- ioctl_client connect 10.0.0.1:7411 0   # on the child's machine, as root
//   mitosis run -- ioctl_client parent 73                 # on the parent's
//   mitosis run -- ioctl_client child 0 73                # on the child's: counts on from 1
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

enum { Nil = 0, Connect = 3, Prepare = 4, ResumeRemote = 6, PreparePing = 7 };
struct connect_req_t {
  unsigned int machine_id, nic_id;
  const char* gid;
};
struct resume_remote_req_t {
  unsigned int machine_id, handler_id;
};

/// Until its input ends: with Prepare the children need the parent to stay.
static int count(int from, int to) {
  for (int i = from; i <= to; ++i) {
    std::printf("time %d\n", i);
    usleep(20'000);
  }
  while (from > 0 && std::getchar() != EOF) {
  }
  return 0;
}

static unsigned number(const char* text) {
  return static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::string what = argc > 1 ? argv[1] : "";
  if (argc < (what == "connect" || what == "child" ? 4 : 3)) {
    std::fputs("usage: connect ADDRESS MACHINE | parent HANDLER | child MACHINE HANDLER\n", stderr);
    return 2;
  }
  const int sd = open("/dev/mitosis-syscalls", O_RDWR);
  int result = sd;
  if (sd >= 0 && what == "connect") {
    const connect_req_t request = {number(argv[3]), 0, argv[2]};
    result = ioctl(sd, Connect, &request);
  } else if (sd >= 0 && (what == "parent" || what == "pinned")) {
    count(0, 0);
    result = ioctl(sd, what == "pinned" ? PreparePing : Prepare, number(argv[2]));
    // From here on there are the parent and any number of children, each with the device open.
    if (result >= 0 && ioctl(sd, Nil, 0) == 0) return what == "pinned" ? 0 : count(1, 10);
  } else if (sd >= 0 && what == "child") {
    const resume_remote_req_t request = {number(argv[2]), number(argv[3])};
    result = ioctl(sd, ResumeRemote, &request);  // does not return where it succeeds
  }
  if (result < 0) std::printf("%s: %s\n", what.c_str(), std::strerror(errno));
  return result < 0 ? 1 : 0;
}
