/* SPDX-License-Identifier: MIT */
/* States: memory that is shared, among the process's own mappings and with processes it forks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "state.h"

enum { page = 4096, pages = 300 };

/* Word `i` of a page in the version that `who` has written last. */
static unsigned long long word(size_t at, size_t i, enum who who) {
  return (at * 512 + i) * 0x9e3779b97f4a7c15ull + (unsigned long long)who;
}
static void fill(char* memory, size_t count, enum who who) {
  for (size_t p = 0; p < count; ++p) {
    unsigned long long* at = (unsigned long long*)(memory + p * page);
    for (size_t i = 0; i < 512; ++i) at[i] = word(p, i, who);
  }
}
static void expect(const char* memory, size_t count, enum who who, const char* what) {
  for (size_t p = 0; p < count; ++p) {
    const unsigned long long* at = (const unsigned long long*)(memory + p * page);
    for (size_t i = 0; i < 512; ++i) {
      must(at[i] == word(p, i, who), "%s: page %zu, word %zu", what, p, i);
    }
  }
}

/* The version that this process finds, and the one that it leaves: nobody else's may be seen. */
static enum who found = before;

/* A process that is forked sees what is written here, and the other way round. */
static void share_with_a_fork(char* memory, enum who who) {
  const pid_t pid = fork();
  must_call(pid, "fork");
  if (pid == 0) {
    expect(memory, pages, who, "in the forked process");
    memory[7] = 'x';
    _exit(0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  must(status == 0, "the forked process: status %x", (unsigned)status);
  must(memory[7] == 'x', "what the forked process wrote is not seen");
}

/* ---- anonymous ------------------------------------------------------------------------------- */

static char* anonymous;

void set_shared_anonymous(void) {
  anonymous = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(anonymous != MAP_FAILED, "mmap");
  fill(anonymous, pages, before);
  /* Splits it, without a change. */
  must_call(mprotect(anonymous + 40 * page, 10 * page, PROT_READ), "mprotect");
}

void check_shared_anonymous(enum who who) {
  expect(anonymous, pages, found, "anonymous");
  must_call(mprotect(anonymous + 40 * page, 10 * page, PROT_READ | PROT_WRITE), "mprotect");
  fill(anonymous, pages, who);
  share_with_a_fork(anonymous, who);
  fill(anonymous, pages, who);
  must_call(mprotect(anonymous + 40 * page, 10 * page, PROT_READ), "mprotect");
  found = who;
}

/* ---- an object that two mappings show, one of them from its 100th page on ----------------------
 */

static char *first, *second;

static void map_both(int fd) {
  must_call(ftruncate(fd, pages * page), "ftruncate");
  first = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  second = mmap(NULL, (pages - 100) * page, PROT_READ, MAP_SHARED, fd, 100 * page);
  must(first != MAP_FAILED && second != MAP_FAILED, "mmap");
  close(fd);
  fill(first, pages, before);
}
static void check_both(enum who who) {
  expect(first, pages, found, "the first mapping");
  must(memcmp(first + 100 * page, second, (pages - 100) * page) == 0, "the second mapping differs");
  fill(first, pages, who);
  must(memcmp(first + 100 * page, second, (pages - 100) * page) == 0, "it is not the same object");
  share_with_a_fork(first, who);
  fill(first, pages, who);
  found = who;
}

void set_shared_memfd(void) {
  const int fd = memfd_create("frames", MFD_CLOEXEC);
  must_call(fd, "memfd_create");
  map_both(fd);
}
void check_shared_memfd(enum who who) {
  check_both(who);
}

static int posix_object(void) {
  char name[64];
  snprintf(name, sizeof name, "/dev/shm/mitosis-state-%d", (int)getpid());
  const int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  must_call(fd, name);
  unlink(name);
  return fd;
}
void set_shared_posix(void) {
  map_both(posix_object());
}
void check_shared_posix(enum who who) {
  check_both(who);
}

void set_shared_deleted(void) {
  char name[] = "/tmp/mitosis-state-XXXXXX";
  const int fd = mkstemp(name);
  must_call(fd, name);
  unlink(name);
  map_both(fd);
}
void check_shared_deleted(enum who who) {
  check_both(who);
}

/* ---- much of nothing, and an end within a page
 * --------------------------------------------------- */

static char *sparse, *short_one;
static const size_t sparse_bytes = (size_t)1 << 30;

void set_shared_sparse(void) {
  sparse = mmap(NULL, sparse_bytes, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const int fd = memfd_create("short", 0);
  must_call(ftruncate(fd, 2 * page + 100), "ftruncate");
  short_one = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  must(sparse != MAP_FAILED && short_one != MAP_FAILED, "mmap");
  close(fd);
  for (size_t at = 0; at < sparse_bytes; at += sparse_bytes / 4) sparse[at + 5] = 'a';
  memset(short_one, 'b', 2 * page + 100);
}

void check_shared_sparse(enum who who) {
  (void)who;
  for (size_t at = 0; at < sparse_bytes; at += sparse_bytes / 4) {
    must(sparse[at + 5] == 'a' && sparse[at + 4] == 0, "at %zu", at);
    must(sparse[at + page] == 0, "a hole at %zu", at + page);
  }
  must(short_one[2 * page + 99] == 'b' && short_one[2 * page + 100] == 0, "the end");
}

/* ---- System V: a segment that is attached twice ---------------------------------------------- */

static int segment = -1;

void set_shared_segment(void) {
  segment = shmget(IPC_PRIVATE, pages * page - 100, IPC_CREAT | 0600);
  must_call(segment, "shmget");
  first = shmat(segment, NULL, 0);
  second = shmat(segment, NULL, SHM_RDONLY);
  must(first != (char*)-1 && second != (char*)-1, "shmat");
  must_call(shmctl(segment, IPC_RMID, NULL), "shmctl");
  fill(first, pages, before);
}

void check_shared_segment(enum who who) {
  expect(first, pages, found, "the segment");
  must(memcmp(first, second, pages * page) == 0, "the second attachment differs");
  fill(first, pages, who);
  must(memcmp(first, second, pages * page) == 0, "it is not the same segment");
  share_with_a_fork(first, who);
  fill(first, pages, who);
  found = who;
  struct shmid_ds about;
  const int known = shmctl(segment, IPC_STAT, &about) == 0 && about.shm_cpid == getpid();
  must(known == (who != child), "who knows the segment by its id");
}

/* ---- mapped and open at once: one object ------------------------------------------------------
 */

static int opened = -1, copied = -1, reading = -1;

static void map_open(int fd) {
  opened = fd;
  copied = dup(fd);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  reading = open(path, O_RDONLY);
  must_call(reading, path);
  must_call(ftruncate(fd, pages * page), "ftruncate");
  first = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  must(first != MAP_FAILED, "mmap");
  fill(first, pages, before);
  must(lseek(opened, 3 * page, SEEK_SET) == 3 * page, "lseek");
  must(lseek(reading, 5 * page, SEEK_SET) == 5 * page, "lseek");
}
static void check_open(enum who who) {
  expect(first, pages, found, "the mapping");
  must(lseek(copied, 0, SEEK_CUR) == 3 * page, "the offset of two descriptors");
  must(lseek(reading, 0, SEEK_CUR) == 5 * page, "the offset of the third");
  fill(first, pages, who);
  static char read_back[pages * page];
  must(pread(reading, read_back, sizeof read_back, 0) == pages * page, "pread");
  expect(read_back, pages, who, "what the descriptor reads");
  must(pwrite(copied, "by descriptor", 13, page) == 13, "pwrite");
  must(memcmp(first + page, "by descriptor", 13) == 0, "what it writes is not in the mapping");
  fill(first, pages, who);
  share_with_a_fork(first, who);
  fill(first, pages, who);
  struct stat is;
  must_call(fstat(opened, &is), "fstat");
  must((is.st_mode & 07777) == 0640 && is.st_uid == getuid(), "mode %o of user %d", is.st_mode,
       (int)is.st_uid);
  found = who;
}

void set_shared_open_memfd(void) {
  const int fd = memfd_create("buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  must_call(fd, "memfd_create");
  must_call(fchmod(fd, 0640), "fchmod");
  map_open(fd);
  must_call(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), "F_ADD_SEALS");
}
void check_shared_open_memfd(enum who who) {
  check_open(who);
  must(fcntl(opened, F_GET_SEALS) == F_SEAL_SHRINK, "its seals");
}

/* It keeps its path in the parent; the child's is its own. */
static char posix_name[64];
static pid_t creator;
static void remove_path(void) {
  if (getpid() == creator) unlink(posix_name);
}

void set_shared_open_posix(void) {
  snprintf(posix_name, sizeof posix_name, "/dev/shm/mitosis-open-%d", (int)getpid());
  const int fd = open(posix_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  must_call(fd, posix_name);
  creator = getpid();
  atexit(remove_path);
  map_open(fd);
}
void check_shared_open_posix(enum who who) {
  check_open(who);
  struct stat named, is;
  must_call(fstat(opened, &is), "fstat");
  const int same =
      stat(posix_name, &named) == 0 && named.st_ino == is.st_ino && named.st_dev == is.st_dev;
  must(same == (who != child), "whose is the path");
}

/* Nobody may map it for writing any more, but this mapping stays. */
static char* read_only;
static int sealed = -1;

void set_shared_sealed(void) {
  set_shared_open_memfd();
  must_call(fcntl(opened, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), "F_ADD_SEALS");
  sealed = memfd_create("constants", MFD_ALLOW_SEALING);
  must_call(ftruncate(sealed, page), "ftruncate");
  must(write(sealed, "constant", 8) == 8, "write");
  must_call(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), "F_ADD_SEALS");
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", sealed);
  const int fd = open(path, O_RDONLY);
  read_only = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
  must(read_only != MAP_FAILED, "mmap");
  close(fd);
}
void check_shared_sealed(enum who who) {
  expect(first, pages, found, "the mapping");
  fill(first, pages, who);
  found = who;
  void* const again = mmap(NULL, page, PROT_WRITE, MAP_SHARED, opened, 0);
  must(again == MAP_FAILED && errno == EPERM, "it can be mapped for writing");
  must(fcntl(opened, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), "its seals");
  must(memcmp(read_only, "constant", 8) == 0, "what is sealed");
  must(pwrite(sealed, "x", 1, 0) < 0 && errno == EPERM, "it can be written");
  must(fcntl(sealed, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_GROW), "the other's seals");
}
