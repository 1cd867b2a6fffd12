// SPDX-License-Identifier: MIT OR GPL-2.0
// What other machines may read of a prepared parent: its descriptor and its pages, by keys that are
// made for it and end with it. World: kernel.
// All of it is in one protection domain, the parent's own: with a key of one, no other is opened.
#include <linux/scatterlist.h>
#include <linux/vmalloc.h>

#include "remote.h"

// For one device, from the first connection to it until the last.
struct mitosis_export {
  struct ib_device* device;
  struct ib_pd* pd;
  bool granted;
  u32 piece_pages, blob_pieces, page_pieces;
  void* blob;  // the descriptor, then a struct mitosis_piece for each piece of the pages
  u64 blob_pages;
  u64 *addresses, mapped;  // of all pages, the blob's first
  struct ib_mr** regions;  // one a piece, the blob's first
};

static u32 pieces(const struct mitosis_export* e) {
  return e->blob_pieces + e->page_pieces;
}

// Ends every key: what a peer still reads fails.
static void drop_grant(struct mitosis_export* e) {
  u32 i;
  u64 page;

  for (i = 0; e->regions && i < pieces(e); i++) {
    if (e->regions[i]) ib_dereg_mr(e->regions[i]);
  }
  for (page = 0; page < e->mapped; page++)
    ib_dma_unmap_page(e->device, e->addresses[page], PAGE_SIZE, DMA_TO_DEVICE);
  mitosis_free(e->regions);
  mitosis_free(e->addresses);
  vfree(e->blob);
  e->regions = NULL;
  e->addresses = NULL;
  e->blob = NULL;
  e->mapped = 0;
  e->granted = false;
}

void mitosis_export_drop(struct mitosis_prepared* prepared) {
  struct mitosis_export* e = prepared->export;

  if (!e) return;
  drop_grant(e);
  ib_dealloc_pd(e->pd);
  mitosis_free(e);
  prepared->export = NULL;
}

int mitosis_export_open(struct mitosis_prepared* p, struct ib_device* device) {
  struct mitosis_export* e = p->export;

  if (e) return e->device == device ? 0 : -EBUSY;  // one device a handler
  if (p->revoked || !p->pages) return -ENOENT;
  if (!(device->attrs.device_cap_flags & IB_DEVICE_MEM_MGT_EXTENSIONS)) return -EOPNOTSUPP;
  e = mitosis_zalloc(sizeof(*e));
  if (!e) return -ENOMEM;
  e->device = device;
  e->pd = ib_alloc_pd(device, 0);
  if (IS_ERR(e->pd)) {
    mitosis_free(e);
    return -ENOMEM;
  }
  p->export = e;
  return 0;
}

struct ib_pd* mitosis_export_pd(const struct mitosis_prepared* p) {
  return p->export->pd;
}

// -- granting ------------------------------------------------------------------------------------

static struct page* page_at(const struct mitosis_prepared* p, u64 index) {
  const struct mitosis_export* e = p->export;

  if (index < e->blob_pages) return vmalloc_to_page(e->blob + (index << PAGE_SHIFT));
  return p->pages[index - e->blob_pages];
}

static int allocate(struct mitosis_prepared* p) {
  struct mitosis_export* e = p->export;
  const u64 table = ALIGN(p->descriptor_bytes, 8);

  e->piece_pages = min_t(u32, e->device->attrs.max_fast_reg_page_list_len, MITOSIS_PIECE_PAGES);
  if (!e->piece_pages) return -EOPNOTSUPP;
  e->page_pieces = DIV_ROUND_UP(p->page_count, e->piece_pages);
  e->blob_pages = DIV_ROUND_UP(table + e->page_pieces * sizeof(struct mitosis_piece), PAGE_SIZE);
  e->blob_pieces = DIV_ROUND_UP(e->blob_pages, e->piece_pages);
  if (e->blob_pieces > MITOSIS_WELCOME_PIECES) return -EFBIG;
  e->blob = mitosis_zalloc_virtual(e->blob_pages << PAGE_SHIFT);
  e->addresses = mitosis_zalloc((e->blob_pages + p->page_count) * sizeof(u64));
  e->regions = mitosis_zalloc(pieces(e) * sizeof(*e->regions));
  if (!e->blob || !e->addresses || !e->regions) return -ENOMEM;
  memcpy(e->blob, p->descriptor, p->descriptor_bytes);
  return 0;
}

