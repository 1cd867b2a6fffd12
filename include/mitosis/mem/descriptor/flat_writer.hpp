// SPDX-License-Identifier: MIT
// FlatWriter: writes a descriptor into memory of a fixed size. World: any (freestanding).
// For where there are no std containers. Writing into no memory counts the bytes, so two passes
// of the same code need no estimate. It does not check (DescriptorView::parse does).
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/mem/descriptor/records.hpp>
#include <mitosis/mem/page.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::descriptor {

/// Sections one after the other: `section`, then its records by `add`. At most `sections` of them.
/// Bytes beyond the memory are counted, not written. One thread.
class FlatWriter {
 public:
  FlatWriter(MutableBytes into, std::uint32_t sections) noexcept
      : into_(into), limit_(sections), at_(sizeof(Header) + sections * sizeof(SectionRecord)) {}

  /// Begins a section; the one before ends.
  void section(Tag tag) noexcept {
    end_section();
    at_ = (at_ + 7) & ~std::size_t{7};
    current_ = {static_cast<std::uint32_t>(tag), section_required, at_, 0};
    open_ = true;
  }
  template <class T>
  void add(const T& record) noexcept {
    add_bytes(&record, sizeof record);
  }
  void add_bytes(const void* bytes, std::size_t count) noexcept {
    put(at_, bytes, count);
    at_ += count;
  }
  /// Writes the header. How many bytes the descriptor has: what was written counts only where they
  /// are no more than the memory, and every announced section was begun.
  [[nodiscard]] std::size_t finish(Arch arch, HandlerId handler, Generation generation) noexcept {
    end_section();
    Header header = {};
    header.magic = magic;
    header.version = version;
    header.arch = static_cast<std::uint16_t>(arch);
    header.page_shift = static_cast<std::uint8_t>(page_shift);
    header.total_bytes = at_;
    header.handler = static_cast<std::uint64_t>(handler);
    header.generation = static_cast<std::uint64_t>(generation);
    header.section_count = written_;
    put(0, &header, sizeof header);
    return at_;
  }

 private:
  void end_section() noexcept {
    if (!open_ || written_ == limit_) return;
    current_.bytes = at_ - current_.offset;
    put(sizeof(Header) + written_ * sizeof current_, &current_, sizeof current_);
    ++written_;
    open_ = false;
  }
  void put(std::size_t at, const void* bytes, std::size_t count) noexcept {
    if (count == 0 || at > into_.size() || count > into_.size() - at) return;
    __builtin_memcpy(into_.data() + at, bytes, count);
  }

  MutableBytes into_;
  std::uint32_t limit_;
  std::uint32_t written_ = 0;
  std::size_t at_;
  SectionRecord current_ = {};
  bool open_ = false;
};

}  // namespace mitosis::descriptor
