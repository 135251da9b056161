//! Shares of something that there is only so much of: nobody holds more of it at the same time than a limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what each holder holds.
pub struct Shares<K: Eq + Hash>(Arc<Held<K>>);

struct Held<K> {
    /// Maximum for each holder; 0 is no limit.
    most: usize,
    counts: Mutex<HashMap<K, usize>>,
}

/// Something that is held until this is dropped.
pub struct Share<K: Eq + Hash> {
    held: Arc<Held<K>>,
    holder: K,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// At most so many for each holder; 0 is no limit.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Held { most, counts: Mutex::default() }))
    }

    /// One more for a holder; none when they hold as many as anybody may.
    #[must_use]
    pub fn take(&self, holder: &K) -> Option<Share<K>> {
        let mut counts = self.0.counts();
        let count = counts.entry(holder.clone()).or_default();
        if self.0.most > 0 && *count >= self.0.most {
            return None;
        }
        *count += 1;
        Some(Share { held: self.0.clone(), holder: holder.clone() })
    }
}

impl<K: Eq + Hash> Held<K> {
    fn counts(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.held.counts();
        if let Some(count) = counts.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_holds_more_than_their_share_and_nothing_is_kept_of_who_holds_none() {
        let shares = Shares::new(2);
        let held = [shares.take(&"a").unwrap(), shares.take(&"a").unwrap(), shares.take(&"b").unwrap()];
        assert!(shares.take(&"a").is_none());
        assert!(shares.take(&"b").is_some());
        drop(held);
        assert!(shares.0.counts().is_empty());
        assert!(shares.take(&"a").is_some());
    }

    #[test]
    fn nought_is_no_limit() {
        let shares = Shares::new(0);
        let held: Vec<_> = (0..100).filter_map(|_| shares.take(&())).collect();
        assert_eq!(held.len(), 100);
    }
}
