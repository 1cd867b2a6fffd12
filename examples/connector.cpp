// SPDX-License-Identifier: MIT
// Makes another machine's agent known to this machine's. Needs root.
//   connector -gid=10.0.0.1:7000 -mac_id=0 -nic_id=0
#include <mitosis/mitosis.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include "flags.hpp"

int main(int argc, char** argv) {
  std::string gid;
  std::uint32_t mac_id = 0;
  std::uint32_t nic_id = 0;
  CLI::App app("Connects this machine to another");
  app.add_option("--gid", gid, "where its agent is: host:port, or an RDMA gid")->required();
  app.add_option("--mac_id", mac_id, "the number that the machine is to have");
  app.add_option("--nic_id", nic_id, "the nic that it is reached by");
  int status = 0;
  if (!parse_flags(app, argc, argv, status)) return status;

  const int sd = sopen();
  if (sd < 0 || mitosis_connect(sd, mac_id, nic_id, gid.c_str()) != 0) {
    std::fprintf(stderr, "connector: %s\n", mitosis_strerror());
    return 1;
  }
  std::printf("machine %u is connected\n", mac_id);
  mitosis_close(sd);
}
