//! The composition root: build everything before binding anything; run; reload; drain.
