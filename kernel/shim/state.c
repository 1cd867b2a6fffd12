// SPDX-License-Identifier: MIT OR GPL-2.0
// What of the calling thread is no memory: registers, signals, what glibc has told the kernel.
// World: kernel.
#include <linux/ptrace.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>

#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fsgsbase.h>

#include "shim.h"

enum { PT_REGS_WORDS = 21, FS_BASE = 21, GS_BASE = 22 };  // of struct user_regs_struct
static_assert(sizeof(struct pt_regs) == PT_REGS_WORDS * sizeof(u64));
enum { WORD_AX = 10, WORD_ORIG_AX = 15, WORD_CS = 17, WORD_FLAGS = 18, WORD_SS = 20 };
static const u64 user_flags = X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF |
                              X86_EFLAGS_SF | X86_EFLAGS_DF | X86_EFLAGS_OF;

// The standard format's, as user space has it: the processor's own may be compacted.
u64 mitosis_xstate_bytes(void) {
  return current->thread.fpu.fpstate->user_size;
}

// The exported conversions are a hypervisor's: they look at the state alone.
static struct fpu_guest own_fpu(void) {
  return (struct fpu_guest){.fpstate = current->thread.fpu.fpstate};
}

// Nobody takes it from a living thread.
static struct sighand_struct* own_sighand(void) {
  return rcu_dereference_raw(current->sighand);
}

void mitosis_capture_state(struct mitosis_image* image, void* xstate) {
  struct mitosis_thread* t = &image->thread;
  struct mm_struct* mm = current->mm;
  struct fpu_guest fpu = own_fpu();
  unsigned int i;

  memcpy(t->registers, current_pt_regs(), sizeof(struct pt_regs));
  t->registers[WORD_AX] = 1;           // what a child's call returns
  t->registers[WORD_ORIG_AX] = ~0ull;  // and nothing restarts it
  preempt_disable();
  rdmsrl(MSR_FS_BASE, t->registers[FS_BASE]);
  rdmsrl(MSR_KERNEL_GS_BASE, t->registers[GS_BASE]);
  preempt_enable();
  kernel_fpu_begin();  // saves the caller's
  fpu_copy_guest_fpstate_to_uabi(&fpu, xstate, mitosis_xstate_bytes(),
                                 current->thread.fpu.fpstate->user_xfeatures, 0);
  kernel_fpu_end();
  image->xstate = xstate;
  image->xstate_bytes = mitosis_xstate_bytes();
  image->xfeatures = current->thread.fpu.fpstate->user_xfeatures;

  t->signal_mask = current->blocked.sig[0];
  t->altstack_base = current->sas_ss_sp;
  t->altstack_bytes = current->sas_ss_size;
  t->altstack_flags = current->sas_ss_flags;
  t->robust_list = (unsigned long)current->robust_list;
  t->clear_child_tid = (unsigned long)current->clear_child_tid;
  t->rseq = (unsigned long)current->rseq;
  t->rseq_signature = current->rseq_sig;
  t->tid = task_pid_vnr(current);
  get_task_comm(t->name, current);

  spin_lock_irq(&own_sighand()->siglock);
  for (i = 0; i < _NSIG; i++) {
    const struct sigaction* a = &own_sighand()->action[i].sa;

    image->sigactions[i] =
        (struct mitosis_sigaction){(unsigned long)a->sa_handler, a->sa_flags,
                                   (unsigned long)a->sa_restorer, a->sa_mask.sig[0]};
  }
  spin_unlock_irq(&own_sighand()->siglock);

  image->mm = (struct mitosis_mm){mm->start_code, mm->end_code,  mm->start_data,  mm->end_data,
                                  mm->start_brk,  mm->brk,       mm->start_stack, mm->arg_start,
                                  mm->arg_end,    mm->env_start, mm->env_end};
}

// What is wrong with an extended state that came from elsewhere; null: nothing.
static const char* fault_of(const struct xregs_state* x, u64 bytes) {
  const struct fpstate* own = current->thread.fpu.fpstate;
  unsigned int i;

  if (bytes < sizeof(*x) || bytes > own->user_size)
    return "the processor's extended state has another size";
  if (x->header.xcomp_bv) return "the processor's extended state has another layout";
  if (x->header.xfeatures & ~own->user_xfeatures)
    return "it uses features that this processor lacks";
  if (x->i387.mxcsr & ~0xffffu) return "its MXCSR has bits that no processor has";
  for (i = 0; i < ARRAY_SIZE(x->header.reserved); i++) {
    if (x->header.reserved[i]) return "its extended state is malformed";
  }
  return NULL;
}

// Its code has addresses inside the vdso that it had: this machine's must be the same.
static int check_vdso(const struct mitosis_image* image) {
  const void __user* own = (const void __user*)current->mm->context.vdso;
  void* bytes;
  int error = 0;

  if (!image->vdso_bytes) return 0;
  bytes = mitosis_zalloc(image->vdso_bytes);
  if (!bytes) return -ENOMEM;
  if (!own || copy_from_user(bytes, own, image->vdso_bytes) ||
      memcmp(bytes, image->vdso, image->vdso_bytes)) {
    mitosis_refuse("resume: its kernel's vdso is another than this one's\n");
    error = -EINVAL;
  }
  mitosis_free(bytes);
  return error;
}

