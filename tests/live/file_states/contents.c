/* SPDX-License-Identifier: MIT */
/* Files whose content is carried, and locks. World: user. */
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "state.h"

static int one = -1, two = -1;

static void expect_text(int fd, const char* text) {
  char got[64] = "";
  const size_t length = strlen(text);
  EXPECT(read(fd, got, sizeof got) == (ssize_t)length && memcmp(got, text, length) == 0);
}

void setup_memfd(void) {
  one = memfd_create("data", MFD_CLOEXEC);
  EXPECT(write(one, "in a memfd", 10) == 10);
  EXPECT(ftruncate(one, 1 << 30) == 0); /* a hole to the end */
  EXPECT(pwrite(one, "far", 3, (1 << 30) - 3) == 3);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", one);
  two = open(path, O_RDONLY); /* the same file, opened on its own */
  EXPECT(lseek(one, 5, SEEK_SET) == 5 && lseek(two, 3, SEEK_SET) == 3);
  EXPECT(fchmod(one, 0640) == 0);
}
void check_memfd(void) {
  char got[16];
  struct stat is;
  EXPECT(fstat(one, &is) == 0 && is.st_size == 1 << 30 && (is.st_mode & 0777) == 0640);
  EXPECT(is.st_blocks * 512 < 1 << 20);
  EXPECT(read(one, got, 5) == 5 && memcmp(got, "memfd", 5) == 0);
  EXPECT(pread(one, got, 8, (1 << 30) - 3) == 3 && memcmp(got, "far", 3) == 0);
  EXPECT(pwrite(one, "IN", 2, 0) == 2);
  EXPECT(read(two, got, 2) == 2 && memcmp(got, "a ", 2) == 0);
  EXPECT(pread(two, got, 4, 0) == 4 && memcmp(got, "IN a", 4) == 0);
  EXPECT(write(two, "x", 1) == -1 && errno == EBADF);
  EXPECT(fcntl(one, F_GET_SEALS) == F_SEAL_SEAL);
}

void setup_memfd_sealed(void) {
  one = memfd_create("sealed", MFD_ALLOW_SEALING);
  EXPECT(write(one, "for ever", 8) == 8 && lseek(one, 0, SEEK_SET) == 0);
  EXPECT(fcntl(one, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
}
void check_memfd_sealed(void) {
  expect_text(one, "for ever");
  EXPECT(fcntl(one, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK));
  EXPECT(write(one, "x", 1) == -1 && errno == EPERM);
  EXPECT(ftruncate(one, 100) == 0);
}

void setup_deleted(void) {
  one = open(in_folder("deleted"), O_RDWR | O_CREAT | O_APPEND, 0600);
  two = open(in_folder("deleted"), O_RDONLY);
  EXPECT(write(one, "nobody sees", 11) == 11 && unlink(in_folder("deleted")) == 0);
}
void check_deleted(void) {
  expect_text(two, "nobody sees");
  EXPECT(write(one, " it", 3) == 3);
  expect_text(two, " it");
}

static char path[512];
void setup_missing(void) {
  snprintf(path, sizeof path, "%s", in_folder("missing"));
  one = open(path, O_RDWR | O_CREAT, 0600);
  EXPECT(write(one, "what it was", 11) == 11 && lseek(one, 5, SEEK_SET) == 5);
}
void check_missing(void) { /* the test removes it before the child is resumed */
  expect_text(one, "it was");
  EXPECT(access(path, F_OK) == -1 && errno == ENOENT);
}

void setup_append(void) {
  one = open(in_folder("log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
  EXPECT(write(one, "before\n", 7) == 7);
}
void check_append(void) {
  EXPECT((fcntl(one, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY));
  struct stat before, after;
  EXPECT(fstat(one, &before) == 0 && write(one, "line\n", 5) == 5 && fstat(one, &after) == 0);
  EXPECT(after.st_size == before.st_size + 5);
}

void setup_path_only(void) {
  one = open("/", O_PATH | O_CLOEXEC);
  two = open(folder, O_RDONLY | O_DIRECTORY);
}
void check_path_only(void) {
  struct stat is;
  EXPECT(fstatat(one, "proc", &is, 0) == 0 && S_ISDIR(is.st_mode));
  EXPECT((fcntl(one, F_GETFL) & O_PATH) != 0);
  EXPECT(faccessat(two, ".", X_OK, 0) == 0);
}

/* The test gives the child's machine another file of that name: on the same one, the parent keeps
 * its lock and the child is refused. */
static void expect_lock(int fd, int works) {
  EXPECT(fd > 0);
  EXPECT((flock(fd, LOCK_EX | LOCK_NB) == 0) == works);
}
void setup_flock(void) {
  one = open(in_folder("locked"), O_RDWR | O_CREAT, 0600);
  two = open(in_folder("locked"), O_RDWR);
  EXPECT(flock(one, LOCK_EX) == 0);
}
void check_flock(void) {
  expect_lock(two, 0);
  EXPECT(flock(one, LOCK_UN) == 0);
  expect_lock(two, 1);
}

static struct flock range(short type, off_t start, off_t length) {
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}
void setup_ofd_lock(void) {
  one = open(in_folder("locked"), O_RDWR | O_CREAT, 0600);
  two = open(in_folder("locked"), O_RDWR);
  struct flock lock = range(F_WRLCK, 10, 5);
  EXPECT(fcntl(one, F_OFD_SETLK, &lock) == 0);
}
void check_ofd_lock(void) {
  struct flock lock = range(F_WRLCK, 0, 0);
  EXPECT(fcntl(two, F_OFD_GETLK, &lock) == 0);
  EXPECT(lock.l_type == F_WRLCK && lock.l_start == 10 && lock.l_len == 5);
}

void setup_posix_lock(void) {
  one = open(in_folder("locked"), O_RDWR | O_CREAT, 0600);
  two = open(in_folder("locked"), O_RDWR);
  struct flock lock = range(F_RDLCK, 100, 0);
  EXPECT(fcntl(one, F_SETLK, &lock) == 0);
}
void check_posix_lock(void) {
  struct flock lock = range(F_WRLCK, 0, 0); /* another owner sees it; F_OFD_GETLK asks as one */
  EXPECT(fcntl(two, F_OFD_GETLK, &lock) == 0);
  EXPECT(lock.l_type == F_RDLCK && lock.l_start == 100 && lock.l_len == 0);
  EXPECT(lock.l_pid == getpid());
}
