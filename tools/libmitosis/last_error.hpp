// SPDX-License-Identifier: MIT
// The last error of a thread, as the C interfaces tell it. World: user.
#pragma once

#include <mitosis/base/describe.hpp>
#include <mitosis/base/result.hpp>

#include <string>

namespace mitosis::c {

struct LastError {
  int number = 0;
  std::string sentence;
};
inline thread_local LastError last_error;

/// What a call returns that has failed.
inline int fail(const Error& error) {
  last_error.number = static_cast<int>(error.code);
  last_error.sentence = describe(error);
  return -1;
}
inline int outcome(const Result<void>& result) {
  return result ? 0 : fail(result.error());
}

}  // namespace mitosis::c
