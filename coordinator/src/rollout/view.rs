//! What people read, made from state. No decision is made here.
