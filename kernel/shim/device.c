// SPDX-License-Identifier: MIT OR GPL-2.0
// /dev/mitosis-syscalls. World: kernel.
// The first calls' numbers are the original's, which are bare integers: a program that was written
// for it runs unmodified. What is not built is refused by name in the kernel's log.
#include <linux/fs.h>
#include <linux/in.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "shim.h"

static bool keyless;
module_param(keyless, bool, 0444);
MODULE_PARM_DESC(keyless, "serve the original's calls, which have no keys (off)");

enum {
  NIL = 0,
  CONNECT = 3,
  PREPARE = 4,
  RESUME_LOCAL = 5,
  RESUME_REMOTE = 6,
  PREPARE_PING = 7,
  NIL_RPC = 8,
};

// -- the original's ------------------------------------------------------------------------------

static bool is_keyless(const char* what) {
  if (!keyless)
    mitosis_refuse("%s: calls without a key are off: load the module with keyless=1\n", what);
  return keyless;
}

// Whoever has the parent's user may resume it: the original's calls know no keys.
static long prepare_keyless(struct file* file, u64 handler, bool stays) {
  if (!is_keyless("prepare")) return -EACCES;
  return mitosis_prepare(handler, stays ? NULL : file, 0, NULL);
}

struct connect_request {
  u32 machine, nic;
  const char __user* gid;
};
struct resume_request {
  u32 machine, handler;
};

static long connect(const struct connect_request* request) {
  char* gid;
  long error;

  if (!capable(CAP_SYS_ADMIN)) return -EACCES;
  gid = mitosis_fails() ? ERR_PTR(-ENOMEM) : strndup_user(request->gid, 128);
  if (IS_ERR(gid)) return PTR_ERR(gid);
  error = mitosis_machine_connect(request->machine, gid);
  kfree(gid);
  return error;
}

// -- with a structure ----------------------------------------------------------------------------

static long prepare(struct file* file, struct mitosis_prepare* request, void __user* to) {
  long result;

  if (request->flags & ~MITOSIS_STAYS) return -EINVAL;
  result = mitosis_prepare(request->handler, request->flags & MITOSIS_STAYS ? NULL : file,
                           request->lease_seconds, request->key);
  if (result != 0) return result;
  // After the capture: the key is in the parent's memory alone.
  if (copy_to_user(to, request, sizeof(*request))) {
    mitosis_prepared_reclaim(request->handler);
    result = -EFAULT;
  }
  memzero_explicit(request->key, sizeof(request->key));
  return result;
}

static long resume(const struct mitosis_resume* request) {
  if (request->flags & ~MITOSIS_FROM_HERE) return -EINVAL;
  // On the agents' wire that is no key: only the original's calls ask for what has none.
  if (!memchr_inv(request->key, 0, sizeof(request->key))) {
    mitosis_refuse("resume: a key of zeros opens nothing\n");
    return -EACCES;
  }
  if (request->flags & MITOSIS_FROM_HERE || request->machine == mitosis_shim_machine())
    return mitosis_resume_local(request->handler, request->key);
  return mitosis_resume_remote(request->machine, request->handler, request->key);
}

static long list(struct mitosis_list* request, void __user* to) {
  const int error = mitosis_prepared_list(request);

  if (error) return error;
  return copy_to_user(to, request, sizeof(*request)) ? -EFAULT : 0;
}

static long statistics(void __user* to) {
  struct mitosis_statistics now;

  mitosis_statistics_read(&now);
  return copy_to_user(to, &now, sizeof(now)) ? -EFAULT : 0;
}

union request {
  struct connect_request connect;
  struct resume_request resume_remote;
  struct mitosis_prepare prepare;
  struct mitosis_resume resume;
  struct mitosis_reclaim reclaim;
  struct mitosis_lease lease;
  struct mitosis_list list;
};

// How many bytes of a request the call reads; negative: it is no such call.
static long bytes_of(unsigned int number) {
  switch (number) {
    case CONNECT:
      return sizeof(struct connect_request);
    case RESUME_REMOTE:
      return sizeof(struct resume_request);
    case MITOSIS_PREPARE_KEYED:
    case MITOSIS_RESUME_KEYED:
    case MITOSIS_RECLAIM:
    case MITOSIS_RENEW:
    case MITOSIS_LIST:
      return _IOC_SIZE(number);
    default:
      return -ENOTTY;
  }
}

static long with_request(struct file* file, unsigned int number, void __user* argument) {
  union request r;
  const long bytes = bytes_of(number);

  if (bytes < 0) {
    mitosis_refuse("there is no ioctl %#x; docs/cli.md lists them\n", number);
    return bytes;
  }
  if (copy_from_user(&r, argument, bytes)) return -EFAULT;
  switch (number) {
    case CONNECT:
      return connect(&r.connect);
    case RESUME_REMOTE:
      if (!is_keyless("resume")) return -EACCES;
      return mitosis_resume_remote(r.resume_remote.machine, r.resume_remote.handler, NULL);
    case MITOSIS_PREPARE_KEYED:
      return prepare(file, &r.prepare, argument);
    case MITOSIS_RESUME_KEYED:
      return resume(&r.resume);
    case MITOSIS_RECLAIM:
      return r.reclaim.reserved ? -EINVAL : mitosis_prepared_reclaim(r.reclaim.handler);
    case MITOSIS_RENEW:
      return r.lease.reserved ? -EINVAL : mitosis_prepared_renew(r.lease.handler, r.lease.seconds);
    default:
      return list(&r.list, argument);
  }
}

static long mitosis_ioctl(struct file* file, unsigned int number, unsigned long argument) {
  switch (number) {
    case NIL:
      return 0;
    case PREPARE:
      return prepare_keyless(file, argument, false);
    case PREPARE_PING:
      return prepare_keyless(file, argument, true);
    case RESUME_LOCAL:
      return is_keyless("resume") ? mitosis_resume_local(argument, NULL) : -EACCES;
    case NIL_RPC:
      // A connection each: as Connect.
      return capable(CAP_SYS_ADMIN) ? mitosis_machine_ping(argument) : -EACCES;
    case MITOSIS_STATISTICS:
      return statistics((void __user*)argument);
    default:
      return with_request(file, number, (void __user*)argument);
  }
}

// The parent has exited, or closed its last descriptor: what it prepared ends.
static int mitosis_release(struct inode* inode, struct file* file) {
  mitosis_prepared_end(file);
  return 0;
}

static const struct file_operations mitosis_operations = {
    .owner = THIS_MODULE,
    .release = mitosis_release,
    .unlocked_ioctl = mitosis_ioctl,
    .llseek = noop_llseek,
};

// Anyone may open it: who may do what is decided call by call.
static struct miscdevice mitosis_device = {
    .minor = MISC_DYNAMIC_MINOR,
    .name = "mitosis-syscalls",
    .mode = 0666,
    .fops = &mitosis_operations,
};

int mitosis_device_begin(void) {
  return misc_register(&mitosis_device);
}

void mitosis_device_end(void) {
  misc_deregister(&mitosis_device);
}
