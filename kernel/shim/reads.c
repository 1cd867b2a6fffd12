// SPDX-License-Identifier: MIT OR GPL-2.0
// One-sided reads of the owner's memory: a child's pages, and before them the descriptor.
// World: kernel. What breaks a batch ends the connection: no late answer may write where nobody
// expects it.
#include "client.h"

void mitosis_remote_on_read(struct ib_cq* cq, struct ib_wc* wc) {
  struct mitosis_remote* r = container_of(wc->wr_cqe, struct mitosis_remote, read_done);

  if (wc->status != IB_WC_SUCCESS && !r->read_error) {
    pr_notice_ratelimited("a read failed: %s\n", ib_wc_status_msg(wc->status));
    r->read_error = -EIO;
  }
  complete(&r->read);
}

// Until the batch has ended. Who is to die waits on, for what is on its way has his addresses:
// others keep the connection. 0, -EINTR, or why it is to be stopped.
static int wait_for_batch(struct mitosis_remote* r) {
  const unsigned long end = jiffies + msecs_to_jiffies(MITOSIS_WAIT_MS);
  long left = wait_for_completion_killable_timeout(&r->read, msecs_to_jiffies(MITOSIS_WAIT_MS));
  const bool killed = left < 0;

  if (killed) left = wait_for_completion_timeout(&r->read, max(1l, (long)(end - jiffies)));
  if (left == 0) return -ETIMEDOUT;
  if (r->read_error) return r->read_error;
  return killed ? -EINTR : 0;
}

// The first `count` requests: one doorbell, one wait.
static int read_batch(struct mitosis_remote* r, unsigned int count) {
  const struct ib_send_wr* bad;
  unsigned int i;
  int error;

  if (READ_ONCE(r->broken)) return -EIO;
  for (i = 0; i < count; i++) {
    r->requests[i].wr = (struct ib_send_wr){
        .next = i + 1 < count ? &r->requests[i + 1].wr : NULL,
        .wr_cqe = &r->read_done,
        .sg_list = &r->pieces[i],
        .num_sge = 1,
        .opcode = IB_WR_RDMA_READ,
        .send_flags = i + 1 < count ? 0 : IB_SEND_SIGNALED,
    };
  }
  reinit_completion(&r->read);
  r->read_error = 0;
  mitosis_count(doorbells);
  error = ib_post_send(r->id->qp, &r->requests[0].wr, &bad);
  if (!error) error = wait_for_batch(r);
  if (error && error != -EINTR) {
    mitosis_count(broken_connections);
    mitosis_remote_stop(r);
  }
  return error;
}

static int flush(struct mitosis_remote* r, unsigned int* count, int error) {
  unsigned int i;

  if (!error && *count) error = read_batch(r, *count);
  for (i = 0; i < *count; i++)
    ib_dma_unmap_single(r->id->device, r->pieces[i].addr, r->pieces[i].length, DMA_FROM_DEVICE);
  *count = 0;
  return error;
}

// Adds a read of `pages` from the page `at` of a piece on, flushing what finds no room.
static int add(struct mitosis_remote* r, unsigned int* count, const struct mitosis_piece* piece,
               u64 at, u64 pages, void* into) {
  struct ib_device* device = r->id->device;
  const size_t bytes = pages << PAGE_SHIFT;
  int error = *count == MITOSIS_BATCH ? flush(r, count, 0) : 0;
  u64 address;

  if (error) return error;
  if (READ_ONCE(r->broken)) return -EIO;
  address = ib_dma_map_single(device, into, bytes, DMA_FROM_DEVICE);
  if (ib_dma_mapping_error(device, address)) return -ENOMEM;
  r->pieces[*count] = (struct ib_sge){address, bytes, r->pd->local_dma_lkey};
  r->requests[*count].remote_addr = piece->address + (at << PAGE_SHIFT);
  r->requests[*count].rkey = piece->key;
  ++*count;
  return 0;
}

// One doorbell; more only for more than MITOSIS_BATCH reads.
int mitosis_remote_read(struct mitosis_remote* r, const struct mitosis_read* reads, u32 count) {
  const u32 piece_pages = r->welcome->piece_pages;
  unsigned int pieces = 0, i;
  int error = 0;

  for (i = 0; i < count && !error; i++) {
    const struct mitosis_read* read = &reads[i];
    u64 done = 0;

    if (read->index > r->welcome->page_count || read->count > r->welcome->page_count - read->index)
      error = -EINVAL;
    while (!error && done < read->count) {
      const u64 index = read->index + done, at = index % piece_pages;
      const u64 pages = min_t(u64, read->count - done, piece_pages - at);

      error = add(r, &pieces, &r->table[index / piece_pages], at, pages,
                  read->into + (done << PAGE_SHIFT));
      done += pages;
    }
  }
  return flush(r, &pieces, error);
}

// -- the descriptor ------------------------------------------------------------------------------

static int check_welcome(const struct mitosis_welcome* w, u64* pages) {
  u64 table;

  if (w->descriptor_bytes > 64u << 20 || w->page_count > 1ull << 32 || !w->piece_pages ||
      w->piece_pages > MITOSIS_PIECE_PAGES || w->blob_pieces > MITOSIS_WELCOME_PIECES)
    return -EPROTO;
  table = DIV_ROUND_UP(w->page_count, w->piece_pages) * sizeof(struct mitosis_piece);
  *pages = DIV_ROUND_UP(ALIGN(w->descriptor_bytes, 8) + table, PAGE_SIZE);
  return *pages <= (u64)w->blob_pieces * w->piece_pages ? 0 : -EPROTO;
}

int mitosis_remote_fetch(struct mitosis_remote* r) {
  const struct mitosis_welcome* w = r->welcome;
  unsigned int pieces = 0;
  u64 pages, first = 0, page;
  int error = check_welcome(w, &pages);

  if (error) return error;
  // Who opens by the target has the descriptor, which is in front of the table.
  if (r->hello.by == MITOSIS_BY_TARGET) first = ALIGN(w->descriptor_bytes, 8) >> PAGE_SHIFT;
  r->blob = mitosis_zalloc((max(pages, first + 1) - first) << PAGE_SHIFT);
  if (!r->blob) return -ENOMEM;
  for (page = first; !error && page < pages; page++) {
    void* into = r->blob + ((page - first) << PAGE_SHIFT);
    struct page* target = is_vmalloc_addr(into) ? vmalloc_to_page(into) : virt_to_page(into);

    error = add(r, &pieces, &w->blob[page / w->piece_pages], page % w->piece_pages, 1,
                page_address(target));
  }
  error = flush(r, &pieces, error);
  if (!error) r->table = r->blob + ALIGN(w->descriptor_bytes, 8) - (first << PAGE_SHIFT);
  return error;
}

void* mitosis_remote_take_descriptor(struct mitosis_remote* r, u64* bytes) {
  void* blob = r->blob;

  r->blob = NULL;
  *bytes = r->welcome->descriptor_bytes;
  return blob;
}
