// SPDX-License-Identifier: MIT
// A program of /dev/mitosis-syscalls for module_test.py, which knows the device and numbers alone.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  const int device = open("/dev/mitosis-syscalls", O_RDWR);
  if (device < 0) {
    perror("/dev/mitosis-syscalls");
    return 1;
  }
  if (strcmp(what, "call") == 0 && argc > 3) {  // NUMBER ARGUMENT: result and errno
    const unsigned long number = strtoul(argv[2], NULL, 0);
    const int result = ioctl(device, number, strtoul(argv[3], NULL, 0));
    printf("%d %d\n", result, result < 0 ? errno : 0);
    return 0;
  }
  if (strcmp(what, "hold") == 0) {
    printf("held %d\n", (int)getpid());
    fflush(stdout);
    for (;;) pause();
  }
  fprintf(stderr, "usage: module_program call NUMBER ARGUMENT | hold\n");
  return 2;
}
