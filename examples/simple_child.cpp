// SPDX-License-Identifier: MIT
// A child: becomes the simple_parent of another machine, and prints its numbers from 1 on.
//   simple_child -mac_id=0 -handler_id=73 --key=<what simple_parent printed>
#include <mitosis/mitosis.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include "flags.hpp"

int main(int argc, char** argv) {
  std::uint32_t mac_id = 0;
  std::uint64_t handler_id = 73;
  std::string key_text;
  CLI::App app("Resumes a prepared process of another machine in this process");
  app.add_option("--mac_id", mac_id, "the machine that it was prepared on (see connector)");
  app.add_option("--handler_id", handler_id, "the name it was prepared under");
  app.add_option("--key", key_text, "the auth key that the parent printed")->required();
  int status = 0;
  if (!parse_flags(app, argc, argv, status)) return status;

  mitosis_key key;
  const int sd = sopen();
  if (sd >= 0 && mitosis_key_parse(key_text.c_str(), &key) == 0) {
    fork_resume_remote(sd, mac_id, handler_id, &key);  // returns only where it failed
  }
  std::fprintf(stderr, "simple_child: %s\n", mitosis_strerror());
  return 1;
}
