// SPDX-License-Identifier: MIT
// A program with hooks: prepares itself, and says which ran and what it draws. World: user.
// hooks_program c|cpp HANDLER: by the C interface (libmitosis), or by the C++ headers.
// hooks_program outside 0: says so for each line; somebody else prepares it.
#include <mitosis/mitosis.h>
#include <unistd.h>

#include <mitosis/mitosis.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

std::string ran;

void note(void* what) {
  ran += static_cast<const char*>(what);
}

void print_hex(const std::uint8_t* bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) std::printf("%02x", bytes[i]);
}

/// One line: who, the hooks that ran, random bytes, rand(), the identity.
int say(const char* who) {
  std::uint32_t random[4];
  for (std::uint32_t& word : random) word = ::arc4random();
  std::printf("%s %s ", who, ran.c_str());
  print_hex(reinterpret_cast<const std::uint8_t*>(random), sizeof random);
  mitosis_identity own = {};
  const auto cpp = mitosis::identity();
  if (mitosis_get_identity(&own) == 1) {
    std::printf(" %u %u %lu %lu ", own.parent_machine, own.machine, own.handler, own.instance);
    print_hex(own.unique, sizeof own.unique);
  } else if (cpp) {
    std::printf(" %u %u %lu %lu ", static_cast<unsigned>(cpp->parent),
                static_cast<unsigned>(cpp->machine), static_cast<unsigned long>(cpp->handler),
                cpp->instance);
    print_hex(cpp->unique, sizeof cpp->unique);
  }
  std::printf("\n");
  std::fflush(stdout);
  return 0;
}

int fail(const char* why) {
  std::fprintf(stderr, "hooks_program: %s\n", why);
  return 1;
}

/// The letters tell hook and registration: b1 p1 c1, b2 p2 c2; 3 is removed again.
int by_c(std::uint64_t handler) {
  static char texts[9][3] = {"b1", "p1", "c1", "b2", "p2", "c2", "b3", "p3", "c3"};
  int last = 0;
  for (int i = 0; i < 3; ++i) {
    // Of one registration all three get the same pointer, so each is registered alone.
    (void)mitosis_at_fork(note, nullptr, nullptr, texts[3 * i]);
    (void)mitosis_at_fork(nullptr, note, nullptr, texts[3 * i + 1]);
    last = mitosis_at_fork(nullptr, nullptr, note, texts[3 * i + 2]);
  }
  for (int i = 0; i < 3; ++i) {
    if (mitosis_remove_hooks(last - i) != 0) return fail("a hook cannot be removed");
  }
  if (mitosis_remove_hooks(last) == 0) return fail("a hook was removed twice");
  const int sd = mitosis_open();
  mitosis_key key;
  // The first is refused: its parents' hooks run all the same.
  if (mitosis_prepare(sd, handler, "no such policy", &key) != -1) return fail("no refusal");
  ran += '|';
  const int which = mitosis_prepare(sd, handler, nullptr, &key);
  if (which < 0) return fail(mitosis_strerror());
  if (which == MITOSIS_CHILD) return say("child");
  char text[33];
  mitosis_key_format(&key, text);
  std::printf("%s\n", text);
  return say("parent");
}

/// What runs as a signal handler may not allocate.
char told_by_signal[16];
void note_by_signal(void* what) {
  const std::size_t length = std::strlen(told_by_signal);
  if (length + 2 < sizeof told_by_signal) std::memcpy(told_by_signal + length, what, 2);
}

int from_outside() {
  static char first[] = "r1", second[] = "r2";
  if (mitosis_at_resume(note_by_signal, first) < 34 ||
      mitosis_at_resume(note_by_signal, second) < 34) {
    return fail(mitosis_strerror());
  }
  std::printf("ready\n");
  std::fflush(stdout);
  for (int c; (c = std::getchar()) != EOF;) {
    ran = told_by_signal[0] != '\0' ? told_by_signal : "-";
    if (c == '\n') say("outside");
  }
  return 0;
}

int by_cpp(std::uint64_t handler) {
  const auto hooks = [](const char* number) {
    const auto noted = [number](const char* letter) {
      return [letter, number] { ran += std::string(letter) + number; };
    };
    return mitosis::ForkHooks({noted("b"), noted("p"), noted("c")});
  };
  const mitosis::ForkHooks first = hooks("1");
  hooks("2").release();
  { const mitosis::ForkHooks third = hooks("3"); }
  const auto agent = mitosis::Agent::open();
  if (!agent) return fail(mitosis::describe(agent.error()).c_str());
  if (agent->prepare(mitosis::HandlerId{handler}, "no such policy")) return fail("no refusal");
  ran += '|';
  const auto prepared = agent->prepare(mitosis::HandlerId{handler});
  if (!prepared) return fail(mitosis::describe(prepared.error()).c_str());
  if (prepared->child) return say("child");
  std::printf("%s\n", mitosis::format_key(prepared->key).c_str());
  return say("parent");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::uint64_t handler = std::strtoull(argv[2], nullptr, 10);
  if (std::strcmp(argv[1], "outside") == 0) return from_outside();
  const int status = std::strcmp(argv[1], "c") == 0 ? by_c(handler) : by_cpp(handler);
  while (std::getchar() != EOF) {
  }
  return status;
}