int mitosis_state_check(const struct mitosis_image* image) {
  const char* why = NULL;

  if (image->xstate_bytes) why = fault_of(image->xstate, image->xstate_bytes);
  if (!why && (image->thread.registers[FS_BASE] >= TASK_SIZE_MAX ||
               image->thread.registers[GS_BASE] >= TASK_SIZE_MAX))
    why = "a segment's base is no user address";
  if (!why) return check_vdso(image);
  mitosis_refuse("resume: %s\n", why);
  return -EINVAL;
}

int mitosis_restore_fpu(const struct mitosis_image* image) {
  struct fpu_guest fpu = own_fpu();
  u32 protection_keys;
  int error;

  kernel_fpu_begin();  // from now on what is in memory counts
  error = fpu_copy_uabi_to_guest_fpstate(
      &fpu, image->xstate, current->thread.fpu.fpstate->user_xfeatures, &protection_keys);
  current->thread.fpu.last_cpu = -1;  // nor what this CPU has still loaded
  kernel_fpu_end();
  if (error) mitosis_refuse("resume: this processor does not take its extended state\n");
  return error;
}

static void restore_registers(const u64* words) {
  struct pt_regs* regs = current_pt_regs();
  const unsigned long cs = regs->cs, ss = regs->ss, flags = regs->flags;

  memcpy(regs, words, sizeof(*regs));
  regs->cs = cs;
  regs->ss = ss;
  regs->flags = (flags & ~user_flags) | (words[WORD_FLAGS] & user_flags);

  preempt_disable();
  loadsegment(fs, 0);
  current->thread.fsindex = 0;
  current->thread.fsbase = words[FS_BASE];
  wrmsrl(MSR_FS_BASE, words[FS_BASE]);
  current->thread.gsindex = 0;
  current->thread.gsbase = words[GS_BASE];
  wrmsrl(MSR_KERNEL_GS_BASE, words[GS_BASE]);
  preempt_enable();
}

static void restore_signals(const struct mitosis_image* image) {
  sigset_t mask = {.sig = {image->thread.signal_mask}};
  unsigned int i;

  spin_lock_irq(&own_sighand()->siglock);
  for (i = 0; i < _NSIG; i++) {
    struct sigaction* a = &own_sighand()->action[i].sa;

    if (i + 1 == SIGKILL || i + 1 == SIGSTOP) continue;
    a->sa_handler = (__sighandler_t)image->sigactions[i].handler;
    a->sa_flags = image->sigactions[i].flags;
    a->sa_restorer = (__sigrestore_t)image->sigactions[i].restorer;
    a->sa_mask.sig[0] = image->sigactions[i].mask;
    sigdelsetmask(&a->sa_mask, sigmask(SIGKILL) | sigmask(SIGSTOP));
  }
  spin_unlock_irq(&own_sighand()->siglock);
  sigdelsetmask(&mask, sigmask(SIGKILL) | sigmask(SIGSTOP));
  sigprocmask(SIG_SETMASK, &mask, NULL);
}

static void restore_mm(const struct mitosis_image* image) {
  struct mm_struct* mm = current->mm;
  const struct mitosis_mm* from = &image->mm;
  u64 i;

  mmap_write_lock(mm);
  spin_lock(&mm->arg_lock);
  mm->start_code = from->start_code;
  mm->end_code = from->end_code;
  mm->start_data = from->start_data;
  mm->end_data = from->end_data;
  mm->start_brk = from->start_brk;
  mm->brk = from->brk;
  mm->start_stack = from->start_stack;
  mm->arg_start = from->arg_start;
  mm->arg_end = from->arg_end;
  mm->env_start = from->env_start;
  mm->env_end = from->env_end;
  spin_unlock(&mm->arg_lock);
  mm->context.vdso = NULL;
  for (i = 0; i < image->vma_count; i++) {
    if (image->vmas[i].kind == MITOSIS_VMA_VDSO)
      mm->context.vdso = (void __user*)image->vmas[i].start;
  }
  mmap_write_unlock(mm);
}

// The memory is mapped. Its thread number is the caller's: glibc's copy of it is brought up to
// date.
void mitosis_restore_state(const struct mitosis_image* image) {
  const struct mitosis_thread* t = &image->thread;

  restore_mm(image);
  restore_signals(image);
  restore_registers((const u64*)t->registers);
  current->sas_ss_sp = t->altstack_base;
  current->sas_ss_size = t->altstack_bytes;
  current->sas_ss_flags = t->altstack_flags;
  current->robust_list = (void __user*)t->robust_list;
  current->clear_child_tid = (int __user*)t->clear_child_tid;
  if (t->clear_child_tid) put_user(task_pid_vnr(current), (int __user*)t->clear_child_tid);
  current->rseq = (void __user*)t->rseq;
  current->rseq_sig = t->rseq_signature;
  current->rseq_event_mask = 0;
  if (t->rseq) rseq_migrate(current);
  task_lock(current);
  strscpy_pad(current->comm, t->name, sizeof(current->comm));
  task_unlock(current);
}
