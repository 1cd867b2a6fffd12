// SPDX-License-Identifier: MIT
// The handshake and the secret's file: who does not know the secret gets nothing, and is told.
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/stat.h>

#include <mitosis/net/auth.hpp>
#include <mitosis/net/tcp/handshake.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "test_server.hpp"

namespace mitosis::test {
namespace {

struct Outcome {
  Errc client = Errc::last;
  Errc server = Errc::last;
};

/// Both sides over a socket pair.
Outcome shake(const auth::Identity& client, const auth::Identity& server, MachineId expected,
              auth::Hello* heard = nullptr) {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd a(fds[0]);
  const UniqueFd b(fds[1]);
  Outcome outcome;
  std::thread listener([&] {
    tcp::FrameStream stream(b.get());
    Result<auth::Hello> hello = tcp::handshake_as_server(stream, server, tcp::deadline_in(5000));
    outcome.server = hello.code();
    if (hello.ok() && heard != nullptr) *heard = *hello;
    ::shutdown(b.get(), SHUT_RDWR);
  });
  tcp::FrameStream stream(a.get());
  auth::ClientHandshake handshake(client, expected, auth::Purpose::bulk_reads, {99, 5});
  outcome.client = tcp::handshake_as_client(stream, handshake, tcp::deadline_in(5000)).code();
  ::shutdown(a.get(), SHUT_RDWR);
  listener.join();
  return outcome;
}

TEST(Handshake, SucceedsWithTheSameSecretAndTellsWhoConnects) {
  auth::Hello heard;
  const Outcome o =
      shake(identity(client_machine), identity(server_machine), server_machine, &heard);
  EXPECT_EQ(o.client, Errc::ok);
  EXPECT_EQ(o.server, Errc::ok);
  EXPECT_EQ(heard.machine, client_machine);
  EXPECT_EQ(heard.purpose, auth::Purpose::bulk_reads);
  EXPECT_EQ(heard.client, 99u);
  EXPECT_EQ(heard.sent, 5u);
}

TEST(Handshake, AWrongSecretFailsOnBothSides) {
  const Outcome o = shake(identity(client_machine, "another secret !!"), identity(server_machine),
                          server_machine);
  EXPECT_EQ(o.client, Errc::authentication_failed);
  EXPECT_EQ(o.server, Errc::authentication_failed);
}

TEST(Handshake, AnotherMachineAtTheAddressIsRefused) {
  const Outcome o = shake(identity(client_machine), identity(MachineId{66}), server_machine);
  EXPECT_EQ(o.client, Errc::authentication_failed);
  EXPECT_NE(o.server, Errc::ok);
}

/// Client and server states after the messages so far, to be tampered with.
struct Steps {
  auth::Initiator initiator{identity(client_machine), MachineId::none, auth::Purpose::rpc, {1, 0}};
  auth::Responder responder{identity(server_machine)};
};

TEST(Handshake, EveryFieldIsBoundIntoTheProof) {
  for (int field = 0; field < 6; ++field) {
    Steps s;
    auth::Hello hello = s.initiator.hello();
    if (field == 0) hello.machine = MachineId{3};
    if (field == 1) hello.purpose = auth::Purpose::bulk_reads;
    if (field == 2) hello.client = 2;
    if (field == 3) hello.sent = 1;
    if (field == 4) hello.nonce[31] ^= 1;
    auth::Challenge challenge = s.responder.challenge(hello);
    if (field == 5) challenge.nonce[0] ^= 1;
    const Result<auth::Proof> proof = s.initiator.answer(challenge);
    ASSERT_TRUE(proof.ok());
    EXPECT_EQ(s.responder.check(*proof).code(), Errc::authentication_failed) << field;
  }
}

TEST(Handshake, AProofCannotBeReflectedOrReplayed) {
  Steps s;
  const Result<auth::Proof> proof = s.initiator.answer(s.responder.challenge(s.initiator.hello()));
  ASSERT_TRUE(proof.ok());
  EXPECT_EQ(s.initiator.check(*proof).code(), Errc::authentication_failed);
  const Result<auth::Proof> own = s.responder.check(*proof);
  ASSERT_TRUE(own.ok());
  EXPECT_TRUE(s.initiator.check(*own).ok());
  auth::Responder later(identity(server_machine));
  static_cast<void>(later.challenge(s.initiator.hello()));
  EXPECT_EQ(later.check(*proof).code(), Errc::authentication_failed);
}

class SecretFile : public ::testing::Test {
 protected:
  std::string path;
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "mitosis-secret-XXXXXX";
    const UniqueFd made(::mkstemp(pattern.data()));
    ASSERT_TRUE(static_cast<bool>(made));
    path = pattern;
  }
  void TearDown() override { std::filesystem::remove(path); }
  void write(const std::string& text, mode_t mode) {
    std::ofstream(path) << text;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
};

TEST_F(SecretFile, LoadsTheSameKeyWithAndWithoutALineEnd) {
  write("a shared secret!\n", 0600);
  Result<auth::Secret> secret = auth::Secret::load(path);
  ASSERT_TRUE(secret.ok());
  const auth::Identity loaded{client_machine,
                              std::make_shared<const auth::Secret>(std::move(secret).value())};
  const Outcome o = shake(loaded, identity(server_machine), server_machine);
  EXPECT_EQ(o.client, Errc::ok);
  EXPECT_EQ(o.server, Errc::ok);
}

TEST_F(SecretFile, ReadableByOthersIsRefusedNamingThePath) {
  for (const mode_t mode : {0640u, 0604u, 0620u}) {
    write("a shared secret!", mode);
    const Result<auth::Secret> secret = auth::Secret::load(path);
    ASSERT_EQ(secret.code(), Errc::not_permitted);
    EXPECT_NE(std::string(secret.error().subject.c_str()).find(path), std::string::npos);
  }
}

TEST_F(SecretFile, TooShortMissingAndNotAFileAreRefusedNamingThePath) {
  write("fifteen bytes !\n", 0600);
  for (const std::string& bad : {path, path + ".missing", ::testing::TempDir()}) {
    const Result<auth::Secret> secret = auth::Secret::load(bad);
    ASSERT_EQ(secret.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(secret.error().subject.c_str()).find(bad), std::string::npos);
  }
}

}  // namespace
}  // namespace mitosis::test
