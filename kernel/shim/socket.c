// SPDX-License-Identifier: MIT OR GPL-2.0
// TCP to other machines, from within the kernel: every wait has a deadline, and ends when who waits
// is to die. World: kernel.
#include <linux/in.h>
#include <linux/net.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/tcp.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "agent.h"

enum {
  STALL_MS = 15000,       // of a peer that has begun to say something, or is to take it
  KEEP_IDLE_SECONDS = 5,  // the agents' own numbers: net/tcp/socket.hpp
  KEEP_INTERVAL_SECONDS = 2,
  KEEP_PROBES = 3,
};

struct mitosis_socket {
  struct socket* socket;
  unsigned long end;  // of what is in progress, in jiffies
};

void mitosis_socket_patience(struct mitosis_socket* s, unsigned int ms) {
  s->end = jiffies + msecs_to_jiffies(ms);
}

// Pages may be asked for while the caller itself sends, or frees memory.
static void tune(struct sock* sk) {
  sk->sk_allocation = GFP_NOFS;
#ifdef MITOSIS_HAS_TASK_FRAG
  sk->sk_use_task_frag = false;  // older ones go by sk_allocation alone
#endif
  tcp_sock_set_nodelay(sk);
  sock_set_keepalive(sk);
  tcp_sock_set_keepidle(sk, KEEP_IDLE_SECONDS);
  tcp_sock_set_keepintvl(sk, KEEP_INTERVAL_SECONDS);
  tcp_sock_set_keepcnt(sk, KEEP_PROBES);
}

int mitosis_socket_connect(const struct sockaddr_in* to, unsigned int ms,
                           struct mitosis_socket** into) {
  struct mitosis_socket* s = mitosis_zalloc(sizeof(*s));
  int error;

  if (!s) return -ENOMEM;
  error = mitosis_fails()
              ? -ENOMEM
              : sock_create_kern(&init_net, PF_INET, SOCK_STREAM, IPPROTO_TCP, &s->socket);
  if (error) {
    mitosis_free(s);
    return error;
  }
  tune(s->socket->sk);
  mitosis_socket_patience(s, ms);
  s->socket->sk->sk_sndtimeo = msecs_to_jiffies(ms);
  error = kernel_connect(s->socket, (struct sockaddr*)to, sizeof(*to), 0);
  if (!error) {
    *into = s;
    return 0;
  }
  mitosis_socket_close(s);
  if (error == -EINPROGRESS || error == -EALREADY) return -ETIMEDOUT;
  return error == -ERESTARTSYS ? -EINTR : error;
}

struct mitosis_socket* mitosis_socket_adopt(struct socket* accepted) {
  struct mitosis_socket* s = mitosis_zalloc(sizeof(*s));

  if (!s) return NULL;
  s->socket = accepted;
  tune(accepted->sk);
  return s;
}

void mitosis_socket_stop(struct mitosis_socket* s) {
  kernel_sock_shutdown(s->socket, SHUT_RDWR);
}

void mitosis_socket_close(struct mitosis_socket* s) {
  if (!s) return;
  mitosis_socket_stop(s);
  sock_release(s->socket);
  mitosis_free(s);
}

// One step. How many bytes; 0: try again; below zero: an error.
static int step(struct mitosis_socket* s, bool send, struct kvec* rest) {
  struct msghdr message = {.msg_flags = send ? MSG_NOSIGNAL : MSG_WAITALL};
  const long left = (long)(s->end - jiffies);
  int done;

  if (left <= 0) return -ETIMEDOUT;
  s->socket->sk->sk_rcvtimeo = s->socket->sk->sk_sndtimeo = left;
  done = send ? kernel_sendmsg(s->socket, &message, rest, 1, rest->iov_len)
              : kernel_recvmsg(s->socket, &message, rest, 1, rest->iov_len, message.msg_flags);
  if (done > 0) return done;
  if (done == 0) return -ECONNRESET;
  if (done == -EAGAIN) return 0;
  if (done != -EINTR && done != -ERESTARTSYS) return done;
  if (fatal_signal_pending(current)) return -EINTR;
  schedule_timeout_uninterruptible(1);  // what is no signal, but looks like one
  return 0;
}

static int transfer(struct mitosis_socket* s, bool send, void* bytes, size_t count) {
  while (count) {
    struct kvec rest = {bytes, count};
    const int done = step(s, send, &rest);

    if (done < 0) return done;
    bytes += done;
    count -= done;
  }
  return 0;
}

int mitosis_shim_send(struct mitosis_socket* s, const void* bytes, mitosis_size count) {
  return transfer(s, true, (void*)bytes, count);
}
int mitosis_shim_receive(struct mitosis_socket* s, void* into, mitosis_size count) {
  return transfer(s, false, into, count);
}

void mitosis_shim_go_on(struct mitosis_socket* s) {
  mitosis_socket_patience(s, MITOSIS_CALL_MS);
}

// TCP's own probes find a peer that is gone.
int mitosis_shim_wait(struct mitosis_socket* s) {
  u8 first;
  int got;

  do {
    struct kvec byte = {&first, 1};
    struct msghdr message = {};

    s->socket->sk->sk_rcvtimeo = MAX_SCHEDULE_TIMEOUT;
    got = kernel_recvmsg(s->socket, &message, &byte, 1, 1, MSG_PEEK);
  } while (got == -EAGAIN || got == -EINTR || got == -ERESTARTSYS);
  if (got == 0) return -ECONNRESET;
  if (got > 0) mitosis_socket_patience(s, STALL_MS);
  return got > 0 ? 0 : got;
}

void mitosis_shim_random(void* into, mitosis_size bytes) {
  get_random_bytes(into, bytes);
}

void mitosis_shim_say(const char* why) {
  mitosis_refuse("%*pE\n", (int)strlen(why), why);  // a peer may have chosen it
}
