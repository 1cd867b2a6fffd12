// SPDX-License-Identifier: MIT
// Samples: numbers of one kind, and their median. World: user.
// Medians everywhere: these machines are noisy upwards only, a mean would tell about neighbours.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bench {

class Samples {
 public:
  void add(double sample) { all_.push_back(sample); }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
  /// The value that `part` of the samples are below; 0 of none.
  [[nodiscard]] double quantile(double part) const {
    if (all_.empty()) return 0;
    std::vector<double> sorted = all_;
    const auto last = static_cast<double>(sorted.size() - 1);
    const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(part * last);
    std::nth_element(sorted.begin(), nth, sorted.end());
    return *nth;
  }
  [[nodiscard]] double median() const { return quantile(0.5); }
  [[nodiscard]] double least() const { return quantile(0); }

 private:
  std::vector<double> all_;
};

}  // namespace bench
