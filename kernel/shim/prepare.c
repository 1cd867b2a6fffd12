// SPDX-License-Identifier: MIT OR GPL-2.0
// PREPARE: the caller as of now, for children. World: kernel.
#include <linux/random.h>
#include <linux/sched/signal.h>

#include "shim.h"

enum { LEAVE_MS = 2000 };  // that an exiting thread is waited for

// Who was joined is not quite gone yet: the C library is told before the kernel takes it out.
static bool others_are_leaving(void) {
  const struct task_struct* thread;
  bool leaving = true;

  rcu_read_lock();
  for_each_thread(current, thread) {
    if (thread != current && !(READ_ONCE(thread->flags) & PF_EXITING)) leaving = false;
  }
  rcu_read_unlock();
  return leaving;
}

bool mitosis_is_alone(const char* what) {
  const unsigned long end = jiffies + msecs_to_jiffies(LEAVE_MS);
  struct task_struct *process, *thread;
  bool shared = false;

  while (!thread_group_empty(current) && others_are_leaving() && time_before(jiffies, end) &&
         !fatal_signal_pending(current))
    schedule_timeout_killable(1);
  if (!thread_group_empty(current)) {
    mitosis_refuse(
        "%s: process %d has several threads, which is not built into the kernel module "
        "yet\n",
        what, task_tgid_nr(current));
    return false;
  }
  rcu_read_lock();
  for_each_process_thread(process, thread) {
    if (thread != current && READ_ONCE(thread->mm) == current->mm &&
        !(thread->flags & PF_KTHREAD)) {
      shared = true;
    }
  }
  rcu_read_unlock();
  if (shared)
    mitosis_refuse("%s: process %d shares its memory with another (vfork)\n", what,
                   task_tgid_nr(current));
  return !shared;
}

// Its descriptor, in which only what came from the capture is missing in `image`.
static int write_descriptor(struct mitosis_prepared* prepared, struct mitosis_image* image) {
  static atomic_t targets = ATOMIC_INIT(0);
  struct mitosis_parent_name* identity = &prepared->identity;
  u64 bytes;

  *identity = (struct mitosis_parent_name){
      .handler = prepared->handler,
      .generation = prepared->generation,
      .target_key = get_random_u64(),
      .target_number = atomic_inc_return(&targets),
  };
  bytes = mitosis_core_encode(image, identity, NULL, 0);
  prepared->descriptor = mitosis_zalloc(bytes);
  if (!prepared->descriptor) return -ENOMEM;
  prepared->descriptor_bytes = bytes;
  mitosis_core_encode(image, identity, prepared->descriptor, bytes);
  return 0;
}

// Describes it, and gives its pages to `prepared`.
static int encode(struct mitosis_prepared* prepared, struct mitosis_capture* capture,
                  struct mitosis_image* image) {
  void* vdso = NULL;
  int* files = NULL;
  int error;

  image->vmas = capture->vmas;
  image->vma_count = capture->vma_count;
  image->runs = capture->runs;
  image->run_count = capture->run_count;
  image->held = capture->held;
  image->held_count = capture->held_count;
  image->ancestors = capture->ancestors;
  image->ancestor_count = capture->ancestor_count;
  error = mitosis_capture_vdso(image, &vdso);
  if (!error) error = mitosis_capture_files(image, &files);
  if (!error) error = write_descriptor(prepared, image);
  mitosis_free(vdso);
  mitosis_free(files);
  if (error) return error;
  prepared->pages = capture->pages;
  prepared->page_count = capture->page_count;
  prepared->ancestors = capture->parent;
  capture->parent = NULL;
  capture->pages = NULL;
  capture->page_count = 0;
  return 0;
}

static int prepare(u64 handler, const void* holder, u32 lease_seconds, u8* key) {
  struct mitosis_capture capture = {};
  struct mitosis_prepared* prepared = NULL;
  struct mitosis_image* image;
  void* xstate;
  u64 begun;
  int error = -ENOMEM;

  if (!mitosis_is_alone("prepare")) return -EOPNOTSUPP;
  prepared = mitosis_prepared_find(handler);
  if (prepared) {
    mitosis_prepared_put(prepared);
    mitosis_refuse("prepare: handler %llu is in use\n", handler);
    return -EEXIST;
  }
  prepared = mitosis_prepared_make();
  image = mitosis_zalloc(sizeof(*image));
  xstate = mitosis_zalloc(mitosis_xstate_bytes());
  if (!prepared || !image || !xstate) goto out;
  prepared->handler = handler;
  prepared->generation = get_random_u64();
  prepared->holder = holder;
  prepared->keyed = key != NULL;
  if (key) {
    get_random_bytes(prepared->key, sizeof(prepared->key));
    memcpy(key, prepared->key, sizeof(prepared->key));
  }
  mitosis_capture_state(image, xstate);
  begun = mitosis_shim_now();
  error = mitosis_capture_pages(&capture);
  mitosis_profile_call(MITOSIS_PREPARE_MEMORY, begun);
  begun = mitosis_shim_now();
  if (!error) error = encode(prepared, &capture, image);
  mitosis_profile_call(MITOSIS_PREPARE_DESCRIPTOR, begun);
  if (!error) error = mitosis_prepared_publish(prepared, lease_seconds);
out:
  mitosis_capture_drop(&capture);
  mitosis_prepared_put(prepared);
  mitosis_free(image);
  mitosis_free(xstate);
  return error;
}

int mitosis_prepare(u64 handler, const void* holder, u32 lease_seconds, u8* key) {
  const int error = prepare(handler, holder, lease_seconds, key);

  mitosis_count_prepare(error);
  return error;
}
