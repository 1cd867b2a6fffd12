// SPDX-License-Identifier: MIT
// Result<T>: a value or an Error. World: any (freestanding). No exceptions in include/mitosis;
// std::expected is C++23.
#pragma once

#include <mitosis/base/error.hpp>

#include <new>
#include <type_traits>
#include <utility>

namespace mitosis {

/// A value or the Error that kept it from being. `value()` of a failed result is undefined.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) noexcept : good_(true) {  // NOLINT: returns read best bare
    ::new (static_cast<void*>(&value_)) T(std::move(value));
  }
  Result(Error error) noexcept : good_(false) {  // NOLINT
    ::new (static_cast<void*>(&error_)) Error(error);
  }
  Result(Errc code) noexcept : Result(Error(code)) {}  // NOLINT
  Result(Result&& other) noexcept : good_(other.good_) { take(other); }
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      destroy();
      good_ = other.good_;
      take(other);
    }
    return *this;
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() { destroy(); }

  [[nodiscard]] bool ok() const noexcept { return good_; }
  explicit operator bool() const noexcept { return good_; }
  [[nodiscard]] T& value() & noexcept { return value_; }
  [[nodiscard]] const T& value() const& noexcept { return value_; }
  [[nodiscard]] T&& value() && noexcept { return std::move(value_); }
  T& operator*() & noexcept { return value_; }
  const T& operator*() const& noexcept { return value_; }
  T&& operator*() && noexcept { return std::move(value_); }
  T* operator->() noexcept { return &value_; }
  const T* operator->() const noexcept { return &value_; }
  [[nodiscard]] Error& error() noexcept { return error_; }
  [[nodiscard]] const Error& error() const noexcept { return error_; }
  [[nodiscard]] Errc code() const noexcept { return good_ ? Errc::ok : error_.code; }

 private:
  void take(Result& other) noexcept {
    if (good_) {
      ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
    } else {
      ::new (static_cast<void*>(&error_)) Error(other.error_);
    }
  }
  void destroy() noexcept {
    if (good_) value_.~T();
  }
  bool good_;
  union {
    T value_;
    Error error_;
  };
};

/// Success, or the Error that prevented it.
template <>
class [[nodiscard]] Result<void> {
 public:
  constexpr Result() noexcept = default;
  constexpr Result(Error error) noexcept : error_(error) {}      // NOLINT
  constexpr Result(Errc code) noexcept : error_(Error(code)) {}  // NOLINT
  [[nodiscard]] constexpr bool ok() const noexcept { return error_.code == Errc::ok; }
  constexpr explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] constexpr Error& error() noexcept { return error_; }
  [[nodiscard]] constexpr const Error& error() const noexcept { return error_; }
  [[nodiscard]] constexpr Errc code() const noexcept { return error_.code; }

 private:
  Error error_;
};

}  // namespace mitosis
