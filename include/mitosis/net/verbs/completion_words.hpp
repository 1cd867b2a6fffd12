// SPDX-License-Identifier: MIT
// What a completion's status means: in words, and as an Errc. World: user.
// Facts: ibv_poll_cq(3) and the InfiniBand specification, volume 1, 10.10.3 (completion return
// status) and 11.6.2.
#pragma once

#include <infiniband/verbs.h>

#include <mitosis/base/errc.hpp>

namespace mitosis::verbs {

/// What happened, and what mostly causes it.
constexpr const char* words(ibv_wc_status status) noexcept {
  switch (status) {
    case IBV_WC_SUCCESS:
      return "done";
    case IBV_WC_LOC_LEN_ERR:
      return "local length error: a message is longer than the memory given for it";
    case IBV_WC_LOC_QP_OP_ERR:
      return "local queue pair error: the request does not suit the queue pair";
    case IBV_WC_LOC_PROT_ERR:
      return "local protection error: the local memory is not registered, or not for this";
    case IBV_WC_WR_FLUSH_ERR:
      return "flushed: the queue pair was broken by an earlier request";
    case IBV_WC_MW_BIND_ERR:
      return "memory window error";
    case IBV_WC_BAD_RESP_ERR:
      return "bad response: the peer's device answered with what was not asked";
    case IBV_WC_LOC_ACCESS_ERR:
      return "local access error";
    case IBV_WC_REM_INV_REQ_ERR:
      return "remote invalid request: the peer's queue pair does not allow such a request";
    case IBV_WC_REM_ACCESS_ERR:
      return "remote access error: the key or the address is not (or no more) the peer's";
    case IBV_WC_REM_OP_ERR:
      return "remote operation error: the peer's device could not finish it";
    case IBV_WC_RETRY_EXC_ERR:
      return "no answer: the peer is gone, has closed its queue pair, or cannot be reached";
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return "receiver not ready: the peer has posted no memory for the message";
    case IBV_WC_REM_ABORT_ERR:
      return "remote abort: the peer has aborted the operation";
    case IBV_WC_RESP_TIMEOUT_ERR:
      return "no response in time";
    case IBV_WC_FATAL_ERR:
      return "fatal error: the device has failed";
    case IBV_WC_GENERAL_ERR:
      return "general error";
    default:
      return "an error of a kind that a read does not have";
  }
}

/// What a read that ended so is told to have come to. A key that the peer's device refuses is
/// `page_unavailable`, not `revoked`: the peer alone knows whether the region has gone with its
/// parent or is about to be made anew, so its CPU is asked.
constexpr Errc errc_of(ibv_wc_status status) noexcept {
  switch (status) {
    case IBV_WC_SUCCESS:
      return Errc::ok;
    case IBV_WC_REM_ACCESS_ERR:
      return Errc::page_unavailable;
    case IBV_WC_LOC_LEN_ERR:
    case IBV_WC_LOC_QP_OP_ERR:
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
    case IBV_WC_MW_BIND_ERR:
      return Errc::invalid_argument;
    default:
      return Errc::connection_lost;
  }
}

}  // namespace mitosis::verbs
