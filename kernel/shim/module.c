// SPDX-License-Identifier: MIT OR GPL-2.0
// The module's beginning and end, and its device: /dev/mitosis-syscalls. World: kernel.
// The ioctls' numbers are the original's, which are bare integers: a program that was written for
// it runs unmodified. What is not built yet is refused by name in the kernel's log.
#include <linux/fs.h>
#include <linux/in.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <mitosis/fork/kernel/device.h>

#include "shim.h"

static bool keyless;
module_param(keyless, bool, 0444);
MODULE_PARM_DESC(keyless, "serve the original's calls, which have no keys (off)");

enum {
  MITOSIS_NIL = 0,
  MITOSIS_CONNECT = 3,
  MITOSIS_PREPARE = 4,
  MITOSIS_RESUME_LOCAL = 5,
  MITOSIS_RESUME_REMOTE = 6,
  MITOSIS_PREPARE_PING = 7,
  MITOSIS_NIL_RPC = 8,
};

// Whoever has the parent's user may resume it: the original's calls know no keys.
static long prepare(struct file* file, u64 handler, bool stays) {
  if (!keyless) {
    mitosis_refuse("prepare: calls without a key are off: load the module with keyless=1\n");
    return -EACCES;
  }
  return mitosis_prepare(handler, stays ? NULL : file);
}

struct connect_request {
  u32 machine, nic;
  const char __user* gid;
};
struct resume_request {
  u32 machine, handler;
};

static long connect(unsigned long argument) {
  struct connect_request request;
  char* gid;
  long error;

  if (!capable(CAP_SYS_ADMIN)) return -EACCES;
  if (copy_from_user(&request, (const void __user*)argument, sizeof(request))) return -EFAULT;
  gid = strndup_user(request.gid, 128);
  if (IS_ERR(gid)) return PTR_ERR(gid);
  error = mitosis_machine_connect(request.machine, gid);
  kfree(gid);
  return error;
}

static long resume_remote(unsigned long argument) {
  struct resume_request request;

  if (copy_from_user(&request, (const void __user*)argument, sizeof(request))) return -EFAULT;
  return mitosis_resume_remote(request.machine, request.handler);
}

static long reclaim(unsigned long argument) {
  struct mitosis_reclaim request;

  if (copy_from_user(&request, (const void __user*)argument, sizeof(request))) return -EFAULT;
  return request.reserved ? -EINVAL : mitosis_prepared_reclaim(request.handler);
}

static long ping(unsigned long machine) {
  struct sockaddr_in address;
  int error = mitosis_machine_find(machine, &address);

  return error ? error : mitosis_remote_ping(&address);
}

static long mitosis_ioctl(struct file* file, unsigned int number, unsigned long argument) {
  switch (number) {
    case MITOSIS_NIL:
      return 0;
    case MITOSIS_CONNECT:
      return connect(argument);
    case MITOSIS_PREPARE:
      return prepare(file, argument, false);
    case MITOSIS_RESUME_LOCAL:
      return mitosis_resume_local(argument);
    case MITOSIS_RESUME_REMOTE:
      return resume_remote(argument);
    case MITOSIS_PREPARE_PING:
      return prepare(file, argument, true);
    case MITOSIS_NIL_RPC:
      return ping(argument);
    case MITOSIS_RECLAIM:
      return reclaim(argument);
    default:
      mitosis_refuse("there is no ioctl %u; they are 0, 3 to 8 and RECLAIM\n", number);
      return -ENOTTY;
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

static ushort port;
module_param(port, ushort, 0444);
MODULE_PARM_DESC(port, "where other machines reach this one by RDMA, IPv4 (0: they do not)");

static int __init mitosis_begin(void) {
  int error = mitosis_children_begin();

  if (error) return error;
  error = mitosis_server_begin(port);
  if (error) {
    pr_err("port %u cannot be listened at: error %d\n", port, error);
    goto no_server;
  }
  error = misc_register(&mitosis_device);
  if (error)
    pr_err("the device cannot be made: error %d\n", error);
  else
    pr_info("serves /dev/mitosis-syscalls with the policy %s\n", mitosis_core_policy());
  if (!error) return 0;
  mitosis_server_end();
no_server:
  mitosis_children_end();
  return error;
}

// Neither a device file nor a child's mapping is left: both hold the module.
static void __exit mitosis_end(void) {
  misc_deregister(&mitosis_device);
  mitosis_prepared_end(NULL);
  mitosis_server_end();
  mitosis_children_end();
  mitosis_machines_forget();
}

module_init(mitosis_begin);
module_exit(mitosis_end);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Remote fork");
