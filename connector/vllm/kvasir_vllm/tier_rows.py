"""How a row of the primary tier's host memory lies, and the regions that make it a chunk. Pure; no vllm.

vLLM's tiered offloading keeps chunks in one shared mapping of rows (vllm/v1/kv_offload/cpu/shared_offload_region.py):

    row    = | cell of worker 0 | cell of worker 1 | ... | padding to a page |
    cell   = | tensor 0 | tensor 1 | ...                                       worker_kv_bytes_per_block * blocks_per_chunk
    tensor = | page of block 0 | page of block 1 | ...                         one layer's pages of the chunk's blocks

So a cell is layer-major, and inside a layer in the order of the blocks: byte for byte what KvasirConnector stores for a chunk
of as many blocks. Each worker's cell is a chunk in the space of that worker's rank; the padding is never stored.
"""
from __future__ import annotations

from dataclasses import dataclass

# Layouts of vLLM's KV cache whose layers are apart, and whose pages are each in one piece.
LAYER_MAJOR = ("LBHNC", "LBNHC")

CHUNK_BYTES_MAX = 128 << 20  # what kvs_get and kvs_put take
SPACES_MAX = 64              # what one kvs_lookup takes


@dataclass(frozen=True)
class RowFacts:
    """What the scheduler's side of vLLM knows of its rows. Bytes and counts."""

    row_bytes: int                             # from row to row
    rows: int
    worker_bytes_per_block: int                # of one worker, all layers
    blocks_per_chunk: int
    workers: int                               # cells in a row: 1 if all workers share one copy
    pages: tuple[tuple[int, ...], ...]         # of each KV group, bytes of each layer's page
    kv_cache_layout: str | None
    canonical: bool


@dataclass(frozen=True)
class RowLayout:
    """Cells of a row. `detail`: empty where a cell is what KvasirConnector stores; else what its space must say besides."""

    row_bytes: int
    rows: int
    cells: int
    pieces: tuple[int, ...]                    # bytes of the regions that a cell is cut into, in order: its layers if detail is empty
    detail: str

    @property
    def cell_bytes(self) -> int:
        return sum(self.pieces)

    def regions(self, base: int, cell: int) -> list[tuple[int, int, int, int, int]]:
        """(base, size, stride, slots, layer) of one cell; slot i is row i. base: the address of row 0."""
        made = []
        at = base + cell * self.cell_bytes
        for number, size in enumerate(self.pieces):
            made.append((at, size, self.row_bytes, self.rows, number))
            at += size
        return made


def row_layout(facts: RowFacts) -> RowLayout:
    """Where the cells of a row lie. ValueError: sizes that cannot be, or a chunk that Kvasir does not take."""
    if min(facts.rows, facts.row_bytes, facts.worker_bytes_per_block, facts.blocks_per_chunk, facts.workers) < 1:
        raise ValueError("KvasirTier: the primary tier has no room for a chunk: raise cpu_bytes_to_use")
    if facts.canonical:
        # One page for all workers, whose size only they know: the row as it stands.
        return _checked(RowLayout(facts.row_bytes, facts.rows, 1, (facts.row_bytes,), f"row=canonical workers={facts.workers}"))
    cell = facts.worker_bytes_per_block * facts.blocks_per_chunk
    if cell * facts.workers > facts.row_bytes:
        raise ValueError(f"KvasirTier: {facts.workers} cells of {cell} bytes do not fit a row of {facts.row_bytes} bytes")
    layers = _layers(facts)
    if layers is None:
        return _checked(RowLayout(facts.row_bytes, facts.rows, facts.workers, (cell,), f"row=cell groups={len(facts.pages)}"))
    return _checked(RowLayout(facts.row_bytes, facts.rows, facts.workers, layers, ""))


def _layers(facts: RowFacts) -> tuple[int, ...] | None:
    """Bytes of each layer in a cell, where it is certain that these make it up; None: it is not.

    Several groups overlay each other in a cell, in an order that only the workers see. Layouts with blocks outside the layers are
    offloaded as one packed tensor.
    """
    if facts.kv_cache_layout not in LAYER_MAJOR or len(facts.pages) != 1:
        return None
    pages = facts.pages[0]
    if not pages or sum(pages) != facts.worker_bytes_per_block:
        return None
    return tuple(page * facts.blocks_per_chunk for page in pages)


def _checked(layout: RowLayout) -> RowLayout:
    if layout.cell_bytes > CHUNK_BYTES_MAX:
        raise ValueError(f"KvasirTier: a chunk of {layout.cell_bytes} bytes is above {CHUNK_BYTES_MAX}: "
                         "lower block_size (or blocks_per_chunk) of kv_connector_extra_config")
    if layout.cells > SPACES_MAX:
        raise ValueError(f"KvasirTier: {layout.cells} workers, at most {SPACES_MAX} can be looked up together")
    return layout
