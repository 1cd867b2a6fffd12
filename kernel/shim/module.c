// SPDX-License-Identifier: MIT OR GPL-2.0
// The module's beginning and end. World: kernel.
#include <linux/module.h>

#include <asm/cpufeature.h>

#include "shim.h"

static ushort port;
module_param(port, ushort, 0444);
MODULE_PARM_DESC(port,
                 "where other machines reach this one by RDMA and TCP, IPv4 (0: they do not)");

static int __init mitosis_begin(void) {
  int error;

  // Page table entries are read and written as they are; Xen's are another machine's numbers.
  if (boot_cpu_has(X86_FEATURE_XENPV)) {
    pr_err("a paravirtual guest of Xen has page tables that it must not write: not supported\n");
    return -EOPNOTSUPP;
  }
  error = mitosis_auth_begin(port != 0);
  if (error) return error;
  error = mitosis_parents_begin();
  if (error) goto no_parents;
  error = mitosis_children_begin();
  if (error) goto no_children;
  error = mitosis_server_begin(port);
  if (!error) {
    error = mitosis_listener_begin(port);
    if (error) mitosis_server_end();
  }
  if (error) {
    pr_err("port %u cannot be listened at: error %d\n", port, error);
    goto no_server;
  }
  error = mitosis_device_begin();
  if (!error) {
    mitosis_profile_begin();
    pr_info("serves /dev/mitosis-syscalls with the policy %s\n", mitosis_core_policy());
    return 0;
  }
  pr_err("the device cannot be made: error %d\n", error);
  mitosis_listener_end();
  mitosis_server_end();
no_server:
  mitosis_children_end();
no_children:
  mitosis_parents_end();
no_parents:
  mitosis_auth_end();
  return error;
}

// Neither a device file nor a child's mapping is left: both hold the module.
static void __exit mitosis_end(void) {
  mitosis_device_end();
  mitosis_profile_end();
  mitosis_prepared_end(NULL);
  mitosis_listener_end();
  mitosis_server_end();
  mitosis_children_end();
  mitosis_parents_end();
  mitosis_machines_forget();
  mitosis_auth_end();
}

module_init(mitosis_begin);
module_exit(mitosis_end);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Remote fork");
