// SPDX-License-Identifier: MIT
// Refused: a kernel never runs global constructors. World: any.
int entropy() noexcept;

struct Seeded {
  Seeded() noexcept : value(entropy()) {}
  int value;
};
Seeded seeded;  // NOLINT: this is what the check must find
