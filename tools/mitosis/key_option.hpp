// SPDX-License-Identifier: MIT
// KeyOption: where a subcommand gets the auth key from. World: user.
// Three ways, because a key on the command line shows in `ps` to every user of the machine.
#pragma once

#include <CLI/CLI.hpp>

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/client/key_text.hpp>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "option.hpp"

namespace mitosis::tools {

class KeyOption {
 public:
  /// Adds --key and --key-file. The object must stay where it is until the options are parsed.
  void add(CLI::App& app) {
    auto* key = add_parsed(app, "--key", key_, parse_key_text,
                           "the auth key that prepare gave, 32 hexadecimal digits; every user of "
                           "this machine can read it in `ps` meanwhile: prefer --key-file or "
                           "$MITOSIS_KEY; one's own handler on this machine needs none")
                    ->type_name("HEX");
    auto* file =
        app.add_option("--key-file", file_, "a file that holds the key (-: standard input)")
            ->type_name("FILE");
    key->excludes(file);
    given_ = key;
  }

  [[nodiscard]] bool given() const {
    return given_->count() > 0 || !file_.empty() || environment() != nullptr;
  }
  /// As `get`; the empty key where none is given: one's own handler on this machine needs none, and
  /// the agent tells whose it is.
  [[nodiscard]] Result<AuthKey> get_or_none() const { return given() ? get() : AuthKey{}; }
  /// The key, by the order --key, --key-file, $MITOSIS_KEY.
  [[nodiscard]] Result<AuthKey> get() const {
    if (given_->count() > 0) return key_;
    if (!file_.empty()) return read_file();
    if (const char* text = environment(); text != nullptr) {
      const Result<AuthKey> key = parse_key_text(text);
      if (!key) return Error(key.error()).in("read $MITOSIS_KEY");
      return *key;
    }
    return Error(Errc::invalid_argument, "give --key-file, --key or $MITOSIS_KEY").in("read a key");
  }

 private:
  static constexpr std::streamsize longest_file = 4096;  ///< a device may have no end

  /// A key and white space around it, nothing else: more is another file, or a key that was
  /// appended to an older one. What it holds is not repeated, for it may be a secret.
  [[nodiscard]] Result<AuthKey> read_file() const {
    std::ifstream file;
    errno = 0;
    if (file_ != "-") file.open(file_);
    std::istream& in = file_ == "-" ? std::cin : file;
    const auto refused = [this](const char* why, int err = 0) {
      const std::string name = file_ == "-" ? "standard input" : file_;
      return Error(Errc::invalid_argument, (name + why).c_str(), err).in("read a key");
    };
    std::string bytes(longest_file, '\0');
    in.read(bytes.data(), longest_file);
    bytes.resize(static_cast<std::size_t>(in.gcount()));
    if (in.bad() || (!in.eof() && in.gcount() < longest_file)) {
      return refused(" cannot be read", errno);
    }
    std::istringstream words(bytes);
    std::string text, more;
    words >> text >> more;
    if (!more.empty() || in.gcount() == longest_file) return refused(" holds more than a key");
    if (text.empty()) return refused(" holds no key");
    const Result<AuthKey> key = parse_key_text(text);
    if (!key) return refused(" holds no key: a key is 32 hexadecimal digits");
    return *key;
  }
  static const char* environment() noexcept {
    const char* text = ::secure_getenv("MITOSIS_KEY");
    return text != nullptr && *text != '\0' ? text : nullptr;
  }
  AuthKey key_;
  std::string file_;
  CLI::Option* given_ = nullptr;
};

}  // namespace mitosis::tools
