// SPDX-License-Identifier: MIT
// The records of a descriptor: what its sections are arrays of. World: any (freestanding).
// Little-endian, naturally aligned, no implicit padding; the layout is the wire format, version 1.
// A section is found by its tag; tags, kinds and flags are appended, never renumbered.
#pragma once

#include <bit>
#include <cstdint>

namespace mitosis::descriptor {

static_assert(std::endian::native == std::endian::little,
              "the descriptor is little-endian; a big-endian port must convert its records");

inline constexpr std::uint64_t magic = 0x314b5341'54494d4dull;
inline constexpr std::uint16_t version = 1;
/// No descriptor is longer; a longer one is refused before anything is allocated for it.
inline constexpr std::uint64_t max_bytes = std::uint64_t{64} << 20;
inline constexpr std::uint32_t no_string = 0xffffffffu;

enum class Arch : std::uint16_t { x86_64 = 1, aarch64 = 2 };

/// What a section holds. An unknown tag is skipped, unless it is flagged `required`.
enum class Tag : std::uint32_t {
  mm = 1,          ///< one MmRecord
  vmas = 2,        ///< VmaRecord, by ascending address, not overlapping
  runs = 3,        ///< RunRecord, by ascending page, not overlapping
  owners = 4,      ///< OwnerRecord; [0] is the machine that prepared this descriptor
  sigactions = 5,  ///< SigactionRecord, 64 of them, [i] is signal i+1
  threads = 6,     ///< ThreadRecord; [0] is the thread group's leader
  xstate = 7,      ///< bytes: the threads' XSAVE areas, found by ThreadRecord
  files = 8,       ///< FileRecord, by ascending descriptor number
  strings = 9,     ///< bytes: zero-terminated strings, found by offset
  machine = 10,    ///< one MachineRecord
  limits = 11,     ///< LimitRecord, [i] is RLIMIT i
  auxv = 12,       ///< bytes: the auxiliary vector as in /proc/PID/auxv
  vdso = 13,       ///< bytes: the parent's vdso from its start on, without the zeros at its end
  // 14 is spoken for
  file_data = 15,  ///< bytes: what is kept of open files that have no path, found by FileRecord
  // Of attribute_records.hpp:
  process = 16,          ///< one ProcessRecord
  scheduling = 17,       ///< SchedulingRecord, [i] is thread i's
  timers = 18,           ///< TimerRecord, by ascending id
  pending_signals = 19,  ///< PendingSignalRecord
  // Of shared_records.hpp:
  shared_objects = 20,  ///< SharedObjectRecord
  shared_runs = 21,     ///< SharedRunRecord, ascending by object and page
  // Of tree_records.hpp:
  tree = 22,  ///< MemberRecord; none: the process is alone
  // Of attribute_records.hpp:
  filters = 23,      ///< FilterRecord, ascending by thread; of one the oldest first
  filter_code = 24,  ///< bytes: the filters' instructions, 8 bytes each (struct sock_filter)
  held_locks = 25,   ///< HeldLockRecord, ascending by address
};

struct Header {
  std::uint64_t magic;
  std::uint16_t version;
  std::uint16_t arch;  ///< Arch
  std::uint8_t page_shift;
  std::uint8_t reserved0[3];
  std::uint64_t total_bytes;  ///< of the whole descriptor, header included
  std::uint64_t handler;
  std::uint64_t generation;
  std::uint32_t section_count;
  std::uint32_t reserved1;
};
static_assert(sizeof(Header) == 48);

/// Follows the header, `section_count` times; sections are 8-byte aligned and do not overlap.
struct SectionRecord {
  std::uint32_t tag;
  std::uint32_t flags;   ///< bit 0: required
  std::uint64_t offset;  ///< from the start of the descriptor
  std::uint64_t bytes;
};
static_assert(sizeof(SectionRecord) == 24);
inline constexpr std::uint32_t section_required = 1;

/// prctl(2) PR_SET_MM_MAP's fields, and what else belongs to the process as a whole.
struct MmRecord {
  std::uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
  std::uint64_t arg_start, arg_end, env_start, env_end;
  std::uint32_t exe;  ///< string: the executable's path
  std::uint32_t cwd;  ///< string: the working directory
  std::uint32_t umask;
  std::uint32_t reserved;
};
static_assert(sizeof(MmRecord) == 104);

enum class VmaKind : std::uint32_t {
  anonymous = 1,     ///< private anonymous, the heap too
  stack = 2,         ///< the main stack: grows down
  private_file = 3,  ///< private mapping of a file; pages in runs are carried, others come from it
  shared_file = 4,   ///< shared mapping of a file, reopened by path
  vdso = 5,
  vvar = 6,
  vvar_vclock = 7,
  shared_object = 8,  ///< shared memory that is no file of a path; `file_inode` is its index
};
struct VmaRecord {
  std::uint64_t start, end;     ///< bytes, page-aligned
  std::uint64_t file_offset;    ///< bytes
  std::uint64_t file_size;      ///< of the mapped file at capture: tells whether a local one is
  std::uint64_t file_mtime_ns;  ///< the same file
  std::uint64_t file_inode;
  std::uint32_t prot;   ///< PROT_*
  std::uint32_t kind;   ///< VmaKind
  std::uint32_t path;   ///< string, or no_string
  std::uint32_t flags;  ///< VmaFlag
};
static_assert(sizeof(VmaRecord) == 64);
enum VmaFlag : std::uint32_t {
  vma_noreserve = 1,
  vma_dirty = 2,  ///< private_file with pages of its own: all its pages are in runs
  // What mlock(2) and madvise(2) have said of it.
  vma_locked = 4,
  vma_dont_fork = 8,
  vma_wipe_on_fork = 16,
  vma_dont_dump = 32,
  vma_huge = 64,
  vma_never_huge = 128,
  vma_mergeable = 256,
  vma_random = 512,
  vma_sequential = 1024,
};
inline constexpr std::uint32_t vma_marks = 2047 & ~3u;
/// The decoder refuses others: a new flag must be added here too.
inline constexpr std::uint32_t vma_known_flags = vma_noreserve | vma_dirty | vma_marks;

enum class RunKind : std::uint16_t {
  remote = 1,  ///< the owner holds the bytes
};
/// `count` pages from `page` on, whose bytes the owner has at its own pages `source`, ...
struct RunRecord {
  std::uint64_t page;
  std::uint64_t source;
  std::uint32_t count;
  std::uint16_t kind;   ///< RunKind
  std::uint16_t owner;  ///< index into owners
};
static_assert(sizeof(RunRecord) == 24);

/// An ancestor that still holds pages, and what is needed to read them one-sidedly.
struct OwnerRecord {
  std::uint32_t machine;
  std::uint32_t target_number;
  std::uint64_t target_key;
  std::uint64_t handler;
  std::uint64_t generation;
  char address[64];  ///< zero-terminated "host:port" (tcp) or gid (verbs)
};
static_assert(sizeof(OwnerRecord) == 96);

struct SigactionRecord {  ///< rt_sigaction(2), kernel layout
  std::uint64_t handler, flags, restorer, mask;
};
static_assert(sizeof(SigactionRecord) == 32);

struct ThreadRecord {
  std::uint64_t registers[32];  ///< x86-64: struct user_regs_struct's 27 fields in their order
  std::uint64_t signal_mask;
  std::uint64_t altstack_base, altstack_bytes;
  std::uint64_t robust_list, robust_list_bytes;
  std::uint64_t clear_child_tid;
  std::uint64_t rseq, rseq_bytes;
  std::uint32_t rseq_signature;
  std::uint32_t altstack_flags;
  std::uint32_t tid;
  std::uint32_t xstate_offset, xstate_bytes;  ///< in the xstate section; 0 bytes: the initial state
  char name[16];
  std::uint32_t reserved;
};
static_assert(sizeof(ThreadRecord) == 360);

enum class FileKind : std::uint32_t {
  regular = 1,
  directory = 2,
  character_device = 3,
  standard_stream = 4,  ///< descriptor 0-2 that cannot be reopened: the resumer's own is used
  pipe = 5,             ///< and FIFOs; payload: files::Pipe
  eventfd = 6,          ///< payload: files::Eventfd
  timerfd = 7,          ///< payload: files::Timerfd
  signalfd = 8,         ///< payload: files::Signalfd
  inotify = 9,          ///< payload: files::Inotify
  epoll = 10,           ///< payload: files::Epoll
  memory = 11,          ///< a memfd or a deleted file, which becomes one; payload: files::Memory
  unix_socket = 12,     ///< payload: files::UnixSocket
  inet_socket = 13,     ///< TCP and UDP; payload: files::InetSocket
  terminal = 14,        ///< the resumer's
  dropped = 15,         ///< could not come along: reads as ended, refuses writes
  inherited = 16,       ///< of a tree's member: `offset` is its number in the root's descriptor
};
struct FileRecord {
  std::int32_t fd;
  std::uint32_t kind;    ///< FileKind
  std::uint32_t flags;   ///< open(2) flags, O_CLOEXEC included
  std::uint32_t path;    ///< string
  std::uint64_t offset;  ///< bytes
  std::int32_t same_as;  ///< an earlier fd with the same open file description, or -1
  std::uint32_t data;    ///< 0, or 1 + where in file_data the payload is: u32 length, the bytes
};
static_assert(sizeof(FileRecord) == 32);

struct LimitRecord {
  std::uint64_t soft, hard;
};

/// The machine that the parent ran on, as far as the child's must be like it.
struct MachineRecord {
  std::uint64_t xfeatures;  ///< XCR0 components in use (x86-64)
  std::uint64_t xstate_size;
  std::uint64_t vdso_hash;       ///< of the vdso's text; equal hashes: the same vdso
  std::uint32_t kernel_release;  ///< string
  std::uint32_t cpu_features;    ///< string: comma-separated, only to name what is missing
  std::uint64_t monotonic_ns, boottime_ns;
};
static_assert(sizeof(MachineRecord) == 48);

}  // namespace mitosis::descriptor