// Region `piece` of pages [first, end), all in place; still closed.
static int make_region(struct mitosis_prepared* p, u32 piece, u64 first, u64 end,
                       struct scatterlist* list) {
  struct mitosis_export* e = p->export;
  const unsigned int count = end - first;
  struct ib_mr* region;
  unsigned int i;

  sg_init_table(list, count);
  for (i = 0; i < count; i++) {
    struct page* page = page_at(p, first + i);
    u64 address = ib_dma_map_page(e->device, page, 0, PAGE_SIZE, DMA_TO_DEVICE);

    if (ib_dma_mapping_error(e->device, address)) return -ENOMEM;
    e->addresses[e->mapped++] = address;
    sg_set_page(&list[i], page, PAGE_SIZE, 0);
    sg_dma_address(&list[i]) = address;
    sg_dma_len(&list[i]) = PAGE_SIZE;
  }
  if (mitosis_fails()) return -ENOMEM;
  region = ib_alloc_mr(e->pd, IB_MR_TYPE_MEM_REG, e->piece_pages);
  if (IS_ERR(region)) return PTR_ERR(region);
  e->regions[piece] = region;
  return ib_map_mr_sg(region, list, count, NULL, PAGE_SIZE) == (int)count ? 0 : -EINVAL;
}

static int make_regions(struct mitosis_prepared* p) {
  struct mitosis_export* e = p->export;
  struct scatterlist* list = mitosis_zalloc(e->piece_pages * sizeof(*list));
  const u64 all = e->blob_pages + p->page_count;
  u64 first = 0, end;
  u32 piece;
  int error = 0;

  if (!list) return -ENOMEM;
  for (piece = 0; !error && piece < pieces(e); piece++, first = end) {
    end = first + e->piece_pages;
    if (piece < e->blob_pieces)
      end = min(end, e->blob_pages);
    else
      end = min(end, all);
    error = make_region(p, piece, first, end, list);
    cond_resched();
  }
  mitosis_free(list);
  return error;
}

struct registration {
  struct ib_cqe done;
  struct completion end;
  enum ib_wc_status status;
};

static void on_registered(struct ib_cq* cq, struct ib_wc* wc) {
  struct registration* r = container_of(wc->wr_cqe, struct registration, done);

  if (r->status == IB_WC_SUCCESS) r->status = wc->status;
  complete(&r->end);
}

// Opens regions: the device does it in the order of a send queue.
static int open_regions(struct mitosis_export* e, struct ib_qp* qp) {
  struct registration* r = mitosis_zalloc(sizeof(*r));
  struct ib_reg_wr* requests = mitosis_zalloc(MITOSIS_REGISTER_BATCH * sizeof(*requests));
  u32 first, i, count;
  int error = r && requests ? 0 : -ENOMEM;

  for (first = 0; !error && first < pieces(e); first += count) {
    const struct ib_send_wr* bad;

    count = min_t(u32, pieces(e) - first, MITOSIS_REGISTER_BATCH);
    r->done.done = on_registered;
    init_completion(&r->end);
    for (i = 0; i < count; i++) {
      struct ib_mr* region = e->regions[first + i];

      requests[i] = (struct ib_reg_wr){
          .wr = {.next = i + 1 < count ? &requests[i + 1].wr : NULL,
                 .wr_cqe = &r->done,
                 .opcode = IB_WR_REG_MR,
                 .send_flags = i + 1 < count ? 0 : IB_SEND_SIGNALED},
          .mr = region,
          .key = region->rkey,
          .access = IB_ACCESS_REMOTE_READ,
      };
    }
    error = ib_post_send(qp, &requests[0].wr, &bad);
    if (!error && !wait_for_completion_timeout(&r->end, msecs_to_jiffies(MITOSIS_WAIT_MS)))
      error = -ETIMEDOUT;
    if (!error && r->status != IB_WC_SUCCESS) error = -EIO;
    if (error) ib_drain_sq(qp);  // what still comes would find nothing here
  }
  mitosis_free(r);
  mitosis_free(requests);
  return error;
}

static void describe(struct mitosis_prepared* p) {
  struct mitosis_export* e = p->export;
  struct mitosis_piece* table = e->blob + ALIGN(p->descriptor_bytes, 8);
  u32 i;

  for (i = 0; i < e->page_pieces; i++) {
    const struct ib_mr* region = e->regions[e->blob_pieces + i];

    table[i] = (struct mitosis_piece){.address = region->iova, .key = region->rkey};
  }
}

int mitosis_export_grant(struct mitosis_prepared* p, struct ib_qp* qp) {
  struct mitosis_export* e = p->export;
  int error;

  if (p->revoked || !e || !p->pages) return -ENOENT;
  if (e->granted) return 0;
  error = allocate(p);
  if (!error) error = make_regions(p);
  if (!error) describe(p);
  if (!error) error = open_regions(e, qp);
  if (error)
    drop_grant(e);
  else
    e->granted = true;
  return error;
}

void mitosis_export_tell(const struct mitosis_prepared* p, struct mitosis_welcome* welcome) {
  const struct mitosis_export* e = p->export;
  u32 i;

  welcome->descriptor_bytes = p->descriptor_bytes;
  welcome->page_count = p->page_count;
  welcome->piece_pages = e->piece_pages;
  welcome->blob_pieces = e->blob_pieces;
  for (i = 0; i < e->blob_pieces; i++)
    welcome->blob[i] = (struct mitosis_piece){e->regions[i]->iova, e->regions[i]->rkey};
}
