// SPDX-License-Identifier: MIT
// ProgramWriter: writes an OpProgram into memory that survives the launcher. World: user.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/local/packet.hpp>
#include <mitosis/fork/user/restore/op.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <new>
#include <string>
#include <vector>

namespace mitosis::restore {

/// Fills [program | ops | data] in memory that it does not own, zeroed and mapped where it will
/// be when the ops run. Running out of room is remembered and told by `finish`.
class ProgramWriter {
 public:
  ProgramWriter(MutableBytes memory, std::size_t max_ops) noexcept
      : memory_(memory), ops_(sizeof(OpProgram)), data_(sizeof(OpProgram) + max_ops * sizeof(Op)) {
    data_first_ = data_;
    full_ = data_ > memory_.size();
  }

  /// Ops from now on report under this name when they fail.
  void step(const char* name);
  template <class... Args>
  void op(long nr, Args... args) {
    add({static_cast<std::uint64_t>(nr), {word(args)...}, 0, 0, 0, 0});
  }
  /// Whatever it returns.
  template <class... Args>
  void op_any(long nr, Args... args) {
    add({static_cast<std::uint64_t>(nr), {word(args)...}, 0, 0, 0, op_ignore});
  }
  template <class... Args>
  void op_returning(std::uint64_t expect, long nr, Args... args) {
    add({static_cast<std::uint64_t>(nr), {word(args)...}, expect, 0, 0, op_equal});
  }
  void add(Op op);
  /// Where the next op will be: an op before it may store its argument there.
  [[nodiscard]] std::uint64_t next_op() const noexcept { return address(ops_); }

  /// Copies bytes to where ops can point at them; returns their address.
  std::uint64_t put(Bytes bytes);
  template <class T>
  std::uint64_t put_value(const T& value) {
    return put(Bytes(reinterpret_cast<const std::uint8_t*>(&value), sizeof value));
  }
  /// `bytes` zeros.
  std::uint64_t put_room(std::size_t bytes);

  /// Room for the OpProgram of a further thread; returns its address.
  std::uint64_t put_thread() { return put_room(sizeof(OpProgram)); }
  /// The ops so far are of the thread that they were for; those from now on are of the one that
  /// starts with the program at `address`, and returns from `frame`.
  void begin_thread(std::uint64_t program, std::uint64_t frame);

  /// Writes the threads' programs; the result is the first one's, inside the memory. `frame` (the
  /// first thread's) and `scratch` are of OpProgram.
  Result<const OpProgram*> finish(std::uint64_t frame, std::uint64_t scratch,
                                  std::uint64_t scratch_bytes, int socket);

 private:
  template <class T>
  static std::uint64_t word(T value) noexcept {
    if constexpr (std::is_pointer_v<T>) {
      return reinterpret_cast<std::uint64_t>(value);
    } else {
      return static_cast<std::uint64_t>(value);  // sign-extends, as the kernel wants it
    }
  }
  [[nodiscard]] std::uint64_t address(std::size_t offset) const noexcept {
    return reinterpret_cast<std::uint64_t>(memory_.data()) + offset;
  }

  struct Thread {
    std::uint64_t program = 0, frame = 0;
    std::size_t first = 0;  ///< its ops: from this offset to the next one's
  };

  MutableBytes memory_;
  std::vector<Thread> further_;
  std::size_t ops_, data_, data_first_ = 0;
  bool full_ = false;
  std::uint64_t report_ = 0;
  std::uint64_t errno_at_ = 0, address_at_ = 0;
};

inline void ProgramWriter::add(Op op) {
  if (ops_ + sizeof(Op) > data_first_ || full_) {
    full_ = true;
    return;
  }
  op.report = report_;
  std::memcpy(memory_.data() + ops_, &op, sizeof op);
  ops_ += sizeof op;
}

inline std::uint64_t ProgramWriter::put_room(std::size_t bytes) {
  data_ = (data_ + 7) & ~std::size_t{7};
  if (full_ || bytes > memory_.size() || data_ > memory_.size() - bytes) {
    full_ = true;
    return 0;
  }
  const std::uint64_t at = address(data_);
  data_ += bytes;
  return at;
}

inline std::uint64_t ProgramWriter::put(Bytes bytes) {
  const std::uint64_t at = put_room(bytes.size());
  if (at != 0 && !bytes.empty()) {
    std::memcpy(reinterpret_cast<void*>(at), bytes.data(), bytes.size());
  }
  return at;
}

inline void ProgramWriter::step(const char* name) {
  local::Failed failed;
  failed.error = Error(Errc::system_call_failed);
  failed.error.in(name);
  failed.error.subject.append("in the new child");
  // Where the two numbers end up in the packet is the codec's affair: look for marks.
  constexpr std::uint32_t errno_mark = 0x7e57ab1e;
  constexpr std::uint64_t address_mark = 0x5ca1ab1e0ddba115;
  failed.error.os_errno = static_cast<int>(errno_mark);
  failed.error.address = address_mark;
  const std::vector<std::uint8_t> packet = local::encode_packet(failed);
  for (std::size_t i = 0; i + 8 <= packet.size(); ++i) {
    if (std::memcmp(&packet[i], &errno_mark, 4) == 0) errno_at_ = i;
    if (std::memcmp(&packet[i], &address_mark, 8) == 0) address_at_ = i;
  }
  std::string line = "mitosis: resume: ";
  line.append(name).append(": failed in the new child; the agent's log says why\n");
  OpReport report;
  report.packet = put(packet);
  report.packet_bytes = packet.size();
  report.line = put(Bytes(reinterpret_cast<const std::uint8_t*>(line.data()), line.size()));
  report.line_bytes = line.size();
  report_ = put_value(report);
}

inline void ProgramWriter::begin_thread(std::uint64_t program, std::uint64_t frame) {
  further_.push_back({program, frame, ops_});
}

inline Result<const OpProgram*> ProgramWriter::finish(std::uint64_t frame, std::uint64_t scratch,
                                                      std::uint64_t scratch_bytes, int socket) {
  const auto left = static_cast<std::uint32_t>(1 + further_.size());
  const std::uint64_t left_at = put_value(left);
  if (full_) return Error(Errc::limit_exceeded, "too many steps").in("write the restore program");
  OpProgram program;
  program.first = address(sizeof(OpProgram));
  program.end = address(further_.empty() ? ops_ : further_.front().first);
  program.frame = frame;
  program.scratch = scratch;
  program.scratch_bytes = scratch_bytes;
  program.errno_at = errno_at_;
  program.address_at = address_at_;
  program.socket = static_cast<std::uint64_t>(socket);
  program.left = left_at;
  for (std::size_t i = 0; i < further_.size(); ++i) {
    OpProgram other = program;
    other.first = address(further_[i].first);
    other.end = address(i + 1 < further_.size() ? further_[i + 1].first : ops_);
    other.frame = further_[i].frame;
    ::new (reinterpret_cast<void*>(further_[i].program)) OpProgram(other);
  }
  return ::new (static_cast<void*>(memory_.data())) OpProgram(program);
}

}  // namespace mitosis::restore
