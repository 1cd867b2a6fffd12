// SPDX-License-Identifier: MIT
// build_file: where the other programs of this build are. World: user.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

namespace bench {

/// `name` in the build folder that holds this program (which is in its benchmarks/), as an
/// absolute path: "tools/mitosis", "benchmarks/launch".
inline std::string build_file(const std::string& name) {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return (self.parent_path().parent_path() / name).string();
}

}  // namespace bench
