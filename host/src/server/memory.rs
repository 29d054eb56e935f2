//! A bound for the bytes that wait for clients, of all connections together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which memory is taken.
const UNIT: usize = 16 << 10;

/// Memory for bodies. A clone is the same memory.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

/// A part of it, which grows with its body. It becomes free when this is dropped.
pub(super) struct Reserved {
    memory: Memory,
    /// Bytes that need no reservation: nearly every body is smaller.
    free: usize,
    units: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).max(1))))
    }

    /// Begins a body, of which the first `free` bytes do not count.
    pub(super) fn reserve(&self, free: usize) -> Reserved {
        Reserved {
            memory: self.clone(),
            free,
            units: None,
        }
    }
}

impl Reserved {
    /// Takes what a body of `bytes` needs in all. Returns whether there was as much.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let needed = bytes.saturating_sub(self.free).div_ceil(UNIT);
        let missing = needed.saturating_sub(self.units.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let Ok(missing @ 1..) = u32::try_from(missing) else {
            return missing == 0;
        };
        match (self.memory.0.clone().try_acquire_many_owned(missing), &mut self.units) {
            (Ok(more), Some(units)) => units.merge(more),
            (Ok(more), none) => *none = Some(more),
            (Err(_), _) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_memory() {
        let memory = Memory::new(4 * UNIT);
        let mut one = memory.reserve(100);
        assert!(one.grow(100) && memory.0.available_permits() == 4);
        assert!(one.grow(101) && one.grow(100 + UNIT) && memory.0.available_permits() == 3);
        let mut two = memory.reserve(0);
        assert!(two.grow(3 * UNIT));
        assert!(!one.grow(101 + UNIT), "it is exhausted");
        assert!(memory.reserve(100).grow(100), "small bodies are not concerned");
        drop(two);
        assert!(one.grow(101 + UNIT));
        drop(one);
        assert_eq!(memory.0.available_permits(), 4);
    }
}
