// SPDX-License-Identifier: MIT
// What a fuzzer does with bytes that claim to be an open file's payload: decode them as each kind;
// what is accepted must be what its encoder writes. World: user.
#pragma once

#include <mitosis/fork/user/files/content.hpp>
#include <mitosis/fork/user/files/counters.hpp>
#include <mitosis/fork/user/files/payload.hpp>
#include <mitosis/fork/user/files/pipe.hpp>
#include <mitosis/fork/user/files/sockets.hpp>
#include <mitosis/fork/user/files/watches.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace mitosis::test {

/// Whether they were accepted as a `P`; aborts where they are not what it encodes to.
template <class P>
bool exercise_payload_as(Bytes bytes) {
  const auto payload = files::decode<P>(bytes);
  if (!payload) return false;
  const auto again = files::encode(*payload);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) {
    std::fprintf(stderr, "an accepted payload is another one when it is written\n");
    std::abort();
  }
  return true;
}

/// How many kinds have accepted them.
inline int exercise_payload(Bytes bytes) {
  return exercise_payload_as<files::Pipe>(bytes) + exercise_payload_as<files::Eventfd>(bytes) +
         exercise_payload_as<files::Timerfd>(bytes) + exercise_payload_as<files::Signalfd>(bytes) +
         exercise_payload_as<files::Inotify>(bytes) + exercise_payload_as<files::Epoll>(bytes) +
         exercise_payload_as<files::Regular>(bytes) + exercise_payload_as<files::Memory>(bytes) +
         exercise_payload_as<files::UnixSocket>(bytes) +
         exercise_payload_as<files::InetSocket>(bytes);
}

}  // namespace mitosis::test
