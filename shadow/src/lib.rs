//! What *happens*.
