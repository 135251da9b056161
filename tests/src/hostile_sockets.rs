//! Live streams in the wrong hands: whatever is said over one of them, everybody else is served as before.

mod admission;
mod emits;
mod floods;
mod nonsense;
mod scene;
