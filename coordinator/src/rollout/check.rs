//! An independent look at a state: does it break an invariant?
