// SPDX-License-Identifier: MIT
// Table: rows of text in aligned columns. World: user.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::tools {

/// Columns are as wide as their widest cell, two spaces apart. A column whose title starts with
/// '>' is aligned to the right. Width is counted in code points, which suffices for what we print.
class Table {
 public:
  explicit Table(const std::vector<std::string>& titles) {
    std::vector<std::string> heads;
    for (const std::string& title : titles) {
      right_.push_back(!title.empty() && title[0] == '>');
      heads.push_back(right_.back() ? title.substr(1) : title);
    }
    rows_.push_back(std::move(heads));
  }
  /// Missing cells are empty, extra ones are dropped. What would do something to a terminal, as a
  /// process's name may, is shown as \x1b.
  void add(std::vector<std::string> row) {
    row.resize(right_.size());
    for (std::string& cell : row) cell = shown(cell);
    rows_.push_back(std::move(row));
  }
  [[nodiscard]] std::string text() const {
    std::vector<std::size_t> widths(right_.size());
    for (const auto& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    }
    std::string out;
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        const std::string padding(widths[i] - width(row[i]), ' ');
        if (i != 0) line += "  ";
        line += right_[i] ? padding + row[i] : row[i] + padding;
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + '\n';
    }
    return out;
  }

 private:
  /// C0 and DEL; C1 where it is UTF-8.
  static bool is_control(const std::string& cell, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(cell[i]); };
    if (byte(at) < 0x20 || byte(at) == 0x7f) return true;
    if (byte(at) == 0xc2) return at + 1 < cell.size() && byte(at + 1) < 0xa0;
    return at > 0 && byte(at - 1) == 0xc2 && byte(at) < 0xa0;
  }
  static std::string shown(const std::string& cell) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (std::size_t i = 0; i < cell.size(); ++i) {
      if (!is_control(cell, i)) {
        out += cell[i];
        continue;
      }
      const auto byte = static_cast<unsigned char>(cell[i]);
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
    return out;
  }
  static std::size_t width(const std::string& cell) {
    return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
      return (static_cast<unsigned char>(c) >> 6) != 2;
    }));
  }
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace mitosis::tools
