//! A bound for the bytes that wait for clients, of all connections together and of those from one address.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which memory is taken.
const UNIT: usize = 16 << 10;

/// Memory for requests or responses. A clone is the same memory.
#[derive(Clone)]
pub(super) struct Memory {
    all: Arc<Semaphore>,
    /// What one address may have of it.
    share: Option<Arc<Semaphore>>,
}

/// A part of it, which grows with its body. It becomes free when this is dropped.
pub(super) struct Reserved {
    memory: Memory,
    /// Bytes that need no reservation: nearly every body is smaller.
    free: usize,
    units: Units,
}

/// The units that are taken: of the share, and of all.
#[derive(Default)]
struct Units(Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

impl Memory {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            all: units(bytes),
            share: None,
        }
    }

    /// Returns the same memory for one address, which has at most `bytes` of it, whatever it asks for.
    pub(super) fn share(&self, bytes: usize) -> Self {
        Self {
            all: self.all.clone(),
            share: Some(units(bytes)),
        }
    }

    /// Begins a body, of which the first `free` bytes do not count.
    pub(super) fn reserve(&self, free: usize) -> Reserved {
        Reserved {
            memory: self.clone(),
            free,
            units: Units::default(),
        }
    }
}

fn units(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes / UNIT).max(1)))
}

impl Reserved {
    /// Takes what `bytes` in all need. Returns whether there was as much.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let needed = bytes.saturating_sub(self.free).div_ceil(UNIT);
        let Units(shared, taken) = &mut self.units;
        let missing = needed.saturating_sub(taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let Ok(missing @ 1..) = u32::try_from(missing) else {
            return missing == 0;
        };
        let of_share = self.memory.share.as_ref();
        let of_share = of_share.map(|share| share.clone().try_acquire_many_owned(missing));
        let Ok(of_share) = of_share.transpose() else {
            return false;
        };
        let Ok(of_all) = self.memory.all.clone().try_acquire_many_owned(missing) else {
            return false;
        };
        add(shared, of_share);
        add(taken, Some(of_all));
        true
    }

    /// Gives back what was taken.
    pub(super) fn release(&mut self) {
        self.units = Units::default();
    }
}

fn add(units: &mut Option<OwnedSemaphorePermit>, more: Option<OwnedSemaphorePermit>) {
    match (units, more) {
        (Some(units), Some(more)) => units.merge(more),
        (units, more) => *units = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_memory() {
        let memory = Memory::new(4 * UNIT);
        let mut one = memory.reserve(100);
        assert!(one.grow(100) && memory.all.available_permits() == 4);
        assert!(one.grow(101) && one.grow(100 + UNIT) && memory.all.available_permits() == 3);
        let mut two = memory.reserve(0);
        assert!(two.grow(3 * UNIT));
        assert!(!one.grow(101 + UNIT), "it is exhausted");
        assert!(memory.reserve(100).grow(100), "small bodies are not concerned");
        drop(two);
        assert!(one.grow(101 + UNIT));
        drop(one);
        assert_eq!(memory.all.available_permits(), 4);
    }

    #[test]
    fn an_address_has_its_share_and_leaves_the_rest() {
        let memory = Memory::new(4 * UNIT);
        let (one, other) = (memory.share(2 * UNIT), memory.share(2 * UNIT));
        let (mut first, mut second) = (one.reserve(0), one.reserve(0));
        assert!(first.grow(2 * UNIT) && !second.grow(1), "its share is taken");
        let mut of_other = other.reserve(0);
        assert!(of_other.grow(2 * UNIT) && memory.all.available_permits() == 0);
        first.release();
        assert!(second.grow(1) && memory.all.available_permits() == 1);
        assert!(memory.reserve(0).grow(1), "what has no share takes of the rest");
    }
}
