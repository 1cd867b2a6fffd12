// SPDX-License-Identifier: MIT
// Registrar: makes memory of this process writable for a device. World: user.
// What RDMA reads land in must be registered; caches and landing pools do not know what with.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>

#include <cstdint>
#include <memory>

namespace mitosis {

/// Memory that the device may write until this ends. It must end before the memory is unmapped.
class Registration {
 public:
  Registration() = default;
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  virtual ~Registration() = default;
  /// What a request names it by; never 0.
  [[nodiscard]] virtual std::uint32_t local_key() const noexcept = 0;
};

/// Thread-safe. Registered memory is resident: registering takes it from the system.
class Registrar {
 public:
  Registrar() = default;
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;
  virtual ~Registrar() = default;
  virtual Result<std::unique_ptr<Registration>> for_landing(MutableBytes memory) noexcept = 0;
};

}  // namespace mitosis
