//! What one request costs, in counts that do not depend on how busy the machine is: system calls
//! and instructions. Allocations are counted by `allocations.rs`, which needs an allocator of its
//! own. Bounds are in `tests/data/costs.tsv`; `docs/performance.md` says how to measure them anew.

mod client;
mod home;
mod instructions;
mod memory;
mod memory_http2;
mod multiplexed;
mod sizes;
mod system_calls;
mod table;
